"""Reading closed answers: one reading or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.answers import has_label, option_letter, options, short_answer, strip_label, yes_no

QUESTION = "What is on the table?\nA. a cup\nB. a hat\nC. an apple\nD. nothing"
POLAR, OPEN = "Is there a dog?", "What is in the image?"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("No, it is yes-coloured.", "no"),
        ("**Yes**, there is.", "yes"),
        ("“Yes”", "yes"),
        ("- Yes.", "yes"),
        ("\n\nNo\n", "no"),
        ("I think the answer is no", "no"),
        ("The dog has no collar.", "no"),
        ("It is at 0.5, no more", "no"),
        ("There is nothing known about that.", None),
        ("Yesterday, nobody knew.", None),
        ("The eyes of a Norse god", None),
        ("No-one is there.", None),
        ("Either yes or no.", None),
        ("Yes or no.", None),
        ("Yes/no", None),
        ("A yes-no question", None),
        ("Hard to say. Yes.", None),
        ("Nо", None),  # a Cyrillic о
        ("", None),
    ],
)
def test_yes_and_no_to_a_closed_question(text: str, read: str | None) -> None:
    assert yes_no(text) == read


@pytest.mark.parametrize(
    ("text", "question", "read"),
    [
        ("Yes, two dogs.", OPEN, "yes"),
        ("The answer is yes.", POLAR, "yes"),
        ("The answer is yes.", OPEN, None),
        ("There is no dog.", POLAR, "no"),
        ("There is no dog.", "Isn't there a dog?", "no"),
        ("There is no dog.", OPEN, None),
        ("There is no dog.", "Can you describe the image?", None),
        ("There is no dog.", "Answer with yes or no. In the image, a dog?", "no"),
        ("The sea had no waves.", "Do you know anything about surfing?", None),
        ("It is yes or no.", POLAR, None),
        ("I would say no, it is a cat.", POLAR, "no"),
    ],
)
def test_yes_and_no_to_a_question_that_may_be_open(text: str, question: str, read: str | None) -> None:
    assert yes_no(text, question) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("(C) an apple", "C"),
        ("**D**", "D"),
        ("“B” a hat", "B"),
        ("The correct answer is D.", "D"),
        ("Answer: c", "C"),
        ("Option A: a cup", "A"),
        ("A hat", "B"),
        ("A cup.", "A"),
        ("A dog", None),
        ("A", "A"),
        ("E", None),
        ("E. a bird", None),
        ("I see a hat", None),
        ("B a hat", "B"),
        ("B a cup", None),
        ("Before", None),
        ("В", None),  # a Cyrillic В
        ("", None),
    ],
)
def test_the_option_that_an_answer_takes(text: str, read: str | None) -> None:
    assert option_letter(text, QUESTION) == read


def test_without_listed_options_a_letter_needs_its_mark() -> None:
    assert option_letter("A dog is there") is None
    assert option_letter("I. am here") == "I"


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (QUESTION, ["a cup", "a hat", "an apple", "nothing"]),
        ("Which?\n(A) red \n(B) blue", ["red", "blue"]),
        ("Which?\n A) red\r\n B: blue", ["red", "blue"]),
        ("Which? (A) red (B) blue\n(C) green", ["red", "blue", "green"]),
        ("Q: which?\nA. één\nB. 二", ["één", "二"]),
        ("Which?\nA.\nB. blue", []),
        ("Which?\nB. red\nC. blue", []),
        ("Who?\nA: nobody", []),
        ("No options here. A. Smith and B. Jones wrote it.", []),
        ("", []),
    ],
)
def test_options_are_read_from_their_lists(question: str, found: list[str]) -> None:
    assert options(question) == dict(zip("ABCD", found, strict=False))


def test_labels_are_told_from_words() -> None:
    assert [strip_label(text) for text in ("A. red", " (b)  red", "D: red", "A red one", "Vitamin C. red")] == [
        "red", "red", "red", "A red one", "Vitamin C. red"
    ]  # fmt: skip
    assert has_label("C) red") and not has_label("C")


@given(st.text())
def test_any_text_has_one_reading_or_none(text: str) -> None:
    assert yes_no(text) in ("yes", "no", None)
    assert yes_no(text, POLAR) in ("yes", "no", None)
    assert option_letter(text, QUESTION) in ("A", "B", "C", "D", None)
    assert len(options(text)) != 1
    assert short_answer(short_answer(text)) == short_answer(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The correct answer is **B**", "B"),
        ("**Answer:** B", "B"),
        (r"\boxed{B}", "B"),
        (r"So it is $\boxed{\text{B}}$.", "B"),
        ("<answer>B</answer>", "B"),
        ("<think>Not A. The answer is A.</think>B", "B"),
        ("It is not A.</think>\nThe answer is B.", "B"),
        ("Based on the picture, the answer is B.", "B"),
        ("Looking closely, the answer is B because it has a brim.", "B"),
        ("Final answer: B", "B"),
        ("I would choose option (B).", "B"),
        ("B - a hat", "B"),
        ("<|begin_of_box|>B<|end_of_box|>", "B"),
        ("The answer is A or the answer is B.", None),
        ("The answer is a matter of taste.", None),
        ("I cannot choose between them.", None),
        ("The answer is E.", None),
        ("A hat is a choice that many make.", None),
    ],
)
def test_a_letter_that_is_declared_somewhere_is_read_and_two_are_not(text: str, read: str | None) -> None:
    assert option_letter(text, QUESTION) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("<think>No cat.</think>Yes", "yes"),
        ("There is no cat.</think>\n\nYes, there is.", "yes"),
        ("<answer>No</answer>", "no"),
        (r"\boxed{No}", "no"),
        ("<think>Yes, perhaps", None),
    ],
)
def test_yes_and_no_are_read_behind_thoughts_and_markup(text: str, read: str | None) -> None:
    assert yes_no(text) == read
