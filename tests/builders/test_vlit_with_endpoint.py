"""The VLIT builder against a local endpoint: five generations an image, at the review's temperature."""

from __future__ import annotations

import pytest
from builders.wired import finish, run, start
from endpoint.server import Endpoint, serve


@pytest.mark.parametrize(("more", "temperature"), [((), 0.8), (("--temperature", "0.2"), 0.2)])
def test_five_generations_an_image_at_the_temperature_that_was_asked_for(more, temperature, tmp_path) -> None:
    endpoint = Endpoint()
    with serve(endpoint) as url:
        finish(start(url, tmp_path / "set", *more, scenes="shapes:3", script="vlit"))
    assert [request["temperature"] for request in endpoint.requests] == [temperature] * 15
    assert (tmp_path / "set" / "README.md").exists()


def test_offline_no_temperature_is_written_down(tmp_path) -> None:
    finish(run("vlit", "--scenes", "shapes:3", "--out", tmp_path / "set"))
    assert "temperature" not in (tmp_path / "set" / "build.json").read_text()
