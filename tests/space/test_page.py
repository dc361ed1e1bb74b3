"""The page in a browser: ask, find, mark, stop, examples; on a phone and on a desk."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from comvint_hf.serving.demo.draw import PALETTE
from comvint_hf.serving.demo.page import Example
from comvint_hf.serving.loading import load_chat
from comvint_hf.serving.scripted import ScriptedChat

CUP = "<st>a red cup<ed>[0.250, 0.250, 0.750, 0.750]"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "white.png"
    Image.new("RGB", (400, 400), "white").save(path)
    return path


def script(question: str) -> str:
    if question.startswith("Where"):
        return "There: <st>the hat<ed>[0.100, 0.100, 0.300, 0.300], [0.600, 0.600, 0.900, 0.900]."
    return f"There is {CUP} on the table."


def shown(visitor) -> Image.Image:
    """The picture as the page shows it."""
    source = visitor.locator("#photo img").get_attribute("src")
    return Image.open(io.BytesIO(visitor.request.get(source).body())).convert("RGB")


def has_colour(image: Image.Image, place: tuple[float, float], colour: str) -> bool:
    """Whether a colour is drawn within a few pixels of a place (fractions); pictures travel compressed."""
    x, y = place[0] * image.width, place[1] * image.height
    near = image.crop((int(x) - 5, int(y) - 5, int(x) + 6, int(y) + 6))
    wanted = ImageColor.getrgb(colour)
    return any(sum(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) < 60 for pixel in near.get_flattened_data())


def give(visitor, address: str, picture: Path) -> None:
    visitor.goto(address)
    visitor.locator("#photo input[type=file]").set_input_files(str(picture))
    # The page says how to mark a region once the picture has arrived.
    visitor.get_by_text("Tap two corners").wait_for()


def ask(visitor, words: str) -> None:
    visitor.locator("#question input, #question textarea").fill(words)
    visitor.locator("#ask").click()


def tap(visitor, x: float, y: float) -> None:
    """Tap at fractions of the displayed picture."""
    image = visitor.locator("#photo img")
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    image.click(position={"x": box["width"] * x, "y": box["height"] * y})


def no_sideways_scroll(visitor) -> bool:
    return visitor.evaluate(
        "document.documentElement.scrollWidth <= window.innerWidth && document.body.scrollWidth <= window.innerWidth"
    )


def test_ask_and_see_the_answer_and_the_box(visitor, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    go_on = threading.Event()

    def slowly(question: str) -> Iterator[str]:
        yield "There is <st>a red"
        go_on.wait(100)
        yield " cup<ed>[0.250, 0.250, 0.750, 0.750] on the table."

    give(visitor, serve(ScriptedChat(slowly)), picture)
    ask(visitor, "What is there?")
    talk = visitor.locator("#talk")
    expect(talk).to_contain_text("There is a red")
    expect(talk).not_to_contain_text("<st>")
    expect(visitor.locator("#stop")).to_be_visible()
    before = visitor.locator("#photo img").get_attribute("src")
    go_on.set()
    expect(talk).to_contain_text("There is a red cup on the table.")
    expect(talk.locator("mark.phrase")).to_have_text("a red cup")
    expect(visitor.locator("#legend")).to_contain_text("a red cup")
    expect(visitor.locator("#photo img")).not_to_have_attribute("src", before)
    drawn = shown(visitor)
    assert has_colour(drawn, (0.25, 0.5), PALETTE[0]) and has_colour(drawn, (0.5, 0.75), PALETTE[0])
    assert not has_colour(drawn, (0.5, 0.5), PALETTE[0])
    expect(visitor.locator("#ask")).to_be_visible()
    assert no_sideways_scroll(visitor)


def test_find_draws_every_place(visitor, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    chat = ScriptedChat(script)
    give(visitor, serve(chat), picture)
    phrase = visitor.locator("#phrase input, #phrase textarea")
    phrase.fill("the hat")
    phrase.press("Enter")
    expect(visitor.locator("#notice")).to_contain_text("Found “the hat” in 2 places.")
    expect(visitor.locator("#legend")).to_contain_text("×2")
    assert chat.asked[0][0][0]["content"] == "Where is the hat?"
    assert has_colour(shown(visitor), (0.6, 0.75), PALETTE[0])


def test_mark_a_region_and_ask_about_it(visitor, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    chat = ScriptedChat(script)
    give(visitor, serve(chat), picture)
    tap(visitor, 0.2, 0.3)
    expect(visitor.locator("#hint")).to_contain_text("opposite corner")
    tap(visitor, 0.6, 0.8)
    expect(visitor.locator("#hint")).to_contain_text("about the marked area")
    ask(visitor, "What is this?")
    expect(visitor.locator("#talk")).to_contain_text("on the table.")
    expect(visitor.locator("#talk mark.phrase").first).to_have_text("this area")
    question = chat.asked[0][0][0]["content"]
    assert question.startswith("What is <st>this area<ed>[") and question.endswith("]?")
    corners = [float(number) for number in question.split("[")[1].split("]")[0].split(",")]
    assert corners == pytest.approx([0.2, 0.3, 0.6, 0.8], abs=0.02)
    visitor.locator("#unmark").click()
    expect(visitor.locator("#hint")).to_contain_text("Tap two corners")
    assert no_sideways_scroll(visitor)


def test_an_example_is_asked_with_one_tap(visitor, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    chat = ScriptedChat(script)
    visitor.goto(serve(chat, [Example(picture, "What stands on the table?")], picture.parent))
    visitor.locator("#examples button.thumbnail-item").first.click()
    expect(visitor.locator("#talk")).to_contain_text("What stands on the table?")
    expect(visitor.locator("#talk")).to_contain_text("There is a red cup on the table.")
    assert chat.asked[0][1].size == (400, 400)
    assert no_sideways_scroll(visitor)


def test_stop_ends_the_answer_and_keeps_what_was_said(visitor, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    stopped, spoken = threading.Event(), threading.Event()

    def endless(question: str) -> Iterator[str]:
        try:
            yield "Well, "
            while not stopped.wait(0.05):
                yield "word "
                spoken.set()
        finally:
            stopped.set()

    give(visitor, serve(ScriptedChat(endless)), picture)
    ask(visitor, "Go on")
    expect(visitor.locator("#talk")).to_contain_text("Well, word")
    visitor.locator("#stop").click()
    expect(visitor.locator("#ask")).to_be_visible()
    assert stopped.wait(100), "the model goes on"
    expect(visitor.locator("#talk")).to_contain_text("Well, word")


def test_what_goes_wrong_is_said_on_the_page(visitor, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    def broken(question: str) -> Iterator[str]:
        raise RuntimeError("out of memory")

    address = serve(ScriptedChat(broken))
    visitor.goto(address)
    ask(visitor, "What is there?")
    expect(visitor.locator("#notice [role=alert]")).to_contain_text("Give a picture first")
    give(visitor, address, picture)
    ask(visitor, "What is there?")
    expect(visitor.locator("#notice [role=alert]")).to_contain_text("out of memory")
    expect(visitor.locator("#question input, #question textarea")).to_have_value("What is there?")
    assert no_sideways_scroll(visitor)


def test_two_visitors_do_not_see_each_other(browser, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    address = serve(ScriptedChat(lambda question: f"You said {question}"))
    first, second = (browser.new_context().new_page() for _ in range(2))
    for tab, words in ((first, "one"), (second, "two")):
        give(tab, address, picture)
        ask(tab, words)
        expect(tab.locator("#talk")).to_contain_text(f"You said {words}")
    expect(first.locator("#talk")).not_to_contain_text("two")
    for tab in (first, second):
        tab.context.close()


def test_a_real_model_answers(browser, serve, picture: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    from comvint_hf.training.tiny_model import make_tiny

    chat = load_chat(
        make_tiny(tmp_path / "tiny", ["Is there a red circle? Yes, there is."] * 8, words=300), device="cpu", max_new_tokens=12
    )
    said = chat.answer([{"role": "user", "content": "Is there a red circle?"}], Image.open(picture))
    tab = browser.new_context().new_page()
    give(tab, serve(chat), picture)
    ask(tab, "Is there a red circle?")
    expect(tab.locator("#talk [data-testid=bot]")).to_contain_text(said.split()[0][:12] if said else "…")
    expect(tab.locator("#ask")).to_be_visible()
    expect(tab.locator("#notice")).to_be_hidden()
    tab.context.close()


def test_another_picture_ends_the_answer_about_the_first(browser, serve, picture: Path) -> None:
    from playwright.sync_api import expect

    stopped = threading.Event()

    def endless(question: str) -> Iterator[str]:
        try:
            while not stopped.wait(0.05):
                yield "word "
        finally:
            stopped.set()

    chat = ScriptedChat(lambda question: endless(question) if question == "Go on" else "A white square.")
    tab = browser.new_context().new_page()
    give(tab, serve(chat, [Example(picture, "What is white?")], picture.parent), picture)
    ask(tab, "Go on")
    expect(tab.locator("#talk")).to_contain_text("word word")
    tab.locator("#examples button.thumbnail-item").first.click()
    expect(tab.locator("#talk")).to_contain_text("A white square.")
    expect(tab.locator("#talk")).not_to_contain_text("word")
    expect(tab.locator("body")).not_to_contain_text("Error")
    assert stopped.wait(100), "the model goes on"
    expect(tab.locator("#ask")).to_be_visible()
    tab.context.close()
