"""Hypothesis strategies of hostile input: broken bytes of a good file, JSON with odd values, text made of markers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

ODD_TOKENS = (
    *(b"[", b"{", b"]", b"}", b'"', b"\\", b"\\ud800", b"\\u0000", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"),
    *(
        b"9" * 400,
        b"9" * 5000,
        b"[" * 300,
        b'{"a":' * 300,
        b"null",
        b"true",
        b"-1",
        b"0",
        b"1.5",
        b"\xff",
        b"\x00",
        b"\xef\xbb\xbf",
    ),
    *(
        b"\n",
        b"\r",
        b"\xe2\x80\xa8",
        b"<",
        b">",
        b"&x;",
        b"<!DOCTYPE a [",
        b"]]>",
        b"<image>",
        b"[/EN#1/people ",
        b"<st>",
        b"<ed>",
    ),
    *(
        b"../",
        b"/etc/passwd",
        b"/proc/self/fd/1",
        b"\x1b[2J",
        b"\x1b]0;x\x07",
        b"{}",
        b"[]",
        b'""',
        b"<loc0001>",
        b"[0.1, 0.2, 0.3,",
    ),
)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "a",
            "\ud800",
            "\x00",
            "\x1b[2J",
            "1",
            "NaN",
            "yes",
            "../../etc/passwd",
            "/etc/passwd",
            "x" * 5000,
            10**400,
            -1,
            1e308,
            2**63,
        ]
    ),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)


def dump(value: Any) -> bytes:
    """Write JSON as a careless program would: NaN and Infinity as such, and lone surrogates escaped."""
    return json.dumps(value).encode()


@st.composite
def broken(draw: Callable[..., Any], *seeds: bytes) -> bytes:
    """The bytes of a good file with a few changes: cut, repeated, replaced, or odd tokens put in."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + draw(st.sampled_from([0, 1, 8, 100, 10**6])))))
        put = draw(st.one_of(st.just(b""), st.sampled_from(ODD_TOKENS), st.binary(max_size=8), st.just(data[start:stop] * 3)))
        data = data[:start] + put + data[stop:]
    return data[:200_000]


@st.composite
def twisted(draw: Callable[..., Any], good: Any) -> Any:
    """A good JSON value in which some values are replaced by odd ones, or left out."""
    return _twist(draw, good, draw(st.sampled_from([0.02, 0.1, 0.3])))


def _twist(draw: Callable[..., Any], value: Any, share: float) -> Any:
    if draw(st.floats(0, 1)) < share:
        return draw(JSON)
    if isinstance(value, dict):
        kept = {name: _twist(draw, inner, share) for name, inner in value.items() if draw(st.floats(0, 1)) > share / 2}
        return kept | (draw(st.dictionaries(st.text(max_size=8), JSON, max_size=1)) if draw(st.floats(0, 1)) < share else {})
    if isinstance(value, list):
        return [_twist(draw, inner, share) for inner in value]
    return value


def twisted_file(good: Any) -> st.SearchStrategy[bytes]:
    """The bytes of a JSON file: a good one with odd values, or a broken one."""
    return st.one_of(twisted(good).map(dump), broken(dump(good)), JSON.map(dump), st.binary(max_size=200))


def text_of(*pieces: str) -> st.SearchStrategy[str]:
    """A text made of these pieces, some of them very often, and of other characters."""
    runs = st.builds(lambda piece, count: piece * count, st.sampled_from(pieces), st.sampled_from([1, 1, 1, 2, 50, 3000]))
    return st.lists(st.one_of(runs, st.text(max_size=6)), max_size=12).map("".join)
