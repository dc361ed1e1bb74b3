"""Read annotated images: `load_scenes("coco:DIR")` streams the `Scene`s of any source in the registry."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import registry
from comvint_hf.errors import SourceError
from comvint_hf.read_counts import ReadCounts
from comvint_hf.registry import Licence, Source

if TYPE_CHECKING:
    from comvint_hf.types import Scene

GRAMMAR = (
    "expected shapes:COUNT, shapes:COUNT,level=LEVEL, coco:DIR, visual_genome:DIR, visual_genome:DIR,coco:DIR, flickr30k:DIR, "
    "hub:ORG/NAME, dataset:DIR, imagefolder:DIR, voc:DIR, yolo:DIR, or MODULE:PATH for a source in a Python module of your own; for example shapes:500"
)


@dataclass
class SceneStream:
    """Scenes of one source, read while they are iterated; each new iteration starts afresh.

    `counts` holds what the latest iteration skipped, clamped or dropped, by reason and with examples (see `read_counts`); it fills up
    as the iteration goes.
    Iterating raises `SourceError` for a broken file, and when no scene could be used.
    """

    spec: str
    source: Source
    start: Callable[[Counter[str]], Iterable[Scene]]
    limit: int | None = None
    counts: ReadCounts = field(default_factory=ReadCounts)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def licence(self) -> Licence:
        """The terms of the corpus, or of this dataset of others."""
        location = self.spec.partition(":")[2]
        return self.source.licence_of(location) if self.source.licence_of else self.source.licence

    def without_limit(self) -> SceneStream:
        """The same scenes, all of them."""
        start: Callable[..., Iterable[Scene]] = self.start  # load_scenes gave it its limit
        return SceneStream(self.spec, self.source, partial(start, limit=None))

    def __iter__(self) -> Iterator[Scene]:
        counts = self.counts = ReadCounts()
        found = False
        for scene in islice(self.start(counts), self.limit):
            # Terms, citation, traits and the official split are looked up by these two.
            if scene.source != self.name or not scene.id.startswith(f"{self.name}/"):
                raise SourceError(
                    f"{self.spec} gave a scene with the id {scene.id!r} of the source {scene.source!r}: "
                    f"expected '{self.name}/...' of the source {self.name!r}."
                )
            found = True
            yield scene
        if not found and self.limit != 0:
            reasons = "; ".join(f"{reason}: {count}" for reason, count in counts.most_common()) or "it holds no image"
            raise SourceError(f"{self.spec} gave no usable scene ({reasons}). See README, 'Get the annotations'.")


def load_scenes(spec: str, *, seed: int = 0, limit: int | None = None, images: Path | str | None = None) -> SceneStream:
    """Open a source: `shapes:500`, `coco:DIR`, `visual_genome:DIR[,coco:DIR]`, `flickr30k:DIR` or `my_module:PATH`.

    The source's function is called for each iteration. Its first parameter is the text after the colon: an existing folder
    if it is named `root`, an existing file or folder if it is named `path`, a whole number if it is named `count`, else the
    text itself. Of `images` (the folder or `None`), `seed`, `limit` and `counts` (a `Counter` for the reasons of skipped
    scenes) it gets those that its other parameters name; any further parameter is an option, written `,name=VALUE`.

    Args:
        spec: The source and its path.
        seed: Draws the shapes; it changes no corpus.
        limit: Stop after this many scenes.
        images: A folder of image files, searched before the usual places under DIR.

    Raises:
        SourceError: For a name, folder or file that does not exist.

    >>> load_scenes("shapes:500").name
    'shapes'
    """
    name, _, location = spec.partition(":")
    if not name or not location:
        raise SourceError(f"{spec!r} names no source: {GRAMMAR}.")
    if limit is not None and limit < 0:
        raise SourceError(f"The limit of {spec} is {limit}: expected zero or more scenes, or None for all.")
    source = registry.sources.get(name)
    start = partial(_start, source, location, seed=seed, limit=limit, images=images)
    start(ReadCounts())  # finds a wrong folder now, before a long run starts
    return SceneStream(spec, source, start, limit)


def add_columns(spec: str, columns: Iterable[str]) -> str:
    """Write columns that the user named (`ROLE=COLUMN`) into the spec of a source that reads tables.

    Raises:
        SourceError: If the source has no columns to name.

    >>> add_columns("hub:org/name", ["objects.bbox=boxes", "caption=text"])
    'hub:org/name,columns=objects.bbox=boxes;caption=text'
    """
    given = ";".join(columns)
    if not given:
        return spec
    name = spec.partition(":")[0]
    if "columns" not in inspect.signature(registry.sources.get(name).scenes).parameters:
        raise SourceError(f"The source {name} has a layout of its own: --columns is for hub:, dataset: and imagefolder:.")
    return f"{spec},columns={given}"


def _start(source: Source, location: str, counts: Counter[str], **given: Any) -> Iterable[Scene]:
    """Call a source's function with what its parameters name."""
    first, *others = inspect.signature(source.scenes).parameters
    standard = {"counts": counts, **given}
    if given["images"] is not None:
        if "images" not in others:
            raise SourceError(f"The source {source.name} has its own images: leave out --images {given['images']}.")
        standard["images"] = require_folder(given["images"], "the folder of images (--images)")
    options = [name for name in others if name not in standard]
    text, *pairs = re.split(rf",({'|'.join(options)})[=:]", location) if options else [location]
    chosen = dict(zip(pairs[::2], pairs[1::2], strict=True))
    arguments = {name: standard[name] for name in others if name in standard} | chosen
    return source.scenes(_parse_location(first, text, source.name, options), **arguments)


def _parse_location(parameter: str, text: str, name: str, options: list[str]) -> Path | int | str:
    """The text after the colon as the first parameter of a source wants it."""
    if parameter == "root":
        return require_folder(text, f"the {name} folder")
    if parameter == "path" and not Path(text).expanduser().exists():
        raise SourceError(f"{text} does not exist: expected the {name} file or folder.")
    if parameter == "count" and not text.isdecimal():
        usage = f"{name}:COUNT" + "".join(f"[,{option}={option.upper()}]" for option in options)
        raise SourceError(f"{text!r} is no number of scenes: expected {usage}, as in {name}:500.")
    return Path(text).expanduser() if parameter == "path" else int(text) if parameter == "count" else text


def require_folder(path: Path | str, meaning: str) -> Path:
    """Return an existing folder. Raises `SourceError`, which says what it should be, for anything else."""
    path = Path(path).expanduser()
    if not path.is_dir():
        raise SourceError(f"{path} is not a folder: expected {meaning}. See README, 'Get the annotations'.")
    return path
