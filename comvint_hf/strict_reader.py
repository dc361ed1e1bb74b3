"""The one strict reader of what comes from outside: JSON, text and numbers that are finite, bounded and valid Unicode.

Replies, batch results, token counts, records and markers are read here. `LIMITS` is the one place for the bounds, and `redact`
the one place that takes secrets and terminal control sequences out of text that others will see.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from pydantic_core import from_json

from comvint_hf.errors import InputError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds on what is read from outside.

    Attributes:
        json_bytes: Most bytes of one JSON document.
        json_depth: Deepest nesting of a JSON document; the parser itself keeps it.
        integer: Largest magnitude of an integer; a larger one would overflow as a float.
        reply_bytes: Most bytes of the body of an endpoint's answer, after decompression.
        reply_text: Most characters of a reply's text.
        reply_tokens: Most tokens that a reply without a bound of its own may claim.
        stored_tokens: Most tokens of one reply in a reply cache.
        answer_seconds: Most seconds of one streamed answer, however alive it is.
        bytes_per_second: Slowest upload; a request gets a second more for each of them.
        batch_line_bytes: Most bytes of one line of a batch's result file.
        batch_file_bytes: Most bytes of a batch's result file.
        batch_file_seconds: Most seconds that reading such a file may take.
        message_characters: Most characters of an endpoint's message that errors and rows repeat.
        file_bytes: Most bytes of a file of records (annotations, LLaVA), after decompression.
        expansion: Most bytes that a byte of a compressed file may become.
        record_bytes: Most bytes of one record of such a file; a longer one is skipped.
        xml_bytes: Most bytes of an XML file or a captions file of one image.
        id_characters: Most characters of an id or a file name in annotations.
        image_bytes: Most bytes of an encoded image.
        image_pixels: Most pixels of an image.
        image_side: Most pixels of an image's longer side.
        image_passes: Most passes of an image that is stored in several (a progressive JPEG).
        conventions_bytes: Most bytes of a comvint.json.
        resized_pixels: Most pixels to which conventions and flags may have an image resized.
    """

    json_bytes: int = 256 * MIB
    json_depth: int = 201
    conventions_bytes: int = 4 * MIB
    resized_pixels: int = 100_000_000
    integer: int = 10**300
    reply_bytes: int = 16 * MIB
    reply_text: int = 400_000
    reply_tokens: int = 1_000_000
    stored_tokens: int = 10**12
    answer_seconds: float = 3600.0
    bytes_per_second: int = 100_000
    batch_line_bytes: int = 16 * MIB
    batch_file_bytes: int = 4096 * MIB
    batch_file_seconds: float = 3600.0
    message_characters: int = 300
    file_bytes: int = 1 << 40
    expansion: int = 250
    record_bytes: int = 64 * MIB
    xml_bytes: int = 16 * MIB
    id_characters: int = 1000
    image_bytes: int = 256 * MIB
    image_pixels: int = 120_000_000
    image_side: int = 65_535
    image_passes: int = 300


LIMITS = Limits()

