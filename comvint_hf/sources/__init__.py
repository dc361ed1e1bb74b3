"""The door to annotated images: `load_scenes("coco:DIR")` streams `Scene`s from any corpus the house reads.

This file knows which corpora exist, how they are named and under which terms they come; it knows none of their formats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from comvint_hf.errors import SourceError

if TYPE_CHECKING:
    from comvint_hf.types import Scene

GRAMMAR = (
    "expected shapes:COUNT, shapes:COUNT,level=LEVEL, coco:DIR, visual_genome:DIR, visual_genome:DIR,coco:DIR or flickr30k:DIR; "
    "for example shapes:500"
)


@dataclass(frozen=True)
class Licence:
    """The terms of a source: `name` as dataset cards write it, one sentence for people, and whether photos may be re-hosted."""

    name: str
    text: str
    images_may_be_shared: bool


LICENCES: dict[str, Licence] = {
    "shapes": Licence("apache-2.0", "Rendered and annotated by this package, Apache-2.0.", True),
    "coco": Licence(
        "cc-by-4.0",
        "COCO annotations are CC BY 4.0; each photo keeps the Flickr licence that its `licence` field names, with attribution.",
        True,
    ),
    "visual_genome": Licence(
        "cc-by-4.0", "Visual Genome is CC BY 4.0; its photos come from Flickr under Creative Commons licences.", True
    ),
    "flickr30k": Licence(
        "other",
        "Flickr30k Entities is for research and education; cite Plummer et al. 2015 and Young et al. 2014. "
        "The photos fall under Flickr's terms of use and may never be re-hosted.",
        False,
    ),
}
"""The terms of every source, by the name that stands before the colon."""


@dataclass
class SceneStream:
    """Scenes of one source, read while they are iterated; each new iteration starts afresh.

    `counts` says what the latest iteration skipped, clamped or dropped, and why; it fills up as the iteration goes.
    Iterating raises `SourceError` for a broken file, and when not one scene could be used.
    """

    spec: str
    name: str
    licence: Licence
    start: Callable[[Counter[str]], Iterator[Scene]]
    limit: int | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Scene]:
        counts = self.counts = Counter()
        found = False
        for scene in islice(self.start(counts), self.limit):
            found = True
            yield scene
        if not found and self.limit != 0:
            reasons = "; ".join(f"{reason}: {count}" for reason, count in counts.most_common()) or "it holds no image"
            raise SourceError(f"{self.spec} gave no usable scene ({reasons}). See README, 'Get the annotations'.")


def load_scenes(spec: str, *, seed: int = 0, limit: int | None = None, images: Path | str | None = None) -> SceneStream:
    """Open a source by its name: `shapes:500`, `coco:DIR`, `visual_genome:DIR[,coco:DIR]`, `flickr30k:DIR`.

    `seed` draws the shapes and changes no corpus; `limit` stops after so many scenes; `images` is a folder of photos
    that is searched before the usual places under DIR. Raises `SourceError` for a name, folder or file that is not there.

    >>> load_scenes("shapes:500").name
    'shapes'
    """
    name, colon, rest = spec.partition(":")
    if name not in LICENCES or not colon or not rest:
        raise SourceError(f"No source is called {spec!r}: {GRAMMAR}.")
    if limit is not None and limit < 0:
        raise SourceError(f"The limit of {spec} is {limit}: expected zero or more scenes, or None for all.")
    photos = None if images is None else _folder(Path(images), "the folder of photos (--images)")
    start = _shapes(spec, rest, seed, photos) if name == "shapes" else _corpus(name, rest, photos)
    return SceneStream(spec, name, LICENCES[name], start, limit)


def _shapes(spec: str, rest: str, seed: int, photos: Path | None) -> Callable[[Counter[str]], Iterator[Scene]]:
    if photos is not None:
        raise SourceError(f"{spec} renders its own pictures: leave out --images {photos}.")
    count, *pairs = rest.split(",")
    options = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if not count.isdecimal() or len(options) != len(pairs) or not options.keys() <= {"level"}:
        raise SourceError(
            f"{spec!r} cannot be read as shapes: expected shapes:COUNT or shapes:COUNT,level=LEVEL, as in shapes:500."
        )
    draw = partial(_lazily, "shapes", int(count), seed=seed, **options)
    draw()  # refuses an unknown level now, as a corpus a wrong folder
    return lambda counts: draw()


def _corpus(name: str, rest: str, photos: Path | None) -> Callable[[Counter[str]], Iterator[Scene]]:
    options: dict[str, Path] = {}
    if name == "visual_genome" and (joined := re.fullmatch(r"(.+?),coco:(.+)", rest)):
        rest = joined[1]
        options["coco"] = _folder(Path(joined[2]), "the COCO folder")
    root = _folder(Path(rest), f"the {name} folder")
    start = partial(_lazily, name, root, images=photos, **options)
    start(Counter())  # looks for the files now, so that a wrong folder is refused before a long run starts
    return start


def _lazily(module: str, *arguments: object, **options: object) -> Iterator[Scene]:
    """Call a source's `scenes`, importing it only when somebody iterates."""
    return import_module(f"comvint_hf.sources.{module}").scenes(*arguments, **options)


def _folder(path: Path, what: str) -> Path:
    path = path.expanduser()
    if not path.is_dir():
        raise SourceError(f"{path} is not a folder: expected {what}. See README, 'Get the annotations'.")
    return path
