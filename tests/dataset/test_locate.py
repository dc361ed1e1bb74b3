"""A folder that is not there is said to be missing at once; names on the Hub are left to the Hub."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi, constants

from comvint_hf.dataset.locate import check_exists
from comvint_hf.errors import InputError, ModelError


@pytest.fixture
def asked(monkeypatch, tmp_path) -> list[tuple[str, str]]:
    """What the Hub was asked; it knows build/known alone. There is a folder `build` here."""
    seen = []

    def repo_info(_, name, *, repo_type, timeout):
        seen.append((name, repo_type))
        if name != "build/known":
            raise ConnectionError

    monkeypatch.setattr(HfApi, "repo_info", repo_info)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build" / "there").mkdir(parents=True)
    return seen


@pytest.mark.parametrize("name", ["/no/where", "./nope", "../nope", "~/nope", "build/demo/nope"])
def test_what_can_only_be_a_folder_is_not_looked_for_elsewhere(name, asked) -> None:
    with pytest.raises(ModelError, match="There is no folder .*expected the folder of a model, or a name on the Hub"):
        check_exists(name)
    assert not asked


def test_what_may_be_either_is_asked_of_the_hub_once(asked, tmp_path) -> None:
    with pytest.raises(InputError, match="There is no folder build/nope, and no dataset of that name on the Hub"):
        check_exists("build/nope", "dataset")
    check_exists("build/known")
    assert asked == [("build/nope", "dataset"), ("build/known", "model")]
    (tmp_path / "cache" / "models--build--kept").mkdir(parents=True)
    check_exists("build/kept")
    assert len(asked) == 2, "what was loaded before works without a network"


@pytest.mark.parametrize("name", ["build", "build/there", "org/model", "gpt2"])
def test_folders_that_are_there_and_other_names_are_left_alone(name, asked) -> None:
    check_exists(name)
    assert not asked
