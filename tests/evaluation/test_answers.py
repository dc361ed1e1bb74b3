"""Reading closed answers: one reading or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.evaluation.answers import option_letter, options, short_answer, yes_no

QUESTION = "What is on the table?\nA. a cup\nB. a hat\nC. an apple\nD. nothing"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("No, it is yes-coloured.", "no"),
        ("**Yes**, there is.", "yes"),
        ("I think the answer is no", "no"),
        ("There is nothing known about that.", None),
        ("Either yes or no.", None),
        ("Hard to say. Yes.", None),
        ("", None),
    ],
)
def test_yes_and_no(text: str, read: str | None) -> None:
    assert yes_no(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("(C) an apple", "C"),
        ("The correct answer is D.", "D"),
        ("Option A: a cup", "A"),
        ("A hat", "B"),
        ("A cup.", "A"),
        ("A dog", None),
        ("A", "A"),
        ("E", None),
        ("I see a hat", None),
        ("B a hat", "B"),
        ("B a cup", None),
        ("", None),
    ],
)
def test_options(text: str, read: str | None) -> None:
    assert option_letter(text, QUESTION) == read


def test_without_listed_options_a_letter_needs_its_mark() -> None:
    assert option_letter("A dog is there") is None
    assert option_letter("I. am here") == "I"
    assert options("No options here. A. Smith wrote it.") == {}


@given(st.text())
def test_any_text_has_one_reading_or_none(text: str) -> None:
    assert yes_no(text) in ("yes", "no", None)
    assert option_letter(text, QUESTION) in ("A", "B", "C", "D", None)
    assert short_answer(short_answer(text)) == short_answer(text)
