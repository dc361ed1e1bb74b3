"""Prompts are files; an empty blank is an error; users bring their own."""

import pytest

from comvint_hf.errors import InputError
from comvint_hf.generation import prompt as prompts
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.comvint import COMVINT
from comvint_hf.generation.recipes.svit import SVIT
from comvint_hf.generation.recipes.vlit import VLIT
from comvint_hf.types import Box, Object, Scene

SCENE = Scene(
    id="toy/1",
    source="toy",
    width=10,
    height=10,
    captions=("A man on a bench.",),
    objects=(Object(tag="o1", key="9", name="man", boxes=(Box(x1=0, y1=0, x2=0.5, y2=1),), attributes=("tall",)),),
)


def test_a_prompt_shows_tags_and_boxes_but_no_corpus_key() -> None:
    text = Prompt("svit/referring_qa", scene=SCENE, count=10, avoid=[]).text
    assert (
        "[o1] man (tall): [0.000, 0.000, 0.500, 1.000]" in text and "A man on a bench." in text and "Write 10 questions" in text
    )


def test_an_empty_blank_is_an_error() -> None:
    with pytest.raises(InputError, match="turns"):
        _ = Prompt("svit/conversation", scene=SCENE, count=3, avoid=[]).text


def test_an_unknown_prompt_says_where_it_looked() -> None:
    with pytest.raises(InputError, match="add_prompts"):
        _ = Prompt("mine/haiku", scene=SCENE).text


def test_every_prompt_of_the_recipes_exists_and_has_a_version() -> None:
    names = {*SVIT.prompts, *COMVINT.prompts, *VLIT.prompts}
    assert len(names) == 11
    assert len({prompts.prompt_hash(name) for name in names}) == 11


def test_a_user_adds_prompts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(prompts, "_folders", list(prompts._folders))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "haiku.jinja").write_text("A haiku on {{ scene.captions[0] }}")
    prompts.add_prompts(tmp_path)
    assert Prompt("mine/haiku", scene=SCENE).text == "A haiku on A man on a bench."
