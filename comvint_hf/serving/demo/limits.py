"""The limits of the page, in one place. Imports no gradio."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from comvint_hf.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What one visitor, and all visitors together, may use.

    Attributes:
        question_characters: The longest question or phrase.
        turns: The number of questions of a conversation.
        answer_seconds: The longest answer; then its place is free for the next visitor.
        answer_characters: The longest answer, in characters.
        boxes: The number of boxes drawn on an image.
        updates_a_second: How often a streaming answer is sent to its page.
        answers_at_once: The number of answers at once; a chat with its own `concurrency` knows better.
        waiting: The number of visitors that wait in the queue; the next one is told to come back.
        requests_a_minute: The number of requests of a client address, and of those the number that do something.
        actions_a_minute: The number of POST requests of a client address.
        events_at_once: The number of events of a client address that run or wait.
        open_requests: The number of open requests of a client address.
        body_bytes: The size of a request that is not an upload.
        body_seconds: Seconds until a request or an upload has arrived.
        upload_bytes: The size of an image file.
        upload_pixels: Width x height of an image file, checked before it is decoded.
        upload_frames: The number of frames or passes of an image file; only the first frame is used.
        folder_bytes: The size of all uploads and drawn images on disk.
        image_side: The longest side of the image that a session keeps, in pixels.
        sessions: The number of sessions kept; the oldest one goes first.
        session_seconds: Seconds until an unused session and its files are deleted.
    """

    question_characters: int = 2_000
    turns: int = 20
    answer_seconds: float = 60.0
    answer_characters: int = 10_000
    boxes: int = 100
    updates_a_second: float = 10.0
    answers_at_once: int = 8
    waiting: int = 64
    requests_a_minute: int = 1_200
    actions_a_minute: int = 120
    events_at_once: int = 24
    open_requests: int = 100
    body_bytes: int = 64 * 1024
    body_seconds: float = 60.0
    upload_bytes: int = 20 * 1024**2
    upload_pixels: int = 50_000_000
    upload_frames: int = 1_000
    folder_bytes: int = 2 * 1024**3
    image_side: int = 1_600
    sessions: int = 100
    session_seconds: int = 30 * 60


def read_limits(settings: Iterable[str]) -> Limits:
    """Read limits like `turns=5`; the others keep their defaults. Raises `InputError`.

    >>> read_limits(["turns=5", "answer_seconds=7.5"]).answer_seconds
    7.5
    """
    kinds: dict[str, Callable[[str], Any]] = {item.name: int if item.type is int else float for item in fields(Limits)}
    found: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            found[name] = kinds[name](value)
            if not 0 < found[name] < math.inf:
                raise ValueError
        except (KeyError, ValueError):
            raise InputError(
                f"The limit is {setting!r}; expected a name, = and a number above 0, with one of the names {', '.join(kinds)}."
            ) from None
    return Limits(**found)
