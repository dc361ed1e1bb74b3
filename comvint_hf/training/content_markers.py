"""Two private-use characters around each text of a conversation, to find it again in whatever a chat template makes of it.

They carry the text's number, so texts may move; they are no blanks, so a template that trims texts trims nothing unless they
are put inside the blanks. This file knows turns and their text parts, and no template.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from comvint_hf.errors import RowError
from comvint_hf.training.loss_mask import Span

_OPEN, _CLOSE, _MOST = 0x100000, 0x108000, 0x7FF0
"""Private-use characters of plane 16: text `k` of a conversation stands between `_OPEN + k` and `_CLOSE + k`."""
_MARKER = re.compile(f"[{chr(_OPEN)}-{chr(_CLOSE + _MOST)}]")
_CORE = re.compile(r"^(\s*)(.*?)(\s*)$", re.DOTALL)

Trim = tuple[bool, bool]
"""Whether a template takes the blanks off the beginning and off the end of a text."""
KEEPS: Trim = (False, False)


def read_markers(marked: str) -> tuple[str, dict[int, list[Span]]]:
    """Take the markers out of a render: the bare text, and where in it each text stands, once for each time it was written.

    >>> read_markers(f"Q: {chr(0x100000)}who?{chr(0x108000)} A:")
    ('Q: who? A:', {0: [(3, 7)]})
    """
    bare, places, opened, last, length = [], {}, {}, 0, 0
    for match in _MARKER.finditer(marked):
        bare.append(marked[last : match.start()])
        length += match.start() - last
        last = match.end()
        code = ord(match[0])
        if code < _CLOSE:
            opened[code - _OPEN] = length
        elif code - _CLOSE in opened:
            places.setdefault(code - _CLOSE, []).append((opened.pop(code - _CLOSE), length))
    bare.append(marked[last:])
    return "".join(bare), places


def with_markers(turns: list[dict], trims: dict[str, Trim] | None = None) -> list[dict]:
    """The turns with markers around each text; on a side that the template trims, inside the text's blanks."""
    counter = itertools.count()
    trims = trims or {}
    return [
        {
            "role": turn["role"],
            "content": [
                {"type": "text", "text": _mark(part["text"], next(counter), trims.get(turn["role"], KEEPS))}
                if part["type"] == "text"
                else part
                for part in turn["content"]
            ],
        }
        for turn in turns
    ]


def _mark(text: str, index: int, trim: Trim) -> str:
    if trim == KEEPS:
        return f"{chr(_OPEN + index)}{text}{chr(_CLOSE + index)}"
    lead, core, trail = _CORE.match(text).groups()
    if not core and not trim[0]:
        lead, trail = trail, lead
    outer_lead, inner_lead = (lead, "") if trim[0] else ("", lead)
    outer_trail, inner_trail = (trail, "") if trim[1] else ("", trail)
    return f"{outer_lead}{chr(_OPEN + index)}{inner_lead}{core}{inner_trail}{chr(_CLOSE + index)}{outer_trail}"


def texts(turns: list[dict]) -> Iterator[tuple[int, str, str]]:
    """Every text with its number and the role that speaks it."""
    spoken = ((turn["role"], part["text"]) for turn in turns for part in turn["content"] if part["type"] == "text")
    return ((index, role, text) for index, (role, text) in enumerate(spoken))


def refuse_markers(name: str, turns: list[dict]) -> None:
    """Raise `RowError` if a text has such characters itself, or if there are more texts than numbers; `name` is the row's."""
    for index, _, text in texts(turns):
        if text and max(text) >= chr(_OPEN):
            raise RowError(
                f"{name} has the private-use character {max(text)!a} in its text: those of plane 16 are used here to "
                "follow texts through the chat template. Take it out."
            )
        if index >= _MOST:
            raise RowError(f"{name} has more than {_MOST} texts: split the conversation.")
