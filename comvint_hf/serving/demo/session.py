"""The state of one browser tab, and the actions of its user: set an image, ask, find, mark a region. Imports no gradio.

Actions that use the model are generators: the page is rendered from the state after each step, and closing one stops the model.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import NamedTuple

from PIL import Image

from comvint_hf.box_formats import clamp_box
from comvint_hf.errors import InputError
from comvint_hf.grounding import GroundedPhrase, parse
from comvint_hf.serving.chat import (
    LONG_BLANK,
    REGION_PHRASE,
    Chat,
    ChatMessage,
    grounding_question,
    parse_grounded,
    region_question,
)
from comvint_hf.serving.demo.draw import REGION_COLOUR, assign_colours, draw_boxes, highlight_phrases
from comvint_hf.serving.demo.limits import Limits
from comvint_hf.strict_reader import clean_text, redact
from comvint_hf.thoughts import strip_thoughts
from comvint_hf.types import Box

LOG = logging.getLogger(__name__)
MIN_REGION_SIDE = 0.01
"""The smallest side of a region, as a fraction of the image's: a smaller one is two taps on one spot."""
NO_ANSWER = "The model could not answer; try again."
CUT = "The answer was cut off; ask again for the rest."
TOO_LONG = "The answer was too long and ends here."
TOO_SLOW = "The answer took too long and ends here; try again."
_TICK = 0.05


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
        limits: What the session may use.
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
    limits: Limits = field(default_factory=Limits)

    def set_image(self, image: Image.Image | None) -> None:
        """Start a conversation about another image, or without one."""
        # Larger images would make the page slow and fill the memory.
        if image is not None and max(image.size) > self.limits.image_side:
            image = image.copy()
            image.thumbnail((self.limits.image_side, self.limits.image_side))
        self.image = image
        self.image_number += 1
        self.clear_conversation()
        self.clear_region()

    def clear_conversation(self) -> None:
        """Remove the conversation and its boxes."""
        self.messages, self.grounded, self.status, self.busy = [], [], None, False

    def select_point(self, x: float, y: float) -> None:
        """Select a point (fractions of the image): the first one sets a corner, the second one completes the region."""
        if self.image is None or not (math.isfinite(x) and math.isfinite(y)):
            return
        x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
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
    words = _clean(words)
    if problem := _find_problem(session, words, "Write a question first." if session.region is None else ""):
        session.status = Status(problem, is_error=True)
        return
    if len(session.messages) >= 2 * session.limits.turns:
        session.status = Status(f"This conversation has {session.limits.turns} questions; clear it to go on.", is_error=True)
        return
    question = region_question(words, session.region) if session.region else ChatMessage(role="user", content=words)
    answer = ChatMessage(role="assistant", content="")
    session.messages += [question, answer]
    session.grounded, session.draft = [], ""
    try:
        for piece in _stream_answer(chat, session, session.messages[:-1], answer):
            # A box ends here; once all that may be drawn are, the text need not be read again and again.
            if "]" in piece and sum(len(item.boxes) for item in session.grounded) < session.limits.boxes:
                _show_boxes(session, parse(answer["content"]))
            yield
        if session.grounded and any(message is answer for message in session.messages):
            _show_boxes(session, parse(answer["content"]))
    finally:
        _finish_answer(session, question, answer, words)


def find(chat: Chat, session: Session, phrase: str) -> Generator[None, None, None]:
    """Find a phrase and draw its boxes, without adding to the conversation."""
    phrase = _clean(phrase)
    if problem := _find_problem(session, phrase, "Write what to find first."):
        session.status = Status(problem, is_error=True)
        return
    answer = ChatMessage(role="assistant", content="")
    session.grounded = []
    for _ in _stream_answer(chat, session, [grounding_question(phrase)], answer):
        yield
    if session.status is None:
        count = _show_boxes(session, parse_grounded(answer["content"], phrase))
        found = f"Found “{phrase}” in {count:,} place{'s' if count > 1 else ''}."
        session.status = session.status or Status(found if count else f"The model gives no box for “{phrase}”.")


def _clean(words: object) -> str:
    """Take control characters and long runs of blanks out of what a visitor wrote."""
    return LONG_BLANK.sub(r"\1", clean_text(words)).strip() if isinstance(words, str) else ""


