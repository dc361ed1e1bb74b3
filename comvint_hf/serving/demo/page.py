"""The Gradio page: an image, a streaming conversation, boxes on the image, and questions about a marked region.

`build_page(chat, examples)` builds it for any `Chat`, and `launch` serves it. The page renders a `Session`, which holds all state.
"""

import functools
import html
import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Gradio reads this on import. The page contacts no other server.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from starlette.middleware import Middleware

from comvint_hf.errors import ImageError, InputError, first_line
from comvint_hf.images import decode_image
from comvint_hf.serving.chat import Chat
from comvint_hf.serving.demo.draw import render_legend
from comvint_hf.serving.demo.gate import Gate
from comvint_hf.serving.demo.limits import Limits
from comvint_hf.serving.demo.session import Session, Status, ask, find
from comvint_hf.serving.demo.style import CSS
from comvint_hf.serving.demo.uploads import UploadedImage, Uploads, make_upload_folder, read_upload
from comvint_hf.strict_reader import redact

LOG = logging.getLogger(__name__)
Updates = dict[str, Any]
"""New values by component name."""


class Example(NamedTuple):
    """An image to click on, and the question to ask about it."""

    image: Path
    question: str


class Page(gr.Blocks):
    """A page whose components have names, by which event handlers update them."""

    components: dict[str, Any]
    """The components. Gradio adds their event listeners at run time, so they have no static type."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(title="comvint", analytics_enabled=False, delete_cache=(60, limits.session_seconds))
        self.limits = limits
        self.uploads = Uploads()
        self.components = {}

    def expire_soon(self, request: gr.Request) -> None:
        """Let a closed session expire like an unused one; Gradio would keep it for an hour."""
        if request.session_hash and request.session_hash in self.state_holder.session_data:
            self.state_holder.session_data[request.session_hash].STATE_TTL_WHEN_CLOSED = self.limits.session_seconds

    def updates(self, changed: Updates) -> dict[gr.components.Component, Any]:
        return {self.components[name]: value for name, value in changed.items()}

    @property
    def outputs(self) -> list[gr.components.Component]:
        # The search field is an input only: an update would overwrite what the user types.
        return [component for name, component in self.components.items() if name != "phrase"]


def build_page(chat: Chat, examples: Sequence[Example] = (), limits: Limits | None = None) -> Page:
    """Build the page for a chat, with examples to click on, and the limits of its visitors."""
    make_upload_folder()
    with Page(limits or Limits()) as page:
        _add_components(page.components, chat.name, examples, page.limits)
        _connect_events(page, chat, examples)
        page.unload(page.expire_soon)
    page.queue(max_size=page.limits.waiting, default_concurrency_limit=4, api_open=False)
    return page


def launch(page: Page, **options: Any) -> Any:
    """Serve the page with its theme, behind its gate.

    Args:
        page: The page.
        options: Options of `gradio.Blocks.launch`.

    Returns:
        The result of `gradio.Blocks.launch`.

    Raises:
        InputError: If the address is in use or not an address of this machine.
    """
    theme = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    gate = Middleware(Gate, page=page, uploads=page.uploads, limits=page.limits)
    # Without a named proxy, uvicorn would believe the address in a header of any visitor of the same machine.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    guards: dict[str, Any] = {
        "app_kwargs": {"middleware": [gate], "docs_url": None, "redoc_url": None, "openapi_url": None},
        "max_file_size": page.limits.upload_bytes,
        "state_session_capacity": page.limits.sessions,
        "enable_monitoring": False,
        "show_error": False,
        "strict_cors": True,
        "max_threads": 64,
    }
    try:
        # Server-side rendering would need Node.js.
        return page.launch(theme=theme, css=CSS, footer_links=[], run_history=False, ssr_mode=False, **guards, **options)
    except OSError as error:
        raise InputError(f"The page cannot be served ({first_line(error)}); choose another --port or --host.") from error


def _add_components(components: dict[str, Any], name: str, examples: Sequence[Example], limits: Limits) -> None:
    components["session"] = gr.State(Session(limits=limits), time_to_live=limits.session_seconds)
    gr.HTML(
        f"<header><h1>comvint</h1><p>Ask, and see where.</p><span>{html.escape(name)}</span></header>",
        elem_id="head",
        padding=False,
    )
    with gr.Row(elem_id="columns"):
        with gr.Column(min_width=320):
            _add_image_column(components)
        with gr.Column(min_width=320):
            _add_chat_column(components)
    if examples:
        gr.HTML("<h2>Try one of these</h2>", elem_id="examples-title", padding=False)
        components["examples"] = gr.Gallery(
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


def _add_image_column(components: dict[str, Any]) -> None:
    """Add the image with its legend, the controls for regions, and the search field."""
    components["image"] = UploadedImage(
        sources=["upload", "clipboard"],
        show_label=False,
        buttons=["fullscreen"],
        elem_id="image",
        placeholder="Drop an image here,\nor tap to choose one",
        alt_text="The image of the conversation, with a box around each phrase of the answer",
    )
    components["legend"] = gr.HTML("", elem_id="legend", visible=False, padding=False)
    with gr.Row(elem_id="region-controls"):
        components["hint"] = gr.HTML(_render_hint(Session()), elem_id="hint", padding=False)
        components["clear_region"] = gr.Button(
            "Clear area", size="sm", visible=False, elem_id="clear-region", min_width=110, scale=0
        )
    with gr.Row(elem_id="search", equal_height=True):
        components["phrase"] = _make_textbox("Find: the red circle", "phrase")
        components["find"] = gr.Button("Find", elem_id="find", min_width=76, scale=0)


def _add_chat_column(components: dict[str, Any]) -> None:
    """Add the conversation with its status line and the question field."""
    components["chat"] = gr.Chatbot(
        latex_delimiters=[],
        show_label=False,
        height=460,
        elem_id="chat",
        layout="bubble",
        buttons=[],
        feedback_options=None,
        placeholder="**Give an image and ask about it.**\n\nBoxes of the answer are drawn on the image.",
    )
    components["status"] = gr.HTML("", elem_id="status", visible=False, padding=False)
    with gr.Row(elem_id="prompt", equal_height=True):
        components["question"] = _make_textbox("Ask about the image", "question")
        components["ask"] = gr.Button("Ask", variant="primary", elem_id="ask", min_width=76, scale=0)
        components["stop"] = gr.Button("Stop", variant="stop", elem_id="stop", min_width=76, scale=0, visible=False)


def _make_textbox(placeholder: str, name: str) -> gr.Textbox:
    return gr.Textbox(
        placeholder=placeholder, label=placeholder, show_label=False, container=False, max_lines=1, elem_id=name, min_width=120
    )


def _render(session: Session, *, image: bool = True) -> Updates:
    """Render the state of a session, without the image if it has not changed."""
    changed: Updates = {
        "session": session,
        "chat": session.render_messages(),
        "legend": gr.update(value=render_legend(session.grounded), visible=bool(session.grounded)),
        "hint": _render_hint(session),
        "clear_region": gr.update(visible=session.region is not None or session.corner is not None),
        "status": gr.update(value=_render_status(session), visible=session.status is not None),
        "ask": gr.update(visible=not session.busy),
        "stop": gr.update(visible=session.busy),
        "find": gr.update(interactive=not session.busy),
    }
    if image:
        changed["image"] = session.render_image()
    if session.draft is not None:
        changed["question"], session.draft = session.draft, None
    return changed


def _render_hint(session: Session) -> str:
    if session.region is not None:
        return '<p class="set">Your questions are about the marked area.</p>'
    if session.corner is not None:
        return '<p class="set">Now tap the opposite corner.</p>'
    return "<p>Tap two corners on the image to ask about that area.</p>" if session.image is not None else ""


def _render_status(session: Session) -> str:
    if session.status is None:
        return ""
    kind, role = ("error", "alert") if session.status.is_error else ("info", "status")
    return f'<p class="{kind}" role="{role}">{html.escape(session.status.text)}</p>'


def _render_steps(session: Session, steps: Generator[None, None, None]) -> Iterator[Updates]:
    """Render the page as an action goes on, a few times a second, and the image only when something on it has changed."""
    sent, last, shown = None, -math.inf, -1
    try:
        for _ in steps:
            length = sum(len(message["content"]) for message in session.messages)
            if time.monotonic() - last < 1 / session.limits.updates_a_second or (length, session.image_state()) == (shown, sent):
                continue
            yield _render(session, image=session.image_state() != sent)
            sent, last, shown = session.image_state(), time.monotonic(), length
    finally:
        steps.close()
    yield _render(session, image=session.image_state() != sent)


def _guard(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Make an event handler neutral towards what it cannot use: anyone may call it with anything."""

    @functools.wraps(handler)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            return handler(*arguments, **named)
        except Exception as error:  # noqa: BLE001
            LOG.error("%s failed. %s", handler.__name__, redact("".join(traceback.format_exception(error))))
            raise gr.Error("This does not work; reload the page and try again.", print_exception=False) from None

    return guarded