SECRET_VARIABLES = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)
"""Environment variables whose values `redact` removes."""
URL_VARIABLES = ("OPENAI_BASE_URL", "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
"""Environment variables with addresses, whose passwords `redact` removes."""
_SHORTEST_SECRET = 6
_HIDDEN = "***"
_known_secrets: set[str] = set()

# CSI, OSC and the other string sequences, two-byte escapes; then what is left of C0 and C1, and controls that reorder text.
_CONTROLS = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^\s/?#\"'<>]*@"), f"://{_HIDDEN}@"),
    (re.compile(r"(?i)(authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?)(?:(?:bearer|basic)\s{1,4})?[^\s\"',]+"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s{1,4})[\w.~+/=*-]{8,}"), rf"\1{_HIDDEN}"),
    (re.compile(r"\b(?:sk-|hf_|gsk_|xai-|ghp_|github_pat_|AIza)[\w*.-]{6,}"), _HIDDEN),
    (
        re.compile(
            r"(?i)((?:api[-_ ]?key|access[-_]?token|password|secret|signature)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',&;)}\]]+"
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(?i)([?&](?:key|token|sig|code)=)[^\s&#\"']+"), rf"\1{_HIDDEN}"),
)


def parse_json(
    data: bytes | bytearray | str, *, what: str, max_bytes: int = LIMITS.json_bytes, allow_non_finite: bool = False
) -> Any:
    """Parse one JSON document strictly.

    Args:
        data: The document; UTF-8 where it is bytes.
        what: The document's name at the beginning of an error's sentence.
        max_bytes: Most bytes of the document.
        allow_non_finite: Whether NaN and infinity may be in it, where the caller looks at no number unchecked.

    Raises:
        InputError: For a document that is too large or too deep, is no JSON, holds NaN, Infinity, a number beyond the limits,
            or text that is not valid Unicode.

    >>> parse_json('{"tokens": 12}', what="The reply")
    {'tokens': 12}
    """
    if len(data) > max_bytes:
        raise InputError(f"{what} cannot be read: it has {len(data):,} bytes, and at most {max_bytes:,} are read.")
    try:
        raw = data.encode() if isinstance(data, str) else bytes(data)
        value = from_json(raw.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=allow_non_finite)
        _check_numbers(value, allow_non_finite)
    except ValueError as error:
        raise InputError(f"{what} cannot be read as JSON ({_describe(error)}).") from error
    return value


def _describe(error: ValueError) -> str:
    return "it is not valid Unicode" if isinstance(error, UnicodeError) else str(error)[:200]


def _check_numbers(value: Any, allow_non_finite: bool) -> None:
    """Raise `ValueError` for a number that is not finite or too large; the parser takes 1e999 as infinity."""
    pending = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is dict:
            pending.extend(item.values())
        elif kind is list:
            pending.extend(item)
        elif kind is float and not (allow_non_finite or math.isfinite(item)):
            raise ValueError("a number is too large for a float")
        elif kind is int and not -LIMITS.integer <= item <= LIMITS.integer:
            raise ValueError("an integer has more than 300 digits")


def read_file(path: Path | str, *, what: str | None = None, max_bytes: int = LIMITS.json_bytes) -> bytes:
    """Read a regular file of at most `max_bytes`.

    Raises:
        InputError: For a missing, unreadable or larger file, and for anything that is no regular file, such as a pipe.
    """
    what = what or str(path)
    try:
        with open_regular(path, what=what) as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if len(data) > max_bytes:
        raise InputError(f"{what} cannot be read: it has more than {max_bytes:,} bytes.")
    return data


def open_regular(path: Path | str, *, what: str) -> BinaryIO:
    """Open a regular file. Raises `InputError` for anything else, such as a pipe or a device, and `OSError` as `open` does."""
    # Opening a pipe would wait for a writer for ever, so it is opened without waiting and checked afterwards.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{what} cannot be read: it is no regular file.")
    return open(descriptor, "rb")


def read_json_file(path: Path | str, *, what: str | None = None, max_bytes: int = LIMITS.json_bytes) -> Any:
    """Read a JSON file strictly; see `read_file` and `parse_json` for what is refused. Raises `InputError`."""
    return parse_json(read_file(path, what=what, max_bytes=max_bytes), what=what or str(path), max_bytes=max_bytes)


def bounded_int(value: object, low: int, high: int, default: int | None = None) -> int | None:
    """Return a count that came from outside, or `default` for anything that is no whole number between `low` and `high`.

    >>> bounded_int(12.0, 0, 100), bounded_int(10**30, 0, 100), bounded_int("12", 0, 100, default=0), bounded_int(True, 0, 1)
    (12, None, 0, None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high else default


def is_valid_text(text: str) -> bool:
    """Whether a text is valid Unicode: a lone surrogate cannot be stored or sent."""
    return text.isascii() or _SURROGATE.search(text) is None


def clean_text(text: str, max_characters: int | None = None) -> str:
    r"""Remove terminal control sequences and characters, and replace lone surrogates; line breaks and tabs stay.

    >>> clean_text("\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link")
    'red link'
    """
    if not text.isprintable():  # nearly all texts are printable or break lines
        text = _SURROGATE.sub("\ufffd", _CONTROLS.sub("", text))
    return text if max_characters is None else text[:max_characters]


def remember_secret(secret: str | None) -> None:
    """Let `redact` remove this key or password from now on."""
    if secret and len(secret) >= _SHORTEST_SECRET:
        _known_secrets.add(secret)


def redact(text: str, max_characters: int | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """Clean a text for errors, rows, cards and logs: without keys, passwords and terminal control sequences.

    >>> redact("http://me:secret@host/v1 refuses sk-abcdefghijkl")
    'http://***@host/v1 refuses ***'
    """
    text = clean_text(text)
    secrets = {environment.get(name, "") for name in SECRET_VARIABLES} | _known_secrets
    for name in URL_VARIABLES:
        secrets.add(_find_password(environment.get(name, "")))
    # The longest first: one secret may hold another.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, _HIDDEN)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text if max_characters is None else text[:max_characters]


def _find_password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