def _find_problem(session: Session, words: str, missing: str) -> str | None:
    """Find the reason why a question cannot be asked now; `missing` is the one for no words."""
    if session.busy:
        return "Wait for the answer, or stop it."
    if session.image is None:
        return "Give an image first: drop one above, or tap an example below."
    if len(words) > session.limits.question_characters:
        return f"This text has {len(words):,} characters; {session.limits.question_characters:,} is the most."
    return missing if missing and not words.strip(" .?!") else None


def _show_boxes(session: Session, grounded: list[GroundedPhrase]) -> int:
    """Draw the first boxes, as many as the limits allow, and return the number of all; the status tells the rest."""
    count, left, shown = sum(len(item.boxes) for item in grounded), session.limits.boxes, []
    for item in grounded:
        boxes = tuple(islice(item.boxes, max(left, 0)))
        left -= len(boxes)
        if boxes:
            shown.append(item._replace(boxes=boxes))
    session.grounded = shown
    if count > session.limits.boxes:
        rest = f" {session.status.text}" if session.status and session.status.is_error else ""
        session.status = Status(f"The first {session.limits.boxes} of {count:,} boxes are drawn.{rest}", bool(rest))
    return count


def _stream_answer(chat: Chat, session: Session, messages: list[ChatMessage], answer: ChatMessage) -> Generator[str, None, None]:
    """Append the pieces of the answer to `answer`, within the limits of length and time, and yield them; "" while there is none.

    An error becomes the status, and a new image ends the answer.
    """
    image_number, session.busy, session.status = session.image_number, True, None
    pieces = _read_in_time(chat.stream(messages, session.image), session.limits.answer_seconds)
    try:
        yield ""
        for piece in pieces:
            if session.image_number != image_number:
                break
            text = LONG_BLANK.sub(r"\1", answer["content"][-16:] + clean_text(piece))
            answer["content"] = (answer["content"][:-16] + text)[: session.limits.answer_characters]
            if "/" in piece:  # perhaps the end of thoughts whose beginning was not marked
                answer["content"] = strip_thoughts(answer["content"])
            yield piece
            if len(answer["content"]) >= session.limits.answer_characters:
                session.status = Status(TOO_LONG, is_error=True)
                break
    except TimeoutError:
        session.status = Status(TOO_SLOW, is_error=True)
    except Exception as error:  # noqa: BLE001
        session.status = Status(_explain(error, bool(answer["content"].strip())), is_error=True)
    finally:
        pieces.close()
        if session.image_number == image_number:
            session.busy = False


def _explain(error: Exception, has_text: bool) -> str:
    """Explain an error to a visitor, without anything that it holds: addresses, paths and keys stay in the log, redacted."""
    # The text of the visitor cannot be asked in this form: the model's own sentence helps.
    if type(error) is InputError:
        return redact(str(error), 300)
    LOG.error("The model failed. %s", redact("".join(traceback.format_exception(error))))
    return CUT if has_text else NO_ANSWER


def _read_in_time(pieces: Generator[str, None, None], seconds: float) -> Generator[str, None, None]:
    """Yield pieces as they come, and "" when none comes for a moment. A model that hangs keeps only its own thread.

    Raises:
        TimeoutError: After `seconds`.
    """
    deadline, stop = time.monotonic() + seconds, Event()
    arrived: Queue[str | Exception | None] = Queue(maxsize=64)

    def put(item: str | Exception | None) -> None:
        while not stop.is_set():
            try:
                return arrived.put(item, timeout=_TICK)
            except Full:
                continue

    def read() -> None:
        try:
            with closing(pieces):
                for piece in pieces:
                    put(piece)
                    if stop.is_set():
                        return
            put(None)
        except Exception as error:  # noqa: BLE001  # raised in the thread that waits
            put(error)

    Thread(target=read, daemon=True).start()
    try:
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError
            try:
                item = arrived.get(timeout=_TICK)
            except Empty:
                yield ""
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()


def _finish_answer(session: Session, question: ChatMessage, answer: ChatMessage, words: str) -> None:
    """Remove a question without an answer, which the history of the next question must not contain."""
    answer["content"] = answer["content"].strip()
    if not answer["content"] and question in session.messages:
        session.messages = [item for item in session.messages if item is not question and item is not answer]
        session.draft = words
        session.status = session.status or Status("No answer came.")
