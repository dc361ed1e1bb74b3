"""Before a push: only what the build made is uploaded, as it was written, and what the card shows is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub.reading import PUSH

from comvint_hf.dataset.card_text import hash_card, render_hub_card
from comvint_hf.dataset.reader import read_build_info
from comvint_hf.errors import InputError
from comvint_hf.hub.review import review_folder


def forge(folder: Path, card: str) -> None:
    """Write a card as somebody would who makes build.json fit it."""
    (folder / "README.md").write_text(card)
    info = json.loads((folder / "build.json").read_text())
    (folder / "build.json").write_text(json.dumps({**info, "card": hash_card(card)}))


def test_a_flipped_bit_is_found_before_anything_is_uploaded(hub, client, toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    path = folder / next(iter(read_build_info(folder)["files"]))
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 16
    path.write_bytes(changed)
    hub.forget()
    said = client(PUSH, str(folder), "tester/flipped", check=False)
    assert f"{path} is not as it was written" in said and not hub.log()


def test_only_what_the_build_made_is_pushed_and_the_rest_is_named(toy_dataset) -> None:
    folder = toy_dataset(scenes=60, fresh=True)
    drawn = {f"pictures/{path.name}" for path in (folder / "pictures").iterdir()}
    before = set(review_folder(folder).files)
    assert drawn and drawn <= before and not review_folder(folder).notices
    for name in ("secret.txt", "pictures/me.png", "data/conversation/train-00077.parquet", "rejected/note.parquet", ".env"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"mine")
    (folder / "pictures" / "lengths.png").write_bytes(b"mine")
    review = review_folder(folder)
    assert set(review.files) == before - {"pictures/lengths.png"}
    (notice,) = review.notices
    assert notice.startswith("Not pushed, because the build did not make it: .env, ") and "and 1 more" in notice


def test_a_card_that_was_changed_is_pushed_only_when_told(toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(f"{card}\nMy own words.\n")
    with pytest.raises(InputError, match=r"README\.md is not as the build wrote it: it was changed.*--keep-card"):
        review_folder(folder)
    assert "README.md" in review_folder(folder, keep_card=True).files
    (folder / "README.md").write_text(render_hub_card(card, "org/ours"))
    assert "README.md" in review_folder(folder).files, "a copy from the Hub is as the build wrote it"
    (folder / "README.md").unlink()
    with pytest.raises(InputError, match=r"has no README\.md"):
        review_folder(folder, keep_card=True)


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ("\n<script>alert(1)</script>\n", "HTML, <script>"),
        ('\nwords <img src="https://evil/x"> words\n', "HTML, <img"),
        ("\n<!-- hidden -->\n", "HTML, <!--"),
        ("\n![seen](https://evil/pixel.png)\n", "the image https://evil/pixel.png"),
        ("\n[click](javascript:alert(1))\n", "a link to javascript:"),
        ("\n[click](data:text/html,hi)\n", "a link to data:text/html,hi"),
        ("\n[a]: file:///etc/passwd\n", "a link to file:///etc/passwd"),
    ],
)
def test_what_no_card_of_a_build_shows_is_pushed_only_when_told(added, said, toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    forge(folder, (folder / "README.md").read_text() + added)
    with pytest.raises(InputError, match="is not as the build wrote it") as told:
        review_folder(folder)
    assert said in str(told.value) and "\n" not in str(told.value)
    assert review_folder(folder, keep_card=True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("language: en", "language: en\nextra_gated_prompt: give me your name", "sets extra_gated_prompt"),
        ("language: en", "language: en\nthumbnail: https://evil/x.png", "sets thumbnail"),
        ("path: rejected/train-*.parquet", "path: hf://datasets/evil/other/x.parquet", "its config rejected names other files"),
        ("language: en", "language: [", "its YAML cannot be read"),
    ],
)
def test_the_head_of_a_card_says_only_what_builds_say(old, new, said, toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    card = (folder / "README.md").read_text()
    assert old in card
    forge(folder, card.replace(old, new, 1))
    with pytest.raises(InputError, match="is not as the build wrote it") as told:
        review_folder(folder)
    assert said in str(told.value)


def test_addresses_and_datasets_that_nobody_here_declared_are_named(toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    forge(folder, (folder / "README.md").read_text() + '\nSee https://evil.example/x and load_dataset("evil/other").\n')
    assert review_folder(folder).notices == ["The card names: https://evil.example/x, evil/other."]


def test_links_that_lead_out_of_the_folder_are_refused(toy_dataset, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"mine")
    for name in (next(iter(read_build_info(toy_dataset())["files"])), "stats.json"):
        folder = toy_dataset(fresh=True)
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        with pytest.raises(InputError, match="a link that leads out of the dataset's folder"):
            review_folder(folder, keep_card=True)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"files": {"notes/secret.txt": 1}, "sha256": {}}, "no file of rows"),
        ({"rows": 0}, "no rows to push"),
        ({"rows": "many"}, "no rows to push"),
        ({"parts": [{"source": "x"}]}, "another form than builds write"),
    ],
)
def test_a_build_json_of_somebody_else_is_checked(changed, said, toy_dataset) -> None:
    folder = toy_dataset(fresh=True)
    path = folder / "build.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(InputError, match=said):
        review_folder(folder, keep_card=True)


@pytest.mark.parametrize("recipe", ["svit", "comvint", "vlit"])
def test_cards_of_our_own_builds_pass_and_name_nothing(recipe, tmp_path) -> None:
    from comvint_hf import build, load_scenes, registry
    from comvint_hf.annotator import AnnotationLLM
    from comvint_hf.dataset.inputs import open_input
    from comvint_hf.dataset.mix import mix
    from comvint_hf.generation.llm import LLMs

    build(load_scenes("shapes:6"), registry.find_recipe(recipe), LLMs.one(AnnotationLLM()), tmp_path / "out", progress=False)
    mix([open_input(str(tmp_path / "out"))], tmp_path / "mix")
    for name in ("out", "mix"):
        assert not review_folder(tmp_path / name).notices
