"""The strict reader: whatever comes in, a finite value or one calm sentence comes out."""

import json
import math
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import (
    LIMITS,
    bounded_int,
    clean_text,
    is_valid_text,
    parse_json,
    read_file,
    read_json_file,
    redact,
    remember_secret,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_json_writes_is_read_back(value, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(written, what="It") == parse_json(written.encode(), what="It") == value


HOSTILE = {
    "lone surrogate": rb'{"a": "\ud800"}',
    "lone surrogate in a key": rb'{"\udfff": 1}',
    "half a pair": rb'"\ud83d\u0041"',
    "surrogate in text": '"\ud800"',
    "digits": b"1" * 5000,
    "digits below the parser's limit": b"1" * 400,
    "deep list": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "closed deep list": b"[" * 5000 + b"]" * 5000,
    "infinity": b"Infinity",
    "negative infinity": b"[-Infinity]",
    "nan": b'{"a": NaN}',
    "infinite float": b"1e999",
    "long infinite float": b"1" * 299 + b"e99",
    "utf-8": b'"\xff\xfe"',
    "overlong": b'"\xc0\xaf"',
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "control character": b'"\x1b"',
    "cut": b'{"a": [1, 2',
    "two documents": b"{} {}",
    "empty": b"",
    "null bytes": b"\0" * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_odd_is_one_calm_sentence_at_once(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match=r"^The reply cannot be read") as caught:
        parse_json(HOSTILE[name], what="The reply")
    assert time.monotonic() - started < 1 and len(str(caught.value)) < 400 and str(caught.value).isprintable()


@given(st.binary(max_size=200) | st.text(max_size=200) | st.text('[]{}",:0123456789eE+-.\\u d8', max_size=60))
def test_any_bytes_are_a_finite_value_or_an_input_error(data) -> None:
    try:
        value = parse_json(data, what="It")
    except InputError:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def test_a_document_is_bounded_in_bytes() -> None:
    with pytest.raises(InputError, match="at most 10 are read"):
        parse_json(b" " * 11, what="It", max_bytes=10)
    assert parse_json(b"\xef\xbb\xbf[1]", what="It") == [1]


def test_only_a_regular_file_of_the_right_size_is_read(tmp_path) -> None:
    (tmp_path / "good.json").write_text('{"a": 1}')
    assert read_json_file(tmp_path / "good.json") == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in (
        (tmp_path / "pipe", "no regular file"),
        (tmp_path, "cannot be read"),
        (tmp_path / "missing", "No such file"),
        ("/dev/zero", "no regular file"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(InputError, match=sentence):
            read_json_file(path)
    with pytest.raises(InputError, match="more than 4 bytes"):
        read_file(tmp_path / "good.json", max_bytes=4)


@given(st.one_of(VALUES, st.floats(), st.integers()), st.integers(-5, 5), st.integers(5, 100))
def test_a_count_is_a_whole_number_in_its_bounds_or_the_default(value, low: int, high: int) -> None:
    count = bounded_int(value, low, high)
    assert count is None or (type(count) is int and low <= count <= high and count == value)


@pytest.mark.parametrize("value", [10**30, -1, "5", {"a": 1}, None, True, math.nan, math.inf, 1.5, [1]])
def test_odd_counts_are_the_default(value) -> None:
    assert bounded_int(value, 0, 10**6, default=7) == 7


@given(st.text())
def test_clean_text_is_valid_and_cannot_steer_a_terminal(text: str) -> None:
    clean = clean_text(text)
    assert is_valid_text(clean) and not set(clean) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}
    assert clean_text(clean) == clean
    assert clean == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]52;c;cm0=\x1b\\a", "a"),
        ("\x9b31mred", "red"),
        ("\x1bPq#0\x1b\\a", "a"),
        ("\x1bcreset", "reset"),
        ("over\rwrite\b\x00", "overwrite"),
        ("a\u202eb", "ab"),
        ("two\nlines\tand é中🙂", "two\nlines\tand é中🙂"),
        ("\ud800", "\ufffd"),
        ("\x1b]0;never closed\nnext", "\nnext"),
    ],
)
def test_terminal_sequences_are_removed(text: str, clean: str) -> None:
    assert clean_text(text) == clean


SECRET = "q7Zp0Kx9Lm3Vt5"


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{SECRET}@host:8000/v1 failed",
        f"https://{SECRET}@host/v1",
        f"http://me:p@{SECRET}@host/",
        f"Authorization: Bearer {SECRET}",
        f"'authorization': 'Basic {SECRET}'",
        f"bearer {SECRET}",
        f"Incorrect API key provided: sk-{SECRET}.",
        f"hf_{SECRET}",
        f'{{"api_key": "{SECRET}"}}',
        f"api-key={SECRET}&x=1",
        f"/v1/chat?key={SECRET}",
        f"s\x1b[0mk-{SECRET}",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    assert SECRET not in redact(text)


def test_keys_of_the_environment_and_known_ones_are_removed() -> None:
    assert redact("it was abcdefgh", environment={"HF_TOKEN": "abcdefgh"}) == "it was ***"
    assert redact("it was s3cr3t!", environment={"OPENAI_BASE_URL": "http://me:s3cr3t%21@host"}) == "it was ***"
    remember_secret("a-known-secret")
    assert redact("it was a-known-secret", environment={}) == "it was ***"


def test_ordinary_words_stay() -> None:
    text = "http://localhost:8000/v1 has given no good answer for 300 s (status 503 (a task of desk-work, 2 a@b.c)): try later."
    assert redact(text) == text


@given(st.text(), st.text())
def test_redacting_never_fails_and_hides_the_secret(before: str, after: str) -> None:
    assert SECRET not in redact(f"{before} http://u:{SECRET}@h {after}")


@pytest.mark.parametrize("piece", ["://", "sk-", "bearer ", "\x1b[", "\x1b]", "authorization:", "api_key ", "a@", "://a:"])
def test_redacting_takes_linear_time(piece: str) -> None:
    started = time.monotonic()
    redact(piece * 200_000)
    assert time.monotonic() - started < 3


def test_the_depth_limit_is_the_parsers() -> None:
    assert parse_json(b"[" * LIMITS.json_depth + b"]" * LIMITS.json_depth, what="It")
    with pytest.raises(InputError, match="recursion limit"):
        parse_json(b"[" * (LIMITS.json_depth + 1) + b"]" * (LIMITS.json_depth + 1), what="It")
