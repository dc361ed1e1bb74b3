"""The page: a picture, a conversation that streams, boxes on the picture, finding, and asking about a marked region.

`interface(chat, examples)` builds it for anything that is a `Chat`, `launch` opens it with its looks. Knows gradio and
draws what a `Visit` holds; what happens in a visit it does not know.
"""

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

# Read when gradio is imported: the page speaks to nobody but its visitor and its model.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from comvint_hf.errors import InputError, first_line
from comvint_hf.serving.chat import Chat
from comvint_hf.serving.demo.draw import legend
from comvint_hf.serving.demo.session import Visit, ask, find
from comvint_hf.serving.demo.style import CSS

Updates = dict[str, Any]
"""New values by the name of the part of the page."""


class Example(NamedTuple):
    """A picture to click on, and the question that comes with it."""

    image: Path
    question: str


class Page(gr.Blocks):
    """The page's parts by name, so that handlers can say what changes in words."""

    parts: dict[str, gr.components.Component]

    def __init__(self) -> None:
        super().__init__(title="comvint", analytics_enabled=False)
        self.parts = {}

    def updates(self, changed: Updates) -> dict[gr.components.Component, Any]:
        return {self.parts[name]: value for name, value in changed.items()}

    @property
    def shown(self) -> list[gr.components.Component]:
        return [part for name, part in self.parts.items() if name != "phrase"]


def interface(chat: Chat, examples: Sequence[Example] = ()) -> Page:
    """Build the page for a chat; `examples` are offered to click on."""
    with Page() as page:
        _layout(page.parts, chat.name, examples)
        _wire(page, chat, examples)
    return page


def launch(page: gr.Blocks, **options: Any) -> Any:
    """Open the page with its looks; `options` and what is returned are those of `gradio.Blocks.launch`.

    Raises `InputError` where the address is taken or not this machine's.
    """
    theme = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    try:
        return page.launch(theme=theme, css=CSS, footer_links=[], run_history=False, ssr_mode=False, **options)
    except OSError as error:
        raise InputError(f"The page cannot be opened here ({first_line(error)}); choose another --port or --host.") from error


def _layout(parts: dict[str, gr.components.Component], name: str, examples: Sequence[Example]) -> None:
    parts["visit"] = gr.State(Visit())
    gr.HTML(
        f"<header><h1>comvint</h1><p>Ask, and see where.</p><span>{html.escape(name)}</span></header>",
        elem_id="head",
        padding=False,
    )
    with gr.Row(elem_id="room"):
        with gr.Column(min_width=320):
            _seeing(parts)
        with gr.Column(min_width=320):
            _talking(parts)
    if examples:
        gr.HTML("<h2>Try one of these</h2>", elem_id="examples-title", padding=False)
        parts["examples"] = gr.Gallery(
            [(str(example.image), example.question) for example in examples],
            show_label=False,
            allow_preview=False,
            columns=len(examples),
            height="auto",
            object_fit="contain",
            buttons=[],
            elem_id="examples",
            interactive=False,
        )


def _seeing(parts: dict[str, gr.components.Component]) -> None:
    """The picture's side: what is on it, marking, finding."""
    parts["photo"] = gr.Image(
        type="pil",
        sources=["upload", "clipboard"],
        show_label=False,
        buttons=["fullscreen"],
        elem_id="photo",
        placeholder="Drop a picture here,\nor tap to choose one",
        alt_text="The picture of the conversation, with a box around everything the answer points at",
    )
    parts["legend"] = gr.HTML("", elem_id="legend", visible=False, padding=False)
    with gr.Row(elem_id="marking"):
        parts["hint"] = gr.HTML(_hint(Visit()), elem_id="hint", padding=False)
        parts["unmark"] = gr.Button("Clear area", size="sm", visible=False, elem_id="unmark", min_width=110, scale=0)
    with gr.Row(elem_id="finding", equal_height=True):
        parts["phrase"] = _textbox("Find: the red circle", "phrase")
        parts["find"] = gr.Button("Find", elem_id="find", min_width=76, scale=0)


def _talking(parts: dict[str, gr.components.Component]) -> None:
    """The conversation's side."""
    parts["talk"] = gr.Chatbot(
        show_label=False,
        height=460,
        elem_id="talk",
        layout="bubble",
        buttons=[],
        feedback_options=None,
        placeholder="**Give a picture and ask about it.**\n\nWhat the answer points at is drawn on the picture.",
    )
    parts["notice"] = gr.HTML("", elem_id="notice", visible=False, padding=False)
    with gr.Row(elem_id="asking", equal_height=True):
        parts["question"] = _textbox("Ask about the picture", "question")
        parts["ask"] = gr.Button("Ask", variant="primary", elem_id="ask", min_width=76, scale=0)
        parts["stop"] = gr.Button("Stop", variant="stop", elem_id="stop", min_width=76, scale=0, visible=False)


