"""Stream the records of JSON files from outside: one record in memory, and a bad record costs itself, not the run.

A file is cut into records by their brackets and quotes alone; each record is then parsed strictly. So a record that is no JSON, is
nested too deep or holds text that is not valid Unicode is skipped and counted, and the next one is read. NaN and infinity are read
as they stand, because exports that went through pandas hold them: a caller looks at each number it uses.

Read are lists, objects of lists, JSON lines and objects one after another; plain, gzip, zstd or a zip of one file, told by their first
bytes; UTF-8 with or without a byte order mark, and UTF-16 with one. Memory is one block and one record; see `LIMITS` for the bounds.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from zipfile import BadZipFile, ZipFile

from pydantic_core import from_json

from comvint_hf.errors import InputError
from comvint_hf.read_counts import ReadCounts
from comvint_hf.strict_reader import LIMITS, MIB, open_regular

BLOCK = 1 << 18
UTF8_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
LINE_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
COMPRESSED_SUFFIXES = (".gz", ".zst")
NOT_JSON = "skipped: not JSON"
NOT_UNICODE = "skipped: their text is not valid Unicode"
TOO_DEEP = "skipped: nested too deep"
TOO_LARGE = f"skipped: larger than {LIMITS.record_bytes // MIB} MiB"

# Possessive, so that no text makes them go back: they take linear time.
_FLAT = rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+'
_BETWEEN = re.compile(_FLAT, re.DOTALL)
# Lists and objects that hold no others are taken at once.
_TO_BRACKET = re.compile(rb"(?:%s(?:\[%s\]|\{%s\})?+)*+[\[\]{}]" % (_FLAT, _FLAT, _FLAT), re.DOTALL)
_IN_STRING = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[^ \t\r\n,\[\]{}:]*+")


@dataclass
class _Bytes:
    """A file's bytes after decompression, within the bounds."""

    file: Any
    what: str
    limit: int
    read_bytes: int = 0

    def read(self, size: int) -> bytes:
        try:
            block = bytes(self.file.read(size))
        except (OSError, EOFError, ValueError, zlib.error, BadZipFile) as error:
            raise InputError(
                f"{self.what} cannot be unpacked ({error}): it is damaged or cut short. Download it again."
            ) from error
        self.read_bytes += len(block)
        if self.read_bytes > self.limit:
            raise InputError(f"{self.what} unpacks to more than {self.limit:,} bytes, which is more than is read.")
        return block


@contextmanager
def open_bytes(path: Path | str) -> Iterator[_Bytes]:
    """Open a regular file for reading: decompressed, as UTF-8, without a byte order mark. Raises `InputError`."""
    what = str(path)
    try:
        raw = open_regular(path, what=what)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    with raw:
        size = raw.seek(0, 2)
        raw.seek(0)
        head = raw.read(4)
        raw.seek(0)
        if not head.startswith((GZIP, ZSTD, ZIP)):
            limit = LIMITS.file_bytes
            file: Any = raw
        else:
            limit = min(LIMITS.file_bytes, max(LIMITS.expansion * size, 64 * MIB))
            file = (
                gzip.GzipFile(fileobj=raw)
                if head.startswith(GZIP)
                else (_open_zstd if head.startswith(ZSTD) else _open_zip)(raw, what)
            )
        yield _without_mark(_Bytes(file, what, limit))


def _open_zip(raw: BinaryIO, what: str) -> Any:
    try:
        archive = ZipFile(raw)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(names) == 1:
            return archive.open(names[0])
    except (BadZipFile, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} cannot be unpacked ({error}): it is damaged or cut short. Download it again.") from error
    raise InputError(f"{what} holds {len(names)} files; expected one. Unpack it.")


def _open_zstd(raw: BinaryIO, what: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            f"{what} is packed with zstd, which needs pyarrow: pip install 'comvint-hf[build]', or unpack it."
        ) from error
    return pyarrow.input_stream(raw, compression="zstd")


def _without_mark(stream: _Bytes) -> _Bytes:
    """Take a byte order mark off, and read UTF-16 as UTF-8."""
    head = b""
    while len(head) < 3 and (block := stream.read(3 - len(head))):
        head += block
    if head.startswith(UTF16_MARKS):
        import codecs

        encoding = "utf-16-le" if head.startswith(UTF16_MARKS[0]) else "utf-16-be"
        stream.file = codecs.EncodedFile(_Pushed(head[2:], stream.file), "utf-8", encoding)  # type: ignore[arg-type]  # it is only read
    else:
        stream.file = _Pushed(head.removeprefix(UTF8_MARK), stream.file)
    return stream


class _Pushed:
    """A file with some bytes before it."""

    def __init__(self, head: bytes, file: Any) -> None:
        self._head, self._file = head, file

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        return head or self._file.read(size)


