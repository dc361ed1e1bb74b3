"""The state of one browser tab, and the actions of its user: set an image, ask, find, mark a region. Imports no gradio.

Actions that use the model are generators: the page is rendered from the state after each step, and closing one stops the model.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from comvint_hf.box_formats import clamp_box
from comvint_hf.errors import ComvintError
from comvint_hf.grounding import GroundedPhrase, parse
from comvint_hf.serving.chat import REGION_PHRASE, Chat, ChatMessage, grounding_question, parse_grounded, region_question
from comvint_hf.serving.demo.draw import MAX_LONGEST_SIDE, REGION_COLOUR, assign_colours, draw_boxes, highlight_phrases
from comvint_hf.types import Box

LOG = logging.getLogger(__name__)
MIN_REGION_SIDE = 0.01
"""The smallest side of a region, as a fraction of the image's: a smaller one is two taps on one spot."""


class Status(NamedTuple):
    """A sentence to show below the conversation."""

    text: str
    is_error: bool = False


@dataclass
class Session:
    """The state of a browser tab.

    Attributes:
        image: The image.
        messages: The conversation, with canonical boxes.
        grounded: The phrases whose boxes are drawn on the image.
        corner: The first corner of a region that is being marked, in fractions of the image.
        region: The marked region.
        status: The sentence to show.
        draft: New text for the question field; `None` leaves it as it is.
        busy: Whether an answer is being generated.
        image_number: The number of images so far, by which a running answer notices that its image was replaced.
    """

    image: Image.Image | None = None
    messages: list[ChatMessage] = field(default_factory=list)
    grounded: list[GroundedPhrase] = field(default_factory=list)
    corner: tuple[float, float] | None = None
    region: Box | None = None
    status: Status | None = None
    draft: str | None = None
    busy: bool = False
    image_number: int = 0

    def set_image(self, image: Image.Image | None) -> None:
        """Start a conversation about another image, or without one."""
        # Larger images would only make the page slow.
        if image is not None and max(image.size) > MAX_LONGEST_SIDE * 2:
            image = image.copy()
            image.thumbnail((MAX_LONGEST_SIDE * 2, MAX_LONGEST_SIDE * 2))
        self.image = image
        self.image_number += 1
        self.clear_conversation()
        self.clear_region()

    def clear_conversation(self) -> None:
        """Remove the conversation and its boxes."""
        self.messages, self.grounded, self.status, self.busy = [], [], None, False

    def select_point(self, x: float, y: float) -> None:
        """Select a point (fractions of the image): the first one sets a corner, the second one completes the region."""
        if self.corner is None:
            self.corner, self.region, self.status = (x, y), None, None
            return
        (x1, x2), (y1, y2) = sorted((self.corner[0], x)), sorted((self.corner[1], y))
        self.corner = None
        if min(x2 - x1, y2 - y1) < MIN_REGION_SIDE:
            self.status = Status("That area is too small: tap two opposite corners of it.", is_error=True)
            return
        self.region = clamp_box(x1, y1, x2, y2)

    def clear_region(self) -> None:
        self.corner = self.region = None

    def render_image(self) -> Image.Image | None:
        """Draw the boxes and the marked region on the image."""
        return draw_boxes(self.image, self.grounded, region=self.region, corner=self.corner) if self.image else None

    def image_state(self) -> tuple[object, ...]:
        """Return everything that `render_image` depends on; an equal state renders an equal image."""
        return self.image_number, tuple(self.grounded), self.corner, self.region

    def render_messages(self) -> list[dict[str, str]]:
        """Render the conversation as HTML. Phrases whose boxes are drawn are highlighted in the same colour."""
        palette = assign_colours(self.grounded) | ({REGION_PHRASE: REGION_COLOUR} if self.region else {})
        return [{"role": item["role"], "content": highlight_phrases(item["content"], palette) or "…"} for item in self.messages]


def ask(chat: Chat, session: Session, words: str) -> Generator[None, None, None]:
    """Ask a question, about the marked region if there is one, and add the answer to the session as it is generated."""
    if session.image is None:
        session.status = Status("Give an image first: drop one above, or tap an example below.", is_error=True)
        return
    if not words.strip() and session.region is None:
        session.status = Status("Write a question first.", is_error=True)
        return
    question = region_question(words, session.region) if session.region else ChatMessage(role="user", content=words.strip())
    answer = ChatMessage(role="assistant", content="")
    session.messages += [question, answer]
    session.grounded, session.draft = [], ""
    try:
        for _ in _stream_answer(chat, session, session.messages[:-1], answer):
            session.grounded = parse(answer["content"])
            yield
    finally:
        _finish_answer(session, question, answer, words)


def find(chat: Chat, session: Session, phrase: str) -> Generator[None, None, None]:
    """Find a phrase and draw its boxes, without adding to the conversation."""
    if session.image is None or not phrase.strip():
        missing = "Give an image first." if session.image is None else "Write what to find first."
        session.status = Status(missing, is_error=True)
        return
    answer = ChatMessage(role="assistant", content="")
    session.grounded = []
    yield from _stream_answer(chat, session, [grounding_question(phrase)], answer)
    if session.status is None:
        session.grounded = parse_grounded(answer["content"], phrase.strip())
        count = sum(len(item.boxes) for item in session.grounded)
        found = f"Found “{phrase.strip()}” in {count} place{'s' if count > 1 else ''}."
        session.status = Status(found if count else f"The model gives no box for “{phrase.strip()}”.")


def _stream_answer(chat: Chat, session: Session, messages: list[ChatMessage], answer: ChatMessage) -> Generator[None, None, None]:
    """Append the pieces of the answer to `answer`. An error becomes the status, and a new image ends the answer."""
    image_number, session.busy, session.status = session.image_number, True, None
    pieces = chat.stream(messages, session.image)
    try:
        yield
        for piece in pieces:
            if session.image_number != image_number:
                break
            answer["content"] += piece
            yield
    except ComvintError as error:
        session.status = Status(str(error), is_error=True)
    except Exception as error:
        # The user sees the error in one sentence; the traceback goes to the log.
        LOG.exception("The model failed.")
        session.status = Status(f"The model failed ({type(error).__name__}: {error}). Try again, or see the log.", is_error=True)
    finally:
        pieces.close()
        session.busy = False


def _finish_answer(session: Session, question: ChatMessage, answer: ChatMessage, words: str) -> None:
    """Remove a question without an answer, which the history of the next question must not contain."""
    answer["content"] = answer["content"].strip()
    if not answer["content"] and question in session.messages:
        session.messages = [item for item in session.messages if item is not question and item is not answer]
        session.draft = words
        session.status = session.status or Status("No answer came.")
