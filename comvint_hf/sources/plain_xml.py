"""Read XML files that anybody may have written: plain elements, without document types, entities or much depth."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import LIMITS, read_file


class _RefusedError(ValueError):
    """The XML declares a document type, which annotations never need and XML bombs do, or nests too deep."""


class _PlainTreeBuilder(ElementTree.TreeBuilder):
    """Refuses a document type before its first entity is read, as defusedxml's `forbid_dtd` does, in half the time."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _RefusedError(name)

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > LIMITS.json_depth:
            raise _RefusedError(tag)
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def parse_xml(data: bytes) -> ElementTree.Element | None:
    """Parse a document; `None` if it is broken, declares a document type, or nests too deep.

    >>> parse_xml(b"<a><b>5</b></a>").findtext("b"), parse_xml(b"<!DOCTYPE a><a/>"), parse_xml(b"<a>")
    ('5', None, None)
    """
    parser = ElementTree.XMLParser(target=_PlainTreeBuilder())
    try:
        parser.feed(data)
        return parser.close()
    except (ElementTree.ParseError, ValueError, LookupError):
        return None


def read_xml(path: Path) -> ElementTree.Element | None:
    """Read a file as `parse_xml` does; `None` also for a file that cannot be read."""
    try:
        return parse_xml(read_file(path))
    except InputError:
        return None
