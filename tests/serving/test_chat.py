"""What every chat does between canonical text and its model."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from comvint_hf.box_formats import BOX_FORMATS, CANONICAL, Frame, rewrite_boxes
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError
from comvint_hf.grounding import parse_boxes
from comvint_hf.serving.chat import ChatMessage, ScriptedChat, grounding_question, region_question
from comvint_hf.types import Box

IMAGE = Image.new("RGB", (200, 100), "white")
THOUSAND = Conventions(box_dialect="thousand")


def ask(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def test_boxes_are_canonical_outside_and_the_models_inside() -> None:
    chat = ScriptedChat(lambda _: "At <st>a cup<ed>[100, 200, 300, 400].", conventions=THOUSAND)
    answer = chat.answer(ask("Is it near <st>a hat<ed>[0.500, 0.500, 1.000, 1.000]?"), IMAGE)
    assert answer == "At <st>a cup<ed>[0.100, 0.200, 0.300, 0.400]."
    assert chat.requests[0][0][0]["content"] == "Is it near <st>a hat<ed>[500, 500, 1000, 1000]?"
    assert chat.answers([(ask("Where?"), IMAGE)]) == [answer]


def test_pixel_boxes_refer_to_the_resized_image() -> None:
    conventions = Conventions(box_dialect="pixel", max_pixels=100 * 50)
    chat = ScriptedChat(lambda _: "<st>a cup<ed>[10, 10, 50, 25]", conventions=conventions)
    assert chat.answer(ask("Where?"), IMAGE) == "<st>a cup<ed>[0.100, 0.200, 0.500, 0.500]"
    assert chat.requests[0][1].size == (100, 50)


@pytest.mark.parametrize("name", BOX_FORMATS)
@given(cuts=st.lists(st.integers(1, 30), max_size=40), inside=st.booleans())
def test_a_stream_may_be_cut_anywhere(name: str, cuts: list[int], inside: bool) -> None:
    text = "A [note] and <st>a cup<ed>[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8] then [unfinished " + "and long " * 20
    text = rewrite_boxes(text + ("<st>hat<ed>" if inside else "."), CANONICAL, BOX_FORMATS[name], Frame(size=IMAGE.size))
    text += "[1, 2<loc00(1,<box>[[" if inside else ""

    def pieces(_: str) -> Iterator[str]:
        start = 0
        for length in [*cuts, len(text)]:
            yield text[start : start + length]
            start += length

    conventions = Conventions(box_dialect=name)
    streamed = list(ScriptedChat(pieces, conventions=conventions).stream(ask("Where?"), IMAGE))
    whole = ScriptedChat(lambda _: [text], conventions=conventions)
    assert "".join(streamed).strip() == whole.answer(ask("Where?"), IMAGE)
    boxes = [box.xyxy for box in parse_boxes("".join(streamed))]
    assert boxes == [pytest.approx(box, abs=0.006) for box in ((0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8))]


def test_closing_a_stream_stops_the_model() -> None:
    stopped = []

    def endless(_: str) -> Iterator[str]:
        try:
            while True:
                yield "word "
        finally:
            stopped.append(True)

    stream = ScriptedChat(endless).stream(ask("Go on"), IMAGE)
    assert next(stream) == "word "
    stream.close()
    assert stopped == [True]


def test_finding_reads_phrases_else_bare_boxes() -> None:
    assert (
        ScriptedChat(lambda _: "<st>Two cups<ed>[0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 0.4, 0.4]").ground("cup", IMAGE)[0].phrase
        == "Two cups"
    )
    bare = ScriptedChat(lambda _: "[0.100, 0.100, 0.200, 0.200]").ground("cup", IMAGE)
    assert (bare[0].phrase, len(bare[0].boxes)) == ("cup", 1)
    assert ScriptedChat(lambda _: "Nowhere.").ground("cup", IMAGE) == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is this?", "What is {}?"),
        ("Is this region dark?", "Is {} dark?"),
        ("Is this cup full?", "About {}: Is this cup full?"),
        ("What colour is it?", "About {}: What colour is it?"),
        ("  ", "What is in {}?"),
    ],
)
def test_a_question_about_a_region_points_at_it(question: str, expected: str) -> None:
    box = Box(x1=0.1, y1=0.2, x2=0.3, y2=0.4)
    assert region_question(question, box)["content"] == expected.format("<st>this area<ed>[0.100, 0.200, 0.300, 0.400]")


def test_all_forms_of_a_phrase_give_one_question() -> None:
    assert {grounding_question(phrase)["content"] for phrase in ("the cup", "a cup", "cup", " The cup?")} == {"Where is the cup?"}


def test_a_conversation_ends_with_a_question() -> None:
    with pytest.raises(InputError, match="does not end with a question"):
        ScriptedChat(lambda _: "").answer([ChatMessage(role="assistant", content="Hello")], IMAGE)


def test_an_image_may_be_a_path(tmp_path) -> None:
    IMAGE.save(tmp_path / "a.png")
    chat = ScriptedChat(lambda _: "Yes.")
    for image in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert chat.answer(ask("Is it?"), image) == "Yes."
        assert chat.requests[-1][1].tobytes() == IMAGE.tobytes()


def test_a_broken_image_is_refused(tmp_path) -> None:
    (tmp_path / "text.png").write_text("no image")
    chat = ScriptedChat(lambda _: "Yes.")
    with pytest.raises(InputError, match=r"The image /nope.png cannot be decoded \(.*No such file"):
        chat.answer(ask("Is it?"), "/nope.png")
    with pytest.raises(InputError, match="cannot be decoded"):
        chat.answers([(ask("Is it?"), tmp_path / "text.png")])
    with pytest.raises(InputError, match="The image is of type int: expected a PIL image"):
        list(chat.stream(ask("Is it?"), 7))


@pytest.mark.parametrize("phrase", ["", "  ", "?", None])
def test_finding_needs_words(phrase: str) -> None:
    chat = ScriptedChat(lambda _: "Nowhere.")
    with pytest.raises(InputError, match="no phrase to find"):
        chat.ground(phrase, IMAGE)
    with pytest.raises(InputError, match="no image to find 'the cup' in"):
        chat.ground("the cup", None)
    assert chat.requests == []


@pytest.mark.parametrize(
    "messages",
    [
        "Is it?",
        ["Is it?"],
        {"role": "user", "content": "Is it?"},
        [{"role": "user"}],
        [],
        None,
        [{"role": "bot", "content": "Hi"}, *ask("Is it?")],
    ],
)
def test_messages_of_another_form_are_refused(messages) -> None:
    with pytest.raises(InputError, match="The conversation"):
        ScriptedChat(lambda _: "").answer(messages, IMAGE)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(100, 10**6), st.integers(100, 10**6))
def test_images_keep_their_shape_within_the_pixel_bounds(width: int, height: int, first: int, second: int) -> None:
    least, most = sorted((first, second))
    fitted = Conventions(min_pixels=least, max_pixels=most * 4).fit_image(Image.new("1", (width, height)))
    assert fitted.width * fitted.height <= max(most * 4, width, height)
    if 100 < width < 2000 and 100 < height < 2000 and min(fitted.size) > 50:
        assert fitted.width / fitted.height == pytest.approx(width / height, rel=0.05)
        assert fitted.width * fitted.height >= least * 0.9


@pytest.mark.parametrize("name", BOX_FORMATS)
def test_every_box_format_comes_back(name: str) -> None:
    chat = ScriptedChat(lambda question: question, conventions=Conventions(box_dialect=name))
    text = "<st>a cup<ed>[0.120, 0.240, 0.480, 0.960]"
    back = chat.answer(ask(text), Image.new("RGB", (1000, 500)))
    box = CANONICAL.parse(tuple(map(float, back.split("[")[1].rstrip("]").split(","))))
    assert box.xyxy == pytest.approx((0.12, 0.24, 0.48, 0.96), abs=0.011)
