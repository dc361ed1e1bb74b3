"""Read XML files that anybody may have written: plain elements, without document types, entities or much depth."""

from __future__ import annotations

from xml.etree import ElementTree

from comvint_hf.strict_reader import LIMITS

BROKEN = "is broken"
DOCUMENT_TYPE = "declares a document type or entities"
TOO_DEEP = "is nested too deep"


class _RefusedError(ValueError):
    """The XML declares a document type, which annotations never need and XML bombs do, or is nested too deep."""


class _PlainTreeBuilder(ElementTree.TreeBuilder):
    """Refuses a document type before its first entity is read, as defusedxml's `forbid_dtd` does, in half the time."""

    _depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _RefusedError(DOCUMENT_TYPE)

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > LIMITS.json_depth:
            raise _RefusedError(TOO_DEEP)
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def parse_xml(data: bytes) -> ElementTree.Element | str:
    """Parse a document, or say what is wrong with it: `BROKEN`, `DOCUMENT_TYPE` or `TOO_DEEP`.

    >>> parse_xml(b"<a><b>5</b></a>").findtext("b"), parse_xml(b"<!DOCTYPE a><a/>"), parse_xml(b"<a>")
    ('5', 'declares a document type or entities', 'is broken')
    """
    parser = ElementTree.XMLParser(target=_PlainTreeBuilder())
    try:
        parser.feed(data)
        return parser.close()
    except _RefusedError as error:
        return str(error)
    except (ElementTree.ParseError, ValueError, LookupError):
        return BROKEN
