"""Clean the wordings of a corpus. This file knows text, and no corpus."""

from __future__ import annotations

from collections.abc import Iterable


def clean(text: object) -> str:
    """Strip a wording and fold its newlines and repeated blanks; "" for what is not text.

    >>> clean(" A man \\n on a  horse ")
    'A man on a horse'
    """
    return " ".join(text.split()) if isinstance(text, str) else ""


def wordings(texts: object) -> tuple[str, ...]:
    """The distinct, cleaned wordings in a string or a list, in order; empty ones fall out.

    >>> wordings(["car", " car", "taxi", ""])
    ('car', 'taxi')
    """
    listed: Iterable[object] = texts if isinstance(texts, list) else [texts]
    return tuple(dict.fromkeys(filter(None, map(clean, listed))))
