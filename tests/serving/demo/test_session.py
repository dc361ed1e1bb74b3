"""What a visitor does, without a browser."""

from collections.abc import Iterator

import pytest
from PIL import Image

from comvint_hf.errors import EndpointError
from comvint_hf.serving.demo.session import Visit, ask, find
from comvint_hf.serving.scripted import ScriptedChat

CUP = "<st>a cup<ed>[0.100, 0.100, 0.400, 0.400]"


def visit() -> Visit:
    new = Visit()
    new.take(Image.new("RGB", (100, 80), "white"))
    return new


def test_an_answer_grows_and_its_boxes_appear() -> None:
    now, chat = visit(), ScriptedChat(lambda _: f"There is {CUP} on it.")
    states = [(now.messages[-1]["content"], len(now.grounded), now.busy) for _ in ask(chat, now, "What is there?")]
    assert states[0] == ("", 0, True)
    assert [boxes for _, boxes, _ in states] == sorted(boxes for _, boxes, _ in states)
    assert now.messages[-1]["content"] == f"There is {CUP} on it." and len(now.grounded) == 1 and not now.busy
    assert 'style="background-color:#2563eb">a cup</mark>' in now.transcript()[-1]["content"]


def test_the_history_goes_along() -> None:
    now, chat = visit(), ScriptedChat(lambda question: f"You said {question}")
    for question in ("one?", "two?"):
        list(ask(chat, now, question))
    assert [turn["content"] for turn in chat.asked[1][0]] == ["one?", "You said one?", "two?"]


def test_two_taps_make_a_region_whatever_their_order() -> None:
    now, chat = visit(), ScriptedChat(lambda _: "A cup.")
    now.tap(0.6, 0.2)
    assert now.corner == (0.6, 0.2) and now.region is None
    now.tap(0.1, 0.7)
    assert now.region.xyxy == (0.1, 0.2, 0.6, 0.7) and now.corner is None
    list(ask(chat, now, "What is this?"))
    assert chat.asked[0][0][0]["content"] == "What is <st>this area<ed>[0.100, 0.200, 0.600, 0.700]?"
    now.tap(0.5, 0.5)
    assert now.region is None
    now.tap(0.5, 0.505)
    assert now.region is None and "too small" in now.notice.text


def test_finding_leaves_the_conversation_alone() -> None:
    now, chat = visit(), ScriptedChat(lambda _: f"{CUP}, [0.500, 0.500, 0.600, 0.600].")
    list(find(chat, now, "the cup"))
    assert now.messages == [] and now.notice.text == "Found “the cup” in 2 places."
    list(find(ScriptedChat(lambda _: "There is none."), now, "the cup"))
    assert now.grounded == [] and "points at nothing" in now.notice.text


@pytest.mark.parametrize(
    ("error", "told"),
    [(EndpointError("The endpoint is away."), "The endpoint is away."), (RuntimeError("no memory"), "RuntimeError: no memory")],
)
def test_what_fails_is_said_and_leaves_no_question_behind(error: Exception, told: str) -> None:
    def broken(_: str) -> Iterator[str]:
        raise error

    now = visit()
    list(ask(ScriptedChat(broken), now, "What is there?"))
    assert told in now.notice.text and now.notice.urgent
    assert now.messages == [] and now.draft == "What is there?" and not now.busy


def test_leaving_early_keeps_what_was_said() -> None:
    now = visit()
    steps = ask(ScriptedChat(lambda _: "word " * 50), now, "Go on")
    for _ in range(5):
        next(steps)
    steps.close()
    assert not now.busy and now.messages[-1]["content"].startswith("word word")
    assert len(now.messages[-1]["content"]) < 100


def test_a_new_picture_ends_the_answer_about_the_old_one() -> None:
    now = visit()
    steps = ask(ScriptedChat(lambda _: "word " * 50), now, "Go on")
    next(steps)
    next(steps)
    now.take(Image.new("RGB", (10, 10)))
    assert list(steps) == [] and now.messages == [] and not now.busy


@pytest.mark.parametrize("words", ["", "  "])
def test_nothing_is_asked_without_picture_or_words(words: str) -> None:
    chat = ScriptedChat(lambda _: "So.")
    now = visit()
    list(ask(chat, now, words))
    assert "Write a question" in now.notice.text
    empty = Visit()
    list(ask(chat, empty, "What?"))
    list(find(chat, empty, "cup"))
    assert "picture first" in empty.notice.text and chat.asked == []


def test_text_of_a_model_cannot_become_markup() -> None:
    now = visit()
    list(ask(ScriptedChat(lambda _: f"<script>alert(1)</script> {CUP.replace('a cup', 'a & b')}"), now, "<b>hi</b>"))
    html = "".join(turn["content"] for turn in now.transcript())
    assert "<script" not in html and "<b>" not in html and "a &amp; b" in html