def _textbox(placeholder: str, name: str) -> gr.Textbox:
    return gr.Textbox(
        placeholder=placeholder, label=placeholder, show_label=False, container=False, max_lines=1, elem_id=name, min_width=120
    )


def _view(visit: Visit, *, picture: bool = True) -> Updates:
    """The whole page as the visit has it; without the `picture` when that has not changed."""
    changed: Updates = {
        "visit": visit,
        "talk": visit.transcript(),
        "legend": gr.update(value=legend(visit.grounded), visible=bool(visit.grounded)),
        "hint": _hint(visit),
        "unmark": gr.update(visible=visit.region is not None or visit.corner is not None),
        "notice": gr.update(value=_notice(visit), visible=visit.notice is not None),
        "ask": gr.update(visible=not visit.busy),
        "stop": gr.update(visible=visit.busy),
        "find": gr.update(interactive=not visit.busy),
    }
    if picture:
        changed["photo"] = visit.drawn()
    if visit.draft is not None:
        changed["question"], visit.draft = visit.draft, None
    return changed


def _hint(visit: Visit) -> str:
    if visit.region is not None:
        return '<p class="set">Your questions are about the marked area.</p>'
    if visit.corner is not None:
        return '<p class="set">Now tap the opposite corner.</p>'
    return "<p>Tap two corners on the picture to ask about that area.</p>" if visit.picture is not None else ""


def _notice(visit: Visit) -> str:
    if visit.notice is None:
        return ""
    kind, role = ("urgent", "alert") if visit.notice.urgent else ("calm", "status")
    return f'<p class="{kind}" role="{role}">{html.escape(visit.notice.text)}</p>'


def _views(visit: Visit, steps: Iterator[None]) -> Iterator[Updates]:
    """Show the page after every step; the picture is sent again only when something on it has changed."""
    sent = None
    try:
        for _ in steps:
            yield _view(visit, picture=visit.look() != sent)
            sent = visit.look()
    finally:
        steps.close()
    yield _view(visit, picture=visit.look() != sent)


def _wire(page: Page, chat: Chat, examples: Sequence[Example]) -> None:
    """Say what happens when."""
    parts, quiet = page.parts, {"show_progress": "hidden", "api_visibility": "private"}
    visit, photo, question, phrase = (parts[name] for name in ("visit", "photo", "question", "phrase"))

    def asking(words: str, now: Visit) -> Iterator[dict]:
        yield from map(page.updates, _views(now, ask(chat, now, words)))

    def finding(words: str, now: Visit) -> Iterator[dict]:
        yield from map(page.updates, _views(now, find(chat, now, words)))

    def taken(picture: Image.Image | None, now: Visit) -> dict:
        now.take(picture)
        return page.updates(_view(now))

    def tapped(now: Visit, event: gr.SelectData) -> dict:
        if now.picture is not None and (shown := now.drawn()):
            now.tap(event.index[0] / shown.width, event.index[1] / shown.height)
        return page.updates(_view(now))

    def stopped(now: Visit) -> dict:
        now.busy = False
        return page.updates(_view(now))

    def unmarked(now: Visit) -> dict:
        now.unmark()
        return page.updates(_view(now))

    def anew(now: Visit) -> dict:
        now.forget()
        return page.updates(_view(now))

    def chosen(now: Visit, event: gr.SelectData) -> dict:
        example = examples[event.index]
        now.take(Image.open(example.image).convert("RGB"))
        return page.updates(_view(now) | {"question": example.question, "examples": gr.update(selected_index=None)})

    shown = page.shown
    # Several visitors at once: a local model takes them in turn, an endpoint side by side.
    streaming = {"concurrency_limit": 8, **quiet}
    answering = [
        gr.on([parts["ask"].click, question.submit], asking, [question, visit], shown, **streaming),
        gr.on([parts["find"].click, phrase.submit], finding, [phrase, visit], shown, **streaming),
    ]
    if examples:
        answering.append(
            parts["examples"].select(chosen, visit, shown, **quiet).then(asking, [question, visit], shown, **streaming),
        )
    parts["stop"].click(stopped, visit, shown, cancels=answering, **quiet)
    parts["unmark"].click(unmarked, visit, shown, **quiet)
    parts["talk"].clear(anew, visit, shown, cancels=answering, **quiet)
    photo.upload(taken, [photo, visit], shown, cancels=answering, **quiet)
    photo.clear(lambda now: taken(None, now), visit, shown, cancels=answering, **quiet)
    photo.select(tapped, visit, shown, **quiet)
