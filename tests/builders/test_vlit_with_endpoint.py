"""The VLIT builder against a local endpoint: five generations an image, at the review's temperature."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from endpoint.server import Endpoint, serve

BUILDER = Path(__file__).parents[2] / "builders" / "vlit.py"


@pytest.mark.parametrize(("more", "temperature"), [((), 0.8), (("--temperature", "0.2"), 0.2)])
def test_five_generations_an_image_at_the_temperature_that_was_asked_for(more, temperature, tmp_path) -> None:
    endpoint = Endpoint()
    command = [sys.executable, str(BUILDER), "--scenes", "shapes:3", "--llm", "toy-model", "--out", str(tmp_path / "set"), *more]
    with serve(endpoint) as url:
        environment = {**os.environ, "OPENAI_API_KEY": "local"}
        done = subprocess.run(
            [*command, "--base-url", url], env=environment, check=False, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [request["temperature"] for request in endpoint.requests] == [temperature] * 15
    assert (tmp_path / "set" / "README.md").exists()


def test_offline_no_temperature_is_written_down(tmp_path) -> None:
    command = [sys.executable, str(BUILDER), "--scenes", "shapes:3", "--out", str(tmp_path / "set")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "temperature" not in (tmp_path / "set" / "build.json").read_text()
