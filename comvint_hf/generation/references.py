"""References in what models write and read: tags in any notation, markers in any spelling, captions tied to their objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from comvint_hf.generation.phrases import ends_with_name
from comvint_hf.grounding import BARE_TAG, REFERENCE
from comvint_hf.text import plural
from comvint_hf.types import Object, Region, Scene

_TAG = re.compile(r"(?<![A-Za-z0-9])(?:([or])[_-]?|(object|region)s?\s*[#:]?\s*)(\d{1,5})(?![A-Za-z0-9])", re.IGNORECASE)
_NUMBER = re.compile(r"\W*(\d{1,5})\W*")
_OPEN, _CLOSE = r"[\[(<{`]*+\s*+", r"\s*+[\])>}`]*+"
_ONE = rf"{_OPEN}[orOR]_?\d{{1,5}}(?!\w){_CLOSE}"
_MARKED = re.compile(
    rf"<\s*st\s*>\s*(?P<phrase>[^<>\[\]]+?)\s*(?P<inside>\[[or]\d+\]\s*)?<\s*[/\\]?\s*(?:ed|st)\s*/?\s*>"
    rf"(?:\s*(?P<tags>{_ONE}(?:\s*(?:,|;|&|and)?\s*{_ONE})*))?",
    re.IGNORECASE,
)


def read_tags(entry: str, scene: Scene | None = None) -> list[str]:
    """Read the tags of an entry of evidence in any notation.

    With a scene, an entry that is the name of its objects, or a number alone, stands for their tags.

    >>> read_tags("[o3]"), read_tags("`O3` and <r7>"), read_tags("object 3 (the man)"), read_tags("the sky")
    (['o3'], ['o3', 'r7'], ['o3'], [])
    """
    found = [f"{(short or long)[0].lower()}{int(number)}" for short, long, number in _TAG.findall(entry)]
    if found or scene is None:
        return found
    if number := _NUMBER.fullmatch(entry):
        return [tag for tag in (f"o{int(number[1])}",) if tag in scene.by_tag]
    name = _plain(entry)
    return [item.tag for item in scene.objects if name in map(_plain, (item.name, *item.names))]


def _plain(name: str) -> str:
    return re.sub(r"^(?:the|an?)\s+", "", name.strip(" .,'\"").casefold())


def tidy_references(text: str, scene: Scene, *, pointing: bool) -> str:
    """Write the references of a text in canonical form: `<st>man<ed>[o3], [o5]`.

    Args:
        text: What a model wrote. Markers may be misspelt ("</st>"), tags in any notation.
        scene: The scene whose tags they are.
        pointing: What becomes of a tag after its object's name: "the man [o3]" is a reference where text points at things,
            and "the man" elsewhere.
    """
    if "[" not in text and "<" not in text:
        return text
    text = _MARKED.sub(_write_reference, text)
    if not pointing:
        text = REFERENCE.sub(lambda match: match["phrase"], text)
    return "".join(_tidy_bare_tags(text, scene, pointing))


def _write_reference(match: re.Match[str]) -> str:
    tags = [tag for part in (match["inside"], match["tags"]) if part for tag in read_tags(part)]
    if not tags:
        return match[0]
    # The spaces at the end are not the tags' own.
    rest = match[0][len(match[0].rstrip()) :]
    return f"<st>{match['phrase'].strip()}<ed>{', '.join(f'[{tag}]' for tag in dict.fromkeys(tags))}{rest}"


def _tidy_bare_tags(text: str, scene: Scene, pointing: bool) -> Iterator[str]:
    """Yield the text in pieces, with every tag that follows its object's name tied to it or left out."""
    start = 0
    for match in REFERENCE.finditer(text):
        yield _tidy_piece(text[start : match.start()], scene, pointing)
        yield match[0]
        start = match.end()
    yield _tidy_piece(text[start:], scene, pointing)


def _tidy_piece(piece: str, scene: Scene, pointing: bool) -> str:
    start, done = 0, []
    for match in BARE_TAG.finditer(piece):
        before, item = piece[start : match.start()], scene.by_tag.get(match[1])
        name = ends_with_name(before.rstrip(), item) if item is not None else ""
        if not name:
            continue
        head = before.rstrip()
        done.append(f"{head[: -len(name)]}<st>{name}<ed>{match[0]}" if pointing else head)
        start = match.end()
    return "".join(done) + piece[start:]


def tie_captions(scene: Scene) -> Iterable[str]:
    """Return the captions, with references after their phrases where the corpus ties them: "A man [o1] in a hat [o2]"."""
    tied = scene.meta.get("grounded_captions")
    return [REFERENCE.sub(r"\g<phrase> \g<tags>", caption) for caption in tied] if tied else scene.captions


def example_items(scene: Scene) -> list[Object | Region]:
    """Return up to two things with a box and a name of their own, of which prompts make their examples."""
    named = [item for item in scene.objects if item.boxes and item.kind != "crowd" and item.name != "something"]
    different = list({item.name: item for item in reversed(named)}.values())[::-1]
    return [*different[:2], *scene.regions[: max(2 - len(different), 0)]]


def example_tags(scene: Scene) -> list[str]:
    """Return up to two tags of the scene."""
    return [item.tag for item in example_items(scene)] or list(scene.by_tag)[:2]


def example_pointers(scene: Scene) -> list[str]:
    """Return up to two references to things of the scene, as a text has them.

    The second points at several things where the scene has several of one name.
    """
    single = [f"<st>{_short_name(item)}<ed>[{item.tag}]" for item in example_items(scene)]
    groups: dict[str, list[str]] = {}
    for item in scene.objects:
        if item.boxes:
            groups.setdefault(item.name, []).append(item.tag)
    several = next(((name, tags) for name, tags in groups.items() if len(tags) > 1 and name != "something"), None)
    if several is None:
        return single
    return [*single[:1], f"<st>{plural(several[0])}<ed>" + ", ".join(f"[{tag}]" for tag in several[1][:2])]


def _short_name(item: Object | Region) -> str:
    name = item.name if isinstance(item, Object) else item.text
    return re.sub(r"[<>\[\]]", "", re.sub(r"^(?:the|an?)\s+", "", name, flags=re.IGNORECASE))
