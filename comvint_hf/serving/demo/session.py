"""What a visitor of the page does, step by step: give a picture, ask, find, mark a region. Knows no gradio.

A `Visit` is one browser tab's state; the page is drawn from it after every step. Steps that talk to the model are
generators: each pause is a moment to show, and closing them stops the model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from comvint_hf.box_formats import clamped
from comvint_hf.errors import ComvintError
from comvint_hf.grounding import Grounded, parse
from comvint_hf.serving.chat import REGION_PHRASE, Chat, Turn, find_turn, found_in, region_turn
from comvint_hf.serving.demo.draw import LONGEST_SIDE, REGION_COLOUR, colours, draw, marked
from comvint_hf.types import Box

LOG = logging.getLogger(__name__)
SMALLEST_REGION = 0.01
"""A marked region's sides are at least this fraction of the picture's: less is two taps on one spot."""


class Notice(NamedTuple):
    """A sentence to show; `urgent` for what went wrong."""

    text: str
    urgent: bool = False


@dataclass
class Visit:
    """The picture, the conversation in canonical text, what is drawn, and what is to be said about it.

    `draft` is what the question box should hold, `None` to leave it alone; `number` counts pictures, so that an answer
    about an earlier one is not shown.
    """

    picture: Image.Image | None = None
    messages: list[Turn] = field(default_factory=list)
    grounded: list[Grounded] = field(default_factory=list)
    corner: tuple[float, float] | None = None
    region: Box | None = None
    notice: Notice | None = None
    draft: str | None = None
    busy: bool = False
    number: int = 0

    def take(self, picture: Image.Image | None) -> None:
        """Begin anew with a picture, or with none."""
        if picture is not None and max(picture.size) > LONGEST_SIDE * 2:
            picture = picture.copy()
            picture.thumbnail((LONGEST_SIDE * 2, LONGEST_SIDE * 2))
        self.picture = picture
        self.number += 1
        self.forget()
        self.unmark()

    def forget(self) -> None:
        """Drop the conversation and what it pointed at."""
        self.messages, self.grounded, self.notice, self.busy = [], [], None, False

    def tap(self, x: float, y: float) -> None:
        """Take a tap at fractions of the picture: the first sets a corner, the second makes the region."""
        if self.corner is None:
            self.corner, self.region, self.notice = (x, y), None, None
            return
        (x1, x2), (y1, y2) = sorted((self.corner[0], x)), sorted((self.corner[1], y))
        self.corner = None
        if min(x2 - x1, y2 - y1) < SMALLEST_REGION:
            self.notice = Notice("That area is too small: tap two opposite corners of it.", urgent=True)
            return
        self.region = clamped(x1, y1, x2, y2)

    def unmark(self) -> None:
        self.corner = self.region = None

    def drawn(self) -> Image.Image | None:
        """The picture with all that is pointed at."""
        return draw(self.picture, self.grounded, region=self.region, corner=self.corner) if self.picture else None

    def look(self) -> tuple[object, ...]:
        """What `drawn` depends on: the same look is the same picture."""
        return self.number, tuple(self.grounded), self.corner, self.region

    def transcript(self) -> list[dict[str, str]]:
        """The conversation as HTML, phrases highlighted where they are also on the picture."""
        palette = colours(self.grounded) | ({REGION_PHRASE: REGION_COLOUR} if self.region else {})
        return [{"role": turn["role"], "content": marked(turn["content"], palette) or "…"} for turn in self.messages]


def ask(chat: Chat, visit: Visit, words: str) -> Iterator[None]:
    """Ask a question, about the marked region where there is one, and let the answer grow in the visit."""
    if visit.picture is None:
        visit.notice = Notice("Give a picture first: drop one above, or tap an example below.", urgent=True)
        return
    if not words.strip() and visit.region is None:
        visit.notice = Notice("Write a question first.", urgent=True)
        return
    question = region_turn(words, visit.region) if visit.region else Turn(role="user", content=words.strip())
    answer = Turn(role="assistant", content="")
    visit.messages += [question, answer]
    visit.grounded, visit.draft = [], ""
    try:
        for _ in _streamed(chat, visit, visit.messages[:-1], answer):
            visit.grounded = parse(answer["content"])
            yield
    finally:
        _settle(visit, question, answer, words)


def find(chat: Chat, visit: Visit, phrase: str) -> Iterator[None]:
    """Find what a phrase names and draw it; the conversation stays as it is."""
    if visit.picture is None or not phrase.strip():
        wanted = "Give a picture first." if visit.picture is None else "Write what to find first."
        visit.notice = Notice(wanted, urgent=True)
        return
    answer = Turn(role="assistant", content="")
    visit.grounded = []
    yield from _streamed(chat, visit, [find_turn(phrase)], answer)
    if visit.notice is None:
        visit.grounded = found_in(answer["content"], phrase.strip())
        count = sum(len(item.boxes) for item in visit.grounded)
        told = f"Found “{phrase.strip()}” in {count} place{'s' if count > 1 else ''}."
        visit.notice = Notice(told if count else f"The model points at nothing for “{phrase.strip()}”.")


def _streamed(chat: Chat, visit: Visit, messages: list[Turn], answer: Turn) -> Iterator[None]:
    """Let `answer` grow; what goes wrong becomes the visit's notice. A new picture ends it."""
    number, visit.busy, visit.notice = visit.number, True, None
    pieces = chat.stream(messages, visit.picture)
    try:
        yield
        for piece in pieces:
            if visit.number != number:
                break
            answer["content"] += piece
            yield
    except ComvintError as error:
        visit.notice = Notice(str(error), urgent=True)
    except Exception as error:
        # A page must say that its model broke; what happened exactly belongs into the log.
        LOG.exception("the model failed")
        visit.notice = Notice(f"The model failed ({type(error).__name__}: {error}). Try again, or see the log.", urgent=True)
    finally:
        pieces.close()
        visit.busy = False


def _settle(visit: Visit, question: Turn, answer: Turn, words: str) -> None:
    """Leave no question without an answer behind: it would stand in the next one's history."""
    answer["content"] = answer["content"].strip()
    if not answer["content"] and question in visit.messages:
        visit.messages = [turn for turn in visit.messages if turn is not question and turn is not answer]
        visit.draft = words
        visit.notice = visit.notice or Notice("No answer came.")
