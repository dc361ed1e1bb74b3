"""The page in a browser: ask, find, mark, stop, examples; on a phone and on a desktop."""

import io
import os
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from comvint_hf.serving.chat import ScriptedChat
from comvint_hf.serving.demo.draw import PALETTE
from comvint_hf.serving.demo.page import Example
from comvint_hf.serving.loading import load_chat

ROOT = Path(__file__).parents[2]
CUP = "<st>a red cup<ed>[0.250, 0.250, 0.750, 0.750]"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "white.png"
    Image.new("RGB", (400, 400), "white").save(path)
    return path


def script(question: str) -> str:
    if question.startswith("Where"):
        return "There: <st>the hat<ed>[0.100, 0.100, 0.300, 0.300], [0.600, 0.600, 0.900, 0.900]."
    return f"There is {CUP} on the table."


def shown(tab) -> Image.Image:
    """The image as the page shows it."""
    source = tab.locator("#image img").get_attribute("src")
    return Image.open(io.BytesIO(tab.request.get(source).body())).convert("RGB")


def has_colour(image: Image.Image, place: tuple[float, float], colour: str) -> bool:
    """Whether a colour is drawn within a few pixels of a place (fractions); the page compresses images."""
    x, y = place[0] * image.width, place[1] * image.height
    near = image.crop((int(x) - 5, int(y) - 5, int(x) + 6, int(y) + 6))
    wanted = ImageColor.getrgb(colour)
    return any(sum(abs(a - b) for a, b in zip(pixel, wanted, strict=True)) < 60 for pixel in near.get_flattened_data())


def give(tab, address: str, image: Path) -> None:
    tab.goto(address)
    tab.locator("#image input[type=file]").set_input_files(str(image))
    # The page says how to mark a region once the image has arrived.
    tab.get_by_text("Tap two corners").wait_for()


def ask(tab, words: str) -> None:
    tab.locator("#question input, #question textarea").fill(words)
    tab.locator("#ask").click()


def tap(tab, x: float, y: float) -> None:
    """Tap at fractions of the displayed image."""
    image = tab.locator("#image img")
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    image.click(position={"x": box["width"] * x, "y": box["height"] * y})


def no_sideways_scroll(tab) -> bool:
    return tab.evaluate(
        "document.documentElement.scrollWidth <= window.innerWidth && document.body.scrollWidth <= window.innerWidth"
    )


def test_ask_and_see_the_answer_and_the_box(tab, serve, image: Path) -> None:
    from playwright.sync_api import expect

    go_on = threading.Event()

    def slowly(question: str) -> Iterator[str]:
        yield "There is <st>a red"
        go_on.wait(100)
        yield " cup<ed>[0.250, 0.250, 0.750, 0.750] on the table."

    give(tab, serve(ScriptedChat(slowly)), image)
    ask(tab, "What is there?")
    talk = tab.locator("#chat")
    expect(talk).to_contain_text("There is a red")
    expect(talk).not_to_contain_text("<st>")
    expect(tab.locator("#stop")).to_be_visible()
    before = tab.locator("#image img").get_attribute("src")
    go_on.set()
    expect(talk).to_contain_text("There is a red cup on the table.")
    expect(talk.locator("mark.phrase")).to_have_text("a red cup")
    expect(tab.locator("#legend")).to_contain_text("a red cup")
    expect(tab.locator("#image img")).not_to_have_attribute("src", before)
    drawn = shown(tab)
    assert has_colour(drawn, (0.25, 0.5), PALETTE[0]) and has_colour(drawn, (0.5, 0.75), PALETTE[0])
    assert not has_colour(drawn, (0.5, 0.5), PALETTE[0])
    expect(tab.locator("#ask")).to_be_visible()
    assert no_sideways_scroll(tab)


def test_find_draws_every_place(tab, serve, image: Path) -> None:
    from playwright.sync_api import expect

    chat = ScriptedChat(script)
    give(tab, serve(chat), image)
    phrase = tab.locator("#phrase input, #phrase textarea")
    phrase.fill("the hat")
    phrase.press("Enter")
    expect(tab.locator("#status")).to_contain_text("Found “the hat” in 2 places.")
    expect(tab.locator("#legend")).to_contain_text("×2")
    assert chat.requests[0][0][0]["content"] == "Where is the hat?"
    assert has_colour(shown(tab), (0.6, 0.75), PALETTE[0])


def test_mark_a_region_and_ask_about_it(tab, serve, image: Path) -> None:
    from playwright.sync_api import expect

    chat = ScriptedChat(script)
    give(tab, serve(chat), image)
    tap(tab, 0.2, 0.3)
    expect(tab.locator("#hint")).to_contain_text("opposite corner")
    tap(tab, 0.6, 0.8)
    expect(tab.locator("#hint")).to_contain_text("about the marked area")
    ask(tab, "What is this?")
    expect(tab.locator("#chat")).to_contain_text("on the table.")
    expect(tab.locator("#chat mark.phrase").first).to_have_text("this area")
    question = chat.requests[0][0][0]["content"]
    assert question.startswith("What is <st>this area<ed>[") and question.endswith("]?")
    corners = [float(number) for number in question.split("[")[1].split("]")[0].split(",")]
    assert corners == pytest.approx([0.2, 0.3, 0.6, 0.8], abs=0.02)
    tab.locator("#clear-region").click()
    expect(tab.locator("#hint")).to_contain_text("Tap two corners")
    assert no_sideways_scroll(tab)


