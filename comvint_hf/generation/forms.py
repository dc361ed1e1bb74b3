"""Forms: what the reply to one prompt must look like beyond its type, such as counts, tags and topics of the scene.

A form is a mapping from a field's name to JSON Schema keywords, which the client merges into the schema of the reply type:
`{"pairs": exactly(10), "evidence": tags(scene)}`.
"""

from __future__ import annotations

from collections.abc import Iterable

from comvint_hf.generation.narrowing import Form, Keywords
from comvint_hf.generation.scene_lines import shown_tags
from comvint_hf.types import Scene

MOST_LISTED_TAGS = 150
"""A scene with more tags has them described by a pattern: endpoints limit the number of enum values."""
_TEXT = r"[A-Za-z0-9 .,;:?!'()/%&$#+-]"
"""A character of a sentence. It is a list of characters that are allowed, because grammars would let any other end the string."""
_BETWEEN = _TEXT + "{0,120}"
"""What stands before, between and after references. Without a bound a weak model writes on and on and never points."""
_ASKED = _TEXT.replace("?", "")
"""A character of a question before its mark: after it, a weak model asks the next one or answers it."""


_BOX = r"\[(0\.[0-9]{1,3}|[01]\.?0?)(, (0\.[0-9]{1,3}|[01]\.?0?)){3}\]"
"""A box in fractions of the image."""


def exactly(count: int) -> Keywords:
    """A list of so many items."""
    return {"minItems": count, "maxItems": count}


def between(least: int, most: int) -> Keywords:
    """A list of so many items."""
    return {"minItems": least, "maxItems": most}


def one_of(values: Iterable[str]) -> Keywords:
    """A text that is one of these."""
    return {"enum": list(values)}


def characters(least: int, most: int) -> Keywords:
    """A text of so many characters."""
    return {"minLength": least, "maxLength": most}


def tags(scene: Scene, least: int = 0, most: int = 6, *, seen: bool = False) -> Keywords:
    """A list of the scene's tags, as evidence; without tags an empty list.

    Where the image is `seen`, an entry may also be a name with a box: "kite [0.62, 0.10, 0.75, 0.31]".
    """
    known = shown_tags(scene)
    if seen:
        return {"items": {"pattern": rf"^({_any_of(known)}|[A-Za-z0-9 '-]{{1,40}} {_BOX})$"}, **between(least, most)}
    if not known:
        return between(0, 0)
    items = {"pattern": "^[or][0-9]{1,4}$"} if len(known) > MOST_LISTED_TAGS else one_of(known)
    return {"items": items, **between(min(least, len(known)), most)}


def pointing(scene: Scene, most: int = 3, *, asks: bool = False, seen: bool = False) -> Keywords:
    """A sentence that points at one to `most` things, as `<st>man<ed>[o3]`; by boxes too where the image is `seen`."""
    return _pointing(scene, 1, most, asks, seen)


def may_point(scene: Scene, most: int = 3, *, asks: bool = False, seen: bool = False) -> Keywords:
    """A sentence that points at up to `most` things, or at none."""
    return _pointing(scene, 0, most, asks, seen)


def _pointing(scene: Scene, least: int, most: int, asks: bool, seen: bool) -> Keywords:
    between, end = (_BETWEEN.replace(_TEXT, _ASKED), r"\?") if asks else (_BETWEEN, "")
    return {"pattern": rf"^({between}{_reference(scene, seen)}){{{least},{most}}}{between}{end}$"}


def _reference(scene: Scene, seen: bool) -> str:
    """The pattern of a reference to things with a box."""
    known = [tag for tag in shown_tags(scene) if getattr(scene.by_tag[tag], "boxes", True)]
    place = rf"\[({_any_of(known)})\]"
    place = rf"({place}|{_BOX})" if seen else place
    return rf"<st>[A-Za-z0-9 '-]{{1,40}}<ed>{place}(, {place}){{0,5}}"


def _any_of(known: list[str]) -> str:
    return "|".join(known) if 0 < len(known) <= MOST_LISTED_TAGS else "[or][0-9]{1,4}"


def plain(most: int = 480) -> Keywords:
    """A text of at most so many characters, without tags and markers."""
    return {"pattern": f"^{_TEXT}{{2,{most}}}$"}


def question(most: int = 400) -> Keywords:
    """One question of at most so many characters, without its answer after it."""
    return {"pattern": f"^{_ASKED}{{2,{most}}}\\?$"}


__all__ = ["Form", "Keywords", "between", "characters", "exactly", "may_point", "one_of", "plain", "pointing", "question", "tags"]
