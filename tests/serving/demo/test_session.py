"""The actions of a user, without a browser."""

from collections.abc import Iterator

import pytest
from PIL import Image

from comvint_hf.errors import EndpointError, InputError
from comvint_hf.serving.chat import ScriptedChat
from comvint_hf.serving.demo.session import Session, ask, find

CUP = "<st>a cup<ed>[0.100, 0.100, 0.400, 0.400]"


def new_session() -> Session:
    new = Session()
    new.set_image(Image.new("RGB", (100, 80), "white"))
    return new


def test_an_answer_grows_and_its_boxes_appear() -> None:
    session, chat = new_session(), ScriptedChat(lambda _: f"There is {CUP} on it.")
    states = [
        (session.messages[-1]["content"], len(session.grounded), session.busy) for _ in ask(chat, session, "What is there?")
    ]
    assert states[0] == ("", 0, True)
    assert [boxes for _, boxes, _ in states] == sorted(boxes for _, boxes, _ in states)
    assert session.messages[-1]["content"] == f"There is {CUP} on it." and len(session.grounded) == 1 and not session.busy
    assert 'style="background-color:#2563eb">a cup</mark>' in session.render_messages()[-1]["content"]


def test_the_history_goes_along() -> None:
    session, chat = new_session(), ScriptedChat(lambda question: f"You said {question}")
    for question in ("one?", "two?"):
        list(ask(chat, session, question))
    assert [turn["content"] for turn in chat.requests[1][0]] == ["one?", "You said one?", "two?"]


def test_two_taps_make_a_region_whatever_their_order() -> None:
    session, chat = new_session(), ScriptedChat(lambda _: "A cup.")
    session.select_point(0.6, 0.2)
    assert session.corner == (0.6, 0.2) and session.region is None
    session.select_point(0.1, 0.7)
    assert session.region.xyxy == (0.1, 0.2, 0.6, 0.7) and session.corner is None
    list(ask(chat, session, "What is this?"))
    assert chat.requests[0][0][0]["content"] == "What is <st>this area<ed>[0.100, 0.200, 0.600, 0.700]?"
    session.select_point(0.5, 0.5)
    assert session.region is None
    session.select_point(0.5, 0.505)
    assert session.region is None and "too small" in session.status.text


def test_finding_leaves_the_conversation_alone() -> None:
    session, chat = new_session(), ScriptedChat(lambda _: f"{CUP}, [0.500, 0.500, 0.600, 0.600].")
    list(find(chat, session, "the cup"))
    assert session.messages == [] and session.status.text == "Found “the cup” in 2 places."
    list(find(ScriptedChat(lambda _: "There is none."), session, "the cup"))
    assert session.grounded == [] and "gives no box" in session.status.text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EndpointError("http://me:pass@inside/v1 is away."), "The model could not answer; try again."),
        (RuntimeError("no memory"), "The model could not answer; try again."),
        (InputError("The text contains '</s>'."), "The text contains '</s>'."),
    ],
)
def test_an_error_becomes_the_status_and_leaves_no_question_behind(error: Exception, message: str) -> None:
    def broken(_: str) -> Iterator[str]:
        raise error

    session = new_session()
    list(ask(ScriptedChat(broken), session, "What is there?"))
    assert session.status == (message, True)
    assert session.messages == [] and session.draft == "What is there?" and not session.busy


def test_closing_early_keeps_the_partial_answer() -> None:
    session = new_session()
    steps = ask(ScriptedChat(lambda _: "word " * 50), session, "Go on")
    for _ in range(5):
        next(steps)
    steps.close()
    assert not session.busy and session.messages[-1]["content"].startswith("word word")
    assert len(session.messages[-1]["content"]) < 100


def test_a_new_image_ends_the_answer_about_the_old_one() -> None:
    session = new_session()
    steps = ask(ScriptedChat(lambda _: "word " * 50), session, "Go on")
    next(steps)
    next(steps)
    session.set_image(Image.new("RGB", (10, 10)))
    assert list(steps) == [] and session.messages == [] and not session.busy


@pytest.mark.parametrize("words", ["", "  "])
def test_nothing_is_asked_without_image_or_words(words: str) -> None:
    chat = ScriptedChat(lambda _: "So.")
    session = new_session()
    list(ask(chat, session, words))
    assert "Write a question" in session.status.text
    empty = Session()
    list(ask(chat, empty, "What?"))
    list(find(chat, empty, "cup"))
    assert "image first" in empty.status.text and chat.requests == []


def test_text_of_a_model_cannot_become_markup() -> None:
    session = new_session()
    list(ask(ScriptedChat(lambda _: f"<script>alert(1)</script> {CUP.replace('a cup', 'a & b')}"), session, "<b>hi</b>"))
    html = "".join(turn["content"] for turn in session.render_messages())
    assert "<script" not in html and "<b>" not in html and "a &amp; b" in html