def test_an_example_is_asked_with_one_tap(tab, serve, image: Path) -> None:
    from playwright.sync_api import expect

    chat = ScriptedChat(script)
    tab.goto(serve(chat, [Example(image, "What stands on the table?")], image.parent))
    tab.locator("#examples button.thumbnail-item").first.click()
    expect(tab.locator("#chat")).to_contain_text("What stands on the table?")
    expect(tab.locator("#chat")).to_contain_text("There is a red cup on the table.")
    assert chat.requests[0][1].size == (400, 400)
    assert no_sideways_scroll(tab)


def test_stop_ends_the_answer_and_keeps_its_text(tab, serve, image: Path) -> None:
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

    give(tab, serve(ScriptedChat(endless)), image)
    ask(tab, "Go on")
    expect(tab.locator("#chat")).to_contain_text("Well, word")
    tab.locator("#stop").click()
    expect(tab.locator("#ask")).to_be_visible()
    assert stopped.wait(100), "the model goes on"
    expect(tab.locator("#chat")).to_contain_text("Well, word")


def test_an_error_is_shown_on_the_page(tab, serve, image: Path) -> None:
    from playwright.sync_api import expect

    def broken(question: str) -> Iterator[str]:
        raise RuntimeError("out of memory")

    address = serve(ScriptedChat(broken))
    tab.goto(address)
    ask(tab, "What is there?")
    expect(tab.locator("#status [role=alert]")).to_contain_text("Give an image first")
    give(tab, address, image)
    ask(tab, "What is there?")
    expect(tab.locator("#status [role=alert]")).to_contain_text("The model could not answer; try again.")
    expect(tab.locator("#question input, #question textarea")).to_have_value("What is there?")
    assert no_sideways_scroll(tab)


def test_two_users_do_not_see_each_other(browser, serve, image: Path) -> None:
    from playwright.sync_api import expect

    address = serve(ScriptedChat(lambda question: f"You said {question}"))
    first, second = (browser.new_context().new_page() for _ in range(2))
    for tab, words in ((first, "one"), (second, "two")):
        give(tab, address, image)
        ask(tab, words)
        expect(tab.locator("#chat")).to_contain_text(f"You said {words}")
    expect(first.locator("#chat")).not_to_contain_text("two")
    for tab in (first, second):
        tab.context.close()


def test_a_real_model_answers(browser, serve, image: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    from comvint_hf.training.tiny_model import make_tiny_model

    chat = load_chat(
        make_tiny_model(tmp_path / "tiny", ["Is there a red circle? Yes, there is."] * 8, words=300),
        device="cpu",
        max_new_tokens=12,
    )
    answer = chat.answer([{"role": "user", "content": "Is there a red circle?"}], Image.open(image))
    tab = browser.new_context().new_page()
    give(tab, serve(chat), image)
    ask(tab, "Is there a red circle?")
    expect(tab.locator("#chat [data-testid=bot]")).to_contain_text(answer.split()[0][:12] if answer else "…")
    expect(tab.locator("#ask")).to_be_visible()
    expect(tab.locator("#status")).to_be_hidden()
    tab.context.close()


def test_another_image_ends_the_answer_about_the_first(browser, serve, image: Path) -> None:
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
    give(tab, serve(chat, [Example(image, "What is white?")], image.parent), image)
    ask(tab, "Go on")
    expect(tab.locator("#chat")).to_contain_text("word word")
    tab.locator("#examples button.thumbnail-item").first.click()
    expect(tab.locator("#chat")).to_contain_text("A white square.")
    expect(tab.locator("#chat")).not_to_contain_text("word")
    expect(tab.locator("body")).not_to_contain_text("Error")
    assert stopped.wait(100), "the model goes on"
    expect(tab.locator("#ask")).to_be_visible()
    tab.context.close()


def test_the_space_points_at_what_it_names(browser, serve) -> None:
    """The Space with its own examples. Leaves the screenshot of README in build/screenshots."""
    from playwright.sync_api import expect

    triangle = "<st>blue triangle<ed>[0.698, 0.364, 0.969, 0.635]"
    square = "<st>green square<ed>[0.365, 0.031, 0.635, 0.302]"
    star = "<st>green star<ed>[0.365, 0.698, 0.635, 0.969]"
    chat = ScriptedChat(
        lambda _: f"The {triangle} is on the right, below the {square} and above the {star}.", name="org/my-model"
    )
    space = runpy.run_path(str(ROOT / "space" / "app.py"))
    examples = [Example(space["EXAMPLES"] / name, question) for name, question in space["QUESTIONS"].items()]
    tab = browser.new_context(viewport={"width": 1200, "height": 760}, color_scheme="light").new_page()
    tab.goto(serve(chat, examples, space["EXAMPLES"]))
    tab.locator("#examples button.thumbnail-item").nth(1).click()
    expect(tab.locator("#chat")).to_contain_text(
        "The blue triangle is on the right, below the green square and above the green star."
    )
    expect(tab.locator("#legend li")).to_have_count(3)
    expect(tab.locator("#ask")).to_be_visible()
    drawn = shown(tab)
    assert has_colour(drawn, (0.698, 0.5), PALETTE[0]) and has_colour(drawn, (0.635, 0.85), PALETTE[2])
    tab.mouse.move(600, 20)
    tab.wait_for_function("document.querySelector('#image img').complete")
    target = ROOT / "build" / "screenshots" / "space.png"
    tab.screenshot(path=target, full_page=True, animations="disabled")
    assert Image.open(target).width == 1200 and target.stat().st_size <= 200_000
    if os.environ.get("COMVINT_UPDATE_SCREENSHOTS") == "1":
        (ROOT / "docs" / "images" / "space.png").write_bytes(target.read_bytes())
    tab.context.close()
