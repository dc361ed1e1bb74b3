"""Read YOLO exports, as Ultralytics, Roboflow, CVAT and Label Studio write them: `data.yaml` or `classes.txt`, and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError, SourceError
from comvint_hf.images import read_size
from comvint_hf.read_counts import ReadCounts, as_counts
from comvint_hf.registry import Traits, source
from comvint_hf.sources.annotations import UNREADABLE, clean_text
from comvint_hf.sources.box_forms import BoxForm
from comvint_hf.sources.datasets_rows import read_declared_licence
from comvint_hf.sources.image_files import LINKED, NOT_REGULAR
from comvint_hf.sources.voc import EXTENSIONS
from comvint_hf.strict_reader import read_file
from comvint_hf.types import Object, Scene

NAME_FILES = ("classes.txt", "obj.names", "labels.txt")
FORM = BoxForm("cxcywh", "fractions")
MAX_CLASSES = 100_000


@source("yolo", traits=Traits(category_names=True, distinct_objects=True), licence_of=read_declared_licence)
def scenes(root: Path, counts: Counter[str], *, licence: str = "") -> Iterator[Scene]:
    """Yield one scene for each image under `root`, in the order of their paths.

    An image's labels are in the `labels` folder where its path has `images`, else beside it; an image without a label file is
    one without objects, as YOLO means it. The points of a segment give the box around them.

    Raises:
        SourceError: If there are no class names or no images.
    """
    names = read_class_names(root)
    files = sorted(path for path in root.rglob("*") if path.suffix in EXTENSIONS)
    if not files:
        raise SourceError(
            f"No images under {root}: expected a YOLO export with images/ and labels/. See README, 'Get the annotations'."
        )
    return _read_scenes(root, files, names, as_counts(counts))


def read_class_names(root: Path) -> list[str]:
    """Read the class names of data.yaml (a list, or names by number), or of a text file with one name a line.

    Raises:
        SourceError: If there are none.
    """
    for path in (*sorted(root.glob("*.yaml")), *sorted(root.glob("*.yml"))):
        if names := _names_in_yaml(path):
            return names
    for name in NAME_FILES:
        if (root / name).is_file():
            lines = read_file(root / name).decode("utf-8-sig", errors="replace").splitlines()
            return [clean_text(line).replace("_", " ") for line in lines]
    raise SourceError(
        f"No class names under {root}: expected `names` in data.yaml, or {', '.join(NAME_FILES)} with one name a line."
    )


def _names_in_yaml(path: Path) -> list[str]:
    import yaml

    try:
        content = yaml.safe_load(read_file(path))
    except (yaml.YAMLError, InputError, RecursionError) as error:
        raise SourceError(f"{path} is no YAML that can be read: expected a YOLO data file with `names`.") from error
    names: Any = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        numbers = [number for number in names if isinstance(number, int) and 0 <= number < MAX_CLASSES]
        names = [names.get(number, "") for number in range(max(numbers, default=-1) + 1)]
    return [clean_text(str(name)).replace("_", " ") for name in names] if isinstance(names, list) else []


def _read_scenes(root: Path, files: list[Path], names: list[str], counts: ReadCounts) -> Iterator[Scene]:
    inside = root.resolve()
    for path in files:
        if not path.resolve().is_relative_to(inside):
            counts.skip(LINKED, path.relative_to(root).as_posix())
            continue
        size = read_size(path) if path.is_file() else None
        if size is None:
            reason = NOT_REGULAR if path.exists() and not path.is_file() else "images skipped: they cannot be read"
            counts.skip(reason, path.relative_to(root).as_posix())
            continue
        relative = path.relative_to(root)
        yield Scene(
            id=f"yolo/{relative.with_suffix('').as_posix()}",
            source="yolo",
            image=path,
            width=size[0],
            height=size[1],
            objects=tuple(_read_objects(_find_label(root, relative), relative, names, size, counts)),
            meta={"file_name": relative.as_posix()},
        )


def _find_label(root: Path, image: Path) -> Path | None:
    """The label file of an image: `labels` instead of the last `images` of its path, else beside it."""
    parts = list(image.with_suffix(".txt").parts)
    places = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return next((path for path in (root.joinpath(*parts), root / image.with_suffix(".txt")) if path.is_file()), None)


def _read_objects(
    path: Path | None, image: Path, names: list[str], size: tuple[int, int], counts: ReadCounts
) -> Iterator[Object]:
    if path is None:
        counts.note("images without a label file, read as without objects", image.as_posix())
        return
    number = 0
    for line in read_file(path).decode("utf-8-sig", errors="replace").splitlines():
        if not line.strip():
            continue
        label, box = _read_line(line.split())
        if label is None or box is None:
            counts.skip(UNREADABLE, f"{path.name}: {line}")
        elif not 0 <= label < len(names) or not names[label]:
            counts.skip("objects dropped: their class has no name", f"{path.name}: {line}")
        elif found := FORM.to_box(box, size, counts):
            number += 1
            yield Object(tag=f"o{number}", key=str(number), name=names[label], names=(names[label],), boxes=(found,))


def _read_line(words: Sequence[str]) -> tuple[int | None, list[float] | None]:
    """The class and the box (centre and size, in fractions) of a line: a box, a box with a score, or the points of a segment."""
    try:
        label, numbers = int(float(words[0])), [float(word) for word in words[1:]]
    except (ValueError, OverflowError):
        return None, None
    if len(numbers) in (4, 5):
        return label, numbers[:4]
    if len(numbers) < 6 or len(numbers) % 2:
        return label, None
    across, down = numbers[::2], numbers[1::2]
    wide, high = max(across) - min(across), max(down) - min(down)
    return label, [min(across) + wide / 2, min(down) + high / 2, wide, high]
