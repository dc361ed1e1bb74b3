"""Parse the two file formats of Flickr30k Entities: captions with marked phrases, and XML with boxes and flags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple
from xml.etree import ElementTree

from comvint_hf.read_counts import as_counts
from comvint_hf.sources.annotations import (
    IN_FIRST_PIXEL,
    UNREADABLE,
    are_fractions,
    box_from_edges,
    read_flag,
    read_number,
    read_size,
)
from comvint_hf.sources.plain_xml import parse_xml
from comvint_hf.types import Box

# No piece may hold a bracket, and none is tried again: a broken mark takes linear time.
PHRASE = re.compile(r"\[/EN#(\d{1,18})/([^ \[\]]++) ([^\[\]]++)\]")
NOT_VISUAL = "0"
"""The entity of phrases that name nothing visible."""


class Phrase(NamedTuple):
    """A phrase of a caption: the entity it names ("0" for none), its categories, its text and its first word's number."""

    entity: str
    categories: tuple[str, ...]
    text: str
    first_word: int


class Caption(NamedTuple):
    """A caption as plain text, and its pieces: text, entity, categories, phrase, text, entity, ... in turn."""

    text: str
    pieces: list[str]

    @property
    def phrases(self) -> list[Phrase]:
        """The marked phrases in order; `first_word` counts blanks, as the authors' reader does."""
        found, words = [], self.pieces[0].count(" ")
        for entity, categories, text, between in zip(*(self.pieces[start::4] for start in (1, 2, 3, 4)), strict=True):
            found.append(Phrase(entity, tuple(categories.split("/")), text, words))
            words += text.count(" ") + between.count(" ")
        return found


class Annotation(NamedTuple):
    """The content of an XML file: (width, height) in pixels, boxes by entity, and the entities with either flag."""

    size: tuple[int, int]
    boxes: dict[str, list[Box]]
    scene: dict[str, None]
    nobox: dict[str, None]


def read_captions(data: bytes, counts: Counter[str], unrelated: Collection[int] = ()) -> list[Caption]:
    """Read a Sentences file; `unrelated` are the 1-based numbers of the sentences to leave out and count."""
    captions = []
    text = data.decode("utf-8-sig", errors="replace")  # one bad byte must not cost the image
    if "\N{REPLACEMENT CHARACTER}" in text:
        as_counts(counts).note("captions files with bytes that are not UTF-8")
    for number, line in enumerate(text.split("\n"), start=1):
        if number in unrelated:
            as_counts(counts).skip("captions left out: unrelated to their image", line)
        elif line := " ".join(line.split()):
            caption = parse_caption(line)
            if "[/EN#" in caption.text:
                as_counts(counts).skip("captions dropped: a phrase mark is broken", line[:200])
            else:
                captions.append(caption)
    return captions


def parse_caption(line: str) -> Caption:
    """Split a caption into its pieces.

    >>> parse_caption("[/EN#1/people Two men] wave .").text
    'Two men wave .'
    >>> parse_caption("Hey [/EN#8/vehicles/scene a boat] .").phrases[0]
    Phrase(entity='8', categories=('vehicles', 'scene'), text='a boat', first_word=1)
    """
    pieces = PHRASE.split(line)
    plain = pieces.copy()
    del plain[1::4], plain[1::3]
    return Caption("".join(plain), pieces)


def read_annotation(data: bytes, counts: Counter[str], image: str = "") -> Annotation | None:
    """Read the Annotations file of an `image`; `None`, with the reason counted, if it is broken, dangerous or has no size."""
    skip = as_counts(counts).skip
    root = parse_xml(data)
    if isinstance(root, str):
        skip(f"images skipped: their XML {root}", image)
        return None
    size = read_size((root.findtext("size/width"), root.findtext("size/height")))
    if size is None:
        skip("images skipped: no width and height in their XML", image)
        return None
    return _read_entities(root, size, counts)


def _read_entities(root: ElementTree.Element, size: tuple[int, int], counts: Counter[str]) -> Annotation:
    annotation = Annotation(size, {}, {}, {})
    for entry in root.iterfind("object"):
        names, corners = [], None
        for child in entry:
            if child.tag == "name" and child.text:
                names.append(child.text.strip())
            elif child.tag == "bndbox":
                corners = child
        if corners is None:
            for flag, flagged in (("scene", annotation.scene), ("nobndbox", annotation.nobox)):
                if read_flag(entry.findtext(flag)):
                    flagged.update(dict.fromkeys(names))
        elif box := _read_box(corners, size, counts):
            for name in names:
                annotation.boxes.setdefault(name, []).append(box)
    return annotation


def _read_box(corners: ElementTree.Element, size: tuple[int, int], counts: Counter[str]) -> Box | None:
    raw = {edge.tag: edge.text for edge in corners}
    edges = [read_number(raw.get(edge)) for edge in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = edges
    if left is None or top is None or right is None or bottom is None:
        as_counts(counts).skip(UNREADABLE, raw)
        return None
    if are_fractions((left, top, right, bottom)):
        as_counts(counts).skip(IN_FIRST_PIXEL, raw)
        return None
    return box_from_edges(left - 1, top - 1, right, bottom, size, counts)