def _guard_steps(handler: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """`_guard` for a handler that yields."""

    @functools.wraps(handler)
    def guarded(*arguments: Any) -> Iterator[Any]:
        steps = iter(handler(*arguments))
        while (update := _guard(next)(steps, None)) is not None:
            yield update

    return guarded


def _read_numbers(event: gr.EventData, count: int) -> list[float] | None:
    """Read the place of a selection, in pixels or as a number; `None` unless it is `count` finite numbers."""
    data = event._data
    found = data.get("index") if isinstance(data, dict) else None
    numbers: list[Any] = found if isinstance(found, list) else [found]
    usable = len(numbers) == count and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    return numbers if usable else None


def _connect_events(page: Page, chat: Chat, examples: Sequence[Example]) -> None:
    """Connect the events of the components with the actions of the session."""
    options = {"show_progress": "hidden", "api_visibility": "private"}
    answering = _connect_answers(page, chat, examples, options)
    components, outputs, state = page.components, page.outputs, page.components["session"]
    image = components["image"]

    @_guard
    def on_upload(uploaded: str | None, session: Session) -> dict:
        try:
            session.set_image(read_upload(uploaded, page.limits) if uploaded else None)
        except ImageError as error:
            session.set_image(None)
            session.status = Status(str(error), is_error=True)
        return page.updates(_render(session))

    @_guard
    def on_clear(session: Session) -> dict:
        session.set_image(None)
        return page.updates(_render(session))

    @_guard
    def on_image_click(session: Session, event: gr.EventData) -> dict:
        if (place := _read_numbers(event, 2)) and (rendered := session.render_image()):
            session.select_point(place[0] / rendered.width, place[1] / rendered.height)
        return page.updates(_render(session))

    @_guard
    def on_stop(session: Session) -> dict:
        session.busy = False
        return page.updates(_render(session))

    @_guard
    def on_clear_region(session: Session) -> dict:
        session.clear_region()
        return page.updates(_render(session))

    @_guard
    def on_clear_chat(session: Session) -> dict:
        session.clear_conversation()
        return page.updates(_render(session))

    components["stop"].click(on_stop, state, outputs, cancels=answering, **options)
    components["clear_region"].click(on_clear_region, state, outputs, **options)
    components["chat"].clear(on_clear_chat, state, outputs, cancels=answering, **options)
    image.upload(on_upload, [image, state], outputs, cancels=answering, **options)
    image.clear(on_clear, state, outputs, cancels=answering, **options)
    image.select(on_image_click, state, outputs, **options)


def _connect_answers(page: Page, chat: Chat, examples: Sequence[Example], options: dict[str, str]) -> list[Any]:
    """Connect the events that ask the model, and return their listeners."""
    components, outputs = page.components, page.outputs
    state, question, phrase = (components[name] for name in ("session", "question", "phrase"))
    # Several users at once: a local model answers them in turn, an endpoint in parallel.
    streaming: dict[str, Any] = {"concurrency_limit": getattr(chat, "concurrency", page.limits.answers_at_once), **options}

    @_guard_steps
    def on_ask(words: str, session: Session) -> Iterator[dict]:
        yield from map(page.updates, _render_steps(session, ask(chat, session, words)))

    @_guard_steps
    def on_find(words: str, session: Session) -> Iterator[dict]:
        yield from map(page.updates, _render_steps(session, find(chat, session, words)))

    @_guard
    def on_example(session: Session, event: gr.EventData) -> dict:
        number = _read_numbers(event, 1)
        if number is None or number[0] not in range(len(examples)):
            return page.updates(_render(session))
        example = examples[int(number[0])]
        session.set_image(decode_image(example.image))
        return page.updates(_render(session) | {"question": example.question, "examples": gr.update(selected_index=None)})

    answering: list[Any] = [
        gr.on([components["ask"].click, question.submit], on_ask, [question, state], outputs, **streaming),
        gr.on([components["find"].click, phrase.submit], on_find, [phrase, state], outputs, **streaming),
    ]
    if examples:
        selected = components["examples"].select(on_example, state, outputs, **options)
        answering.append(selected.then(on_ask, [question, state], outputs, **streaming))
    return answering