class _Scanner:
    """A window that moves forward over the JSON values of a stream; it counts brackets and quotes, and parses nothing."""

    def __init__(self, stream: _Bytes) -> None:
        self._stream = stream
        self._buffer, self._at, self._base = b"", 0, 0
        self._start: int | None = None  # where the bytes begin that the window must keep

    @property
    def position(self) -> int:
        """How many bytes lie behind."""
        return self._base + self._at

    def _fill(self) -> bool:
        """Read another block; whether there was one."""
        if self._start is not None and self._at - self._start > LIMITS.record_bytes:
            self._start = None
        first = self._at if self._start is None else self._start
        # Twice as much each time: copying what is kept then takes linear time.
        block = self._stream.read(max(BLOCK, len(self._buffer) - first))
        self._buffer = self._buffer[first:] + block
        self._base, self._at = self._base + first, self._at - first
        self._start = None if self._start is None else 0
        return bool(block)

    def peek(self) -> bytes:
        """Skip blanks and return the next byte; b"" at the end."""
        while True:
            self._at = _end(_BLANKS, self._buffer, self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._fill():
                return b""

    def take(self, wanted: bytes) -> bool:
        """Move over a byte if it is the next one."""
        if self.peek() != wanted:
            return False
        self._at += 1
        return True

    def take_value(self, keep: bool = True) -> bytes | None:
        """Move over one value and return its bytes; `None` without `keep`, and for a value beyond `LIMITS.record_bytes`.

        Raises `EOFError` if the file ends within the value, or holds none here.
        """
        first = self.peek()
        self._start = self._at if keep else None
        before = self.position
        if first in (b"{", b"["):
            self._skip_nested()
        elif first == b'"':
            self._at += 1
            self._skip_string()
        else:
            self._skip_scalar()
        if self.position == before:
            raise EOFError
        start, self._start = self._start, None
        return None if start is None or self._at - start > LIMITS.record_bytes else self._buffer[start : self._at]

    def take_line(self) -> bytes | None:
        """Move behind the next line break and return the line; `None` for one beyond `LIMITS.record_bytes`."""
        self._start = self._at
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            self._at = len(self._buffer)
            if not self._fill():
                break
        self._at = len(self._buffer) if end < 0 else end + 1
        start, self._start = self._start, None
        return None if start is None or self._at - start > LIMITS.record_bytes else self._buffer[start : self._at]

    def _skip_nested(self) -> None:
        self._at, depth, step = self._at + 1, 1, _TO_BRACKET.match
        while depth:
            buffer, at = self._buffer, self._at
            while depth and (found := step(buffer, at)):
                at = found.end()
                depth += 1 if buffer[at - 1] in b"[{" else -1
            if not depth:
                self._at = at
                return
            self._at = _end(_BETWEEN, buffer, at)
            if buffer[self._at : self._at + 1] == b'"':  # the window ends within a string
                self._at += 1
                self._skip_string()
            elif self._at < len(buffer):  # or within a list or object that holds no others
                depth += 1 if buffer[self._at] in b"[{" else -1
                self._at += 1
            elif not self._fill():
                raise EOFError

    def _skip_string(self) -> None:
        """Move behind the quote that closes a string; the opening one lies behind."""
        while True:
            self._at = _end(_IN_STRING, self._buffer, self._at)
            if self._buffer[self._at : self._at + 1] == b'"':
                self._at += 1
                return
            if not self._fill():
                raise EOFError

    def _skip_scalar(self) -> None:
        while True:
            self._at = _end(_SCALAR, self._buffer, self._at)
            if self._at < len(self._buffer) or not self._fill():
                return


def _end(pattern: re.Pattern[bytes], buffer: bytes, at: int) -> int:
    """Where a pattern that also matches nothing ends."""
    found = pattern.match(buffer, at)
    return at if found is None else found.end()


@dataclass
class RecordReader:
    """Reads the records of a file.

    Attributes:
        path: The file.
        counts: Counts the records that are skipped; without it the first of them is an error.
        kind: What the records are called in reasons ("records", "images", "entries").
        error: The class of the errors.
    """

    path: Path
    counts: ReadCounts | None = None
    kind: str = "records"
    error: type[InputError] = InputError

    def read(self, key: str = "") -> Iterator[Any]:
        """Yield the parsed records: those of a list, of JSON lines, or of the list or object under a `key` of an object.

        Raises:
            InputError: For a file that cannot be read, is cut short, or whose brackets do not close; the message names the bytes.
        """
        for _, record in self.read_numbered(key):
            yield record

    def read_numbered(self, key: str = "") -> Iterator[tuple[int, Any]]:
        """Yield (number, record), where skipped records have a number, too."""
        try:
            with open_bytes(self.path) as stream:
                scanner = _Scanner(stream)
                for number, (position, raw) in enumerate(self._cut(scanner, key)):
                    if (record := self._parse(raw, number, position)) is not None:
                        yield number, record[0]
        except InputError as error:
            raise error if isinstance(error, self.error) else self.error(str(error)) from error

    def _cut(self, scanner: _Scanner, key: str) -> Iterator[tuple[int, bytes | None]]:
        """Yield (position, bytes) of each record."""
        first = scanner.peek()
        try:
            if key:
                yield from self._cut_object(scanner, key) if first == b"{" else ()
                if first != b"{" and first != b"[":
                    raise EOFError
            elif first == b"[":
                yield from self._cut_list(scanner)
                if scanner.peek():
                    self._fail(scanner.position, "more text follows its end")
            elif self._has_lines():
                while scanner.peek():
                    position = scanner.position
                    line = scanner.take_line()
                    yield position, None if line is None else line.rstrip(b" \t\r\n,")
            else:
                yield from self._cut_sequence(scanner)
        except EOFError:
            self._fail(scanner.position, "it ends too early, or a value is missing")

    @property
    def _one(self) -> str:
        return {"entries": "entry", "categories": "category"}.get(self.kind, self.kind[:-1])

    def _has_lines(self) -> bool:
        name = self.path.name.lower()
        for suffix in COMPRESSED_SUFFIXES:
            name = name.removesuffix(suffix)
        return name.endswith(LINE_SUFFIXES)

    def _cut_list(self, scanner: _Scanner) -> Iterator[tuple[int, bytes | None]]:
        scanner.take(b"[")
        while not scanner.take(b"]"):
            if not scanner.peek():
                raise EOFError
            position = scanner.position
            yield position, scanner.take_value()
            if not scanner.take(b",") and scanner.peek() not in (b"]", b"{"):
                self._fail(scanner.position, "a comma or the end of the list is missing")

    def _cut_object(self, scanner: _Scanner, key: str) -> Iterator[tuple[int, bytes | None]]:
        scanner.take(b"{")
        while not scanner.take(b"}"):
            name = scanner.take_value()
            if not scanner.take(b":"):
                self._fail(scanner.position, "a colon is missing")
            if name == b'"%s"' % key.encode() and scanner.peek() == b"[":
                yield from self._cut_list(scanner)
            elif name == b'"%s"' % key.encode() and scanner.peek() == b"{":
                yield from self._cut_values(scanner)
            else:
                scanner.take_value(keep=False)
            if not scanner.take(b",") and scanner.peek() != b"}":
                if not scanner.peek():
                    raise EOFError
                self._fail(scanner.position, "a comma or the end of the object is missing")

    def _cut_values(self, scanner: _Scanner) -> Iterator[tuple[int, bytes | None]]:
        """Cut the values of an object, as files that keep their records by id have them."""
        scanner.take(b"{")
        while not scanner.take(b"}"):
            scanner.take_value(keep=False)
            if not scanner.take(b":"):
                self._fail(scanner.position, "a colon is missing")
            position = scanner.position
            yield position, scanner.take_value()
            if not scanner.take(b",") and scanner.peek() != b"}":
                self._fail(scanner.position, "a comma or the end of the object is missing")

    def _cut_sequence(self, scanner: _Scanner) -> Iterator[tuple[int, bytes | None]]:
        """Cut objects that stand one after another, with commas between them or none."""
        if not scanner.peek():
            raise EOFError
        while scanner.peek():
            position = scanner.position
            yield position, scanner.take_value()
            scanner.take(b",")

    def _parse(self, raw: bytes | None, number: int, position: int) -> tuple[Any] | None:
        """Parse a record, in a tuple of one; `None`, counted, where that is not possible."""
        problem = TOO_LARGE
        if raw is not None:
            try:
                return (from_json(raw, allow_inf_nan=True),)
            except ValueError as error:
                problem, found = _describe(error), str(error)[:80]
        if self.counts is None:
            self._fail(position, f"{self._one} {number + 1} is {found if raw is not None else 'too large'}")
        self.counts.skip(f"{self.kind} {problem}", f"{self.path.name}, {self._one} {number + 1} at byte {position:,}")
        return None

    def _fail(self, position: int, problem: str) -> NoReturn:
        raise self.error(f"{self.path} is not whole JSON: {problem}, at byte {position:,}. Mend it, or download it again.")


def _describe(error: ValueError) -> str:
    found = str(error)
    if isinstance(error, UnicodeError) or "surrogate" in found or "unicode" in found.lower() or "hex escape" in found:
        return NOT_UNICODE
    return TOO_DEEP if "recursion" in found else NOT_JSON


def first_character(path: Path) -> str:
    """Return the first character of a JSON file that is no blank: "[" for a list, "{" for an object, "" for an empty file."""
    with open_bytes(path) as stream:
        return _Scanner(stream).peek().decode("latin-1")
