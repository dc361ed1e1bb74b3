"""Salvage: what is good in a reply that is not wholly good. Pure functions of JSON values and text; they ask no LLM.

A reply that was cut off keeps its complete items, and a list with a bad item its good ones.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

R = TypeVar("R", bound=BaseModel)
_CLOSING = {"{": "}", "[": "]"}
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[{}\[\]]', re.DOTALL)
_MOST_ROUNDS = 50
"""Bad items that are left out one after another before a reply counts as no reply."""
CUT = "the reply was cut off before its end"


def complete_items(text: str) -> str | None:
    """Close JSON that was cut off after its last complete object in a list; `None` if there is none.

    >>> complete_items('{"pairs": [{"a": 1}, {"a": 2}, {"a"')
    '{"pairs": [{"a": 1}, {"a": 2}]}'
    """
    start = text.find("{")
    if start < 0:
        return None
    opened: list[str] = []
    best: tuple[int, str] | None = None
    for token in _TOKENS.finditer(text, start):
        mark = token[0]
        if mark in _CLOSING:
            opened.append(mark)
        elif mark in ("}", "]"):
            if not opened or _CLOSING[opened.pop()] != mark:
                break
            if mark == "}" and opened and opened[-1] == "[":
                best = token.end(), "".join(_CLOSING[one] for one in reversed(opened))
    return text[start : best[0]] + best[1] if best else None


def read_cut(text: str) -> Any:
    """Read the complete items of a reply that was cut off; `None` where nothing is complete."""
    closed = complete_items(text)
    try:
        return None if closed is None else json.loads(closed, strict=False)
    except (ValueError, RecursionError):
        return None


def validate_good_items(reply_type: type[R], value: Any) -> tuple[R, tuple[str, ...]]:
    """Validate a reply; items of its lists that do not validate are left out.

    Returns:
        The reply, and what was wrong with each item that it lacks.

    Raises:
        ValidationError: If the problem is in no list, or no item of a list is good.
    """
    problems: list[str] = []
    value = json.loads(json.dumps(value))  # the given value is not changed
    while True:
        try:
            return reply_type.model_validate(value), tuple(problems)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = problem["loc"]
            if len(problems) == _MOST_ROUNDS or not _remove_item(value, place):
                raise
            problems.append(f"{'.'.join(map(str, place))}: {problem['msg']}")


def _remove_item(value: Any, place: tuple[int | str, ...]) -> bool:
    """Remove the innermost list item around a place that does not leave its list empty.

    An item of a list in an item takes those after it along: later turns of a conversation build on the earlier ones.
    """
    numbered = [at for at, step in enumerate(place) if isinstance(step, int)]
    for depth in reversed(numbered):
        items = value
        for step in place[:depth]:
            items = items[step]
        number = place[depth]
        if not isinstance(items, list) or not isinstance(number, int) or number >= len(items):
            return False
        takes_rest = depth > numbered[0] and isinstance(items[number], dict)
        if number > 0 or (len(items) > 1 and not takes_rest) or not isinstance(items[number], dict):
            del items[number : None if takes_rest else number + 1]
            return True
    return False
