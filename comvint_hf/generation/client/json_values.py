"""Finds JSON in a model's text, and repairs what is nearly JSON: stray commas, single quotes, comments, missing last brackets.

A text that breaks off inside a value is not repaired: its end would be made up.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import is_valid_text, parse_json

_MAX_SCANNED = 4_000_000
"""Characters that are read in search of JSON values, those that are read twice included."""
_MAX_REPAIRED = 12_000
"""Characters of the longest text that is repaired."""
_MAX_DEPTH, _MAX_QUOTES = 40, 800
_MAX_MISSING = 3
"""Most closing brackets that are added at the end."""
_OPENING = re.compile(r"[{\[]")
_MARKS = re.compile(r"""\\.|["{}\[\]]""", re.DOTALL)
_NO_NUMBER = re.compile(r"[:,\[]\s*-?(?:Infinity|NaN|inf\b|\d[\d.]{0,20}[eE][+-]?\d{3}|\d{300})")
"""Numbers beyond the limits, which a repair would turn into text."""
_CLOSED = re.compile(r"""["'”’}\]\d]\s*,?\s*\Z|\b(?:true|false|null|True|False|None)\s*,?\s*\Z""")


def is_json(text: str) -> bool:
    """Whether the whole text is JSON within the limits; pydantic's own parser takes infinities."""
    try:
        parse_json(text, what="The reply")
    except InputError:
        return False
    return True


def find_json_values(text: str) -> Iterator[Any]:
    """Yield every outermost JSON object or array in the text, in order; broken ones are skipped.

    The search ends where broken values would make it long.
    """
    at = scanned = 0
    starts = _OPENING.finditer(text)
    for match in starts:
        start = match.start()
        if start < at:
            continue
        try:
            value, at = _DECODER.raw_decode(text, start)
            scanned += at - start
            if "\\u" not in text[start:at] or is_valid_text(json.dumps(value, ensure_ascii=False)):
                yield value
        except json.JSONDecodeError as error:
            scanned += error.pos - start + error.pos // 50  # the error itself counts lines from the beginning
        except (ValueError, RecursionError):  # a number or a nesting beyond the limits
            scanned += _MAX_SCANNED // 100
        if scanned > _MAX_SCANNED:
            return


def repair_json(text: str) -> Any:
    """Repair the JSON that a text holds; `None` where it holds none that is whole.

    >>> repair_json("{'question': 'What?', 'answer': 'A cup.',}")
    {'question': 'What?', 'answer': 'A cup.'}
    >>> repair_json('{"question": "What?", "answer": "A cu') is None
    True
    """
    start = _OPENING.search(text)
    if start is None or not (span := _find_whole_span(text[start.start() :])) or _NO_NUMBER.search(span):
        return None
    import json_repair

    try:
        value = json_repair.loads(span, skip_json_loads=True)
    except (ValueError, RecursionError, IndexError):
        return None
    is_sound = isinstance(value, dict | list) and is_json(json.dumps(value, ensure_ascii=False))
    return value if is_sound and is_valid_text(json.dumps(value, ensure_ascii=False)) else None


def _find_whole_span(text: str) -> str | None:
    """The part of a text from its first bracket to the end of its JSON; `None` where that breaks off, or is too much to repair."""
    # The library's time grows with the square of the quotes that are out of place.
    if len(text) > _MAX_REPAIRED or text.count('"') > _MAX_QUOTES:
        return None
    end = max(text.rfind("}"), text.rfind("]")) + 1
    # What follows the last bracket may be prose, or the rest of a value that broke off.
    if end and not re.search(r"[\"{\[]|'\s*:", text[end:]) and (missing := _count_missing(text[:end])) is not None:
        return text[:end] if missing <= _MAX_MISSING else None
    whole = text.rstrip()
    missing = _count_missing(whole)
    return whole if missing is not None and missing <= _MAX_MISSING and _CLOSED.search(whole) else None


def _count_missing(text: str) -> int | None:
    """The closing brackets that are missing at the end; `None` for a text that ends inside a string or nests too deeply."""
    depth, inside = 0, False
    for mark in _MARKS.findall(text):
        if mark == '"':
            inside = not inside
        elif not inside and mark in "{[":
            depth += 1
        elif not inside and mark in "}]":
            depth -= 1
        if depth > _MAX_DEPTH:
            return None
    # Unescaped quotes inside a string make the count wrong by whole pairs, or by one: then the brackets alone decide.
    if inside or depth < 0:
        depth = sum(text.count(mark) for mark in "{[") - sum(text.count(mark) for mark in "}]")
        return 0 if depth == 0 and text[-1:] in ("}", "]") else None
    return depth


def _parse_int(digits: str) -> int:
    if len(digits) > 300:
        raise ValueError("an integer has more than 300 digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


# Not strict: models write line breaks into strings.
_DECODER = json.JSONDecoder(strict=False, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_parse_float)
