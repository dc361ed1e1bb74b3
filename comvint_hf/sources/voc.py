"""Read Pascal VOC XML, as LabelImg, CVAT, Roboflow and VOC itself write it: one `*.xml` file an image, at any depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from xml.etree.ElementTree import Element

from comvint_hf.errors import SourceError
from comvint_hf.images import read_size
from comvint_hf.registry import Traits, source
from comvint_hf.sources.annotations import UNREADABLE, box_from_edges, clean_text, is_size
from comvint_hf.sources.datasets_rows import read_declared_licence
from comvint_hf.sources.image_files import ImageFolders
from comvint_hf.sources.plain_xml import read_xml
from comvint_hf.types import Box, Object, Scene

FOLDERS = ("JPEGImages", "images", "Images", "train", "valid", "val", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".PNG", ".webp")
FIRST_PIXEL = 1
"""VOC's own pixels are 1-based and inclusive; tools that start at 0 are off by at most one pixel."""


@source("voc", traits=Traits(category_names=True, distinct_objects=True), licence_of=read_declared_licence)
def scenes(root: Path, counts: Counter[str], *, images: Path | None = None, licence: str = "") -> Iterator[Scene]:
    """Yield one scene for each annotation file under `root`, in the order of their paths.

    `attributes` of an object are "truncated", "difficult" and "occluded" where the file says so; its pose is left out.

    Raises:
        SourceError: If there is no XML file of annotations.
    """
    files = sorted(path for path in root.rglob("*.xml") if path.is_file())
    if not files:
        raise SourceError(
            f"No VOC annotations under {root}: expected *.xml files, one for each image. See README, 'Get the annotations'."
        )
    return _read_scenes(root, files, images, counts)


def _read_scenes(root: Path, files: list[Path], images: Path | None, counts: Counter[str]) -> Iterator[Scene]:
    folders = ImageFolders(root, images, FOLDERS, counts)
    for path in files:
        annotation = _read_xml(path, counts)
        if annotation is not None and (scene := _build_scene(root, path, annotation, folders, counts)):
            yield scene


def _read_xml(path: Path, counts: Counter[str]) -> Element | None:
    """The annotation in a file; `None`, counted, for another or broken XML file."""
    annotation = read_xml(path)
    if annotation is None:
        counts["annotation files skipped: broken XML"] += 1
        return None
    if annotation.tag != "annotation":
        counts["XML files left out: they hold no VOC annotation"] += 1
        return None
    return annotation


def _build_scene(root: Path, path: Path, annotation: Element, folders: ImageFolders, counts: Counter[str]) -> Scene | None:
    relative, names = path.relative_to(root), _image_names(annotation, path)
    # Two folders may hold an image of one name: the one beside the annotation, or in a folder next to its own, is meant.
    near = [relative.parent, *(relative.parent.parent / folder for folder in FOLDERS)]
    found = next((str(folder / name) for folder in near for name in names if (root / folder / name).is_file()), names[0])
    image = folders.find(found)
    annotated = _read_side(annotation, "width"), _read_side(annotation, "height")
    known = annotated if is_size(annotated) else read_size(image) if image else None
    if known is None:
        counts["images skipped: no size in the file and no readable image"] += 1
        return None
    return Scene(
        id=f"voc/{relative.with_suffix('').as_posix()}",
        source="voc",
        image=image,
        width=known[0],
        height=known[1],
        objects=tuple(_read_objects(annotation, known, counts)),
        meta={"file_name": names[0]},
    )


def _image_names(annotation: Element, path: Path) -> list[str]:
    """The names an image may have: what the file says, without a foreign folder, then the annotation's own stem."""
    named = clean_text(annotation.findtext("filename")).replace("\\", "/").rpartition("/")[2]
    return [*filter(None, [named]), *(f"{path.stem}{extension}" for extension in EXTENSIONS)]


def _read_number(element: Element, path: str) -> float | None:
    try:
        return float(element.findtext(path) or "")
    except ValueError:
        return None


def _read_side(annotation: Element, side: str) -> int | None:
    number = _read_number(annotation, f"size/{side}")
    return int(number) if number and isfinite(number) else None


def _read_objects(annotation: Element, size: tuple[int, int], counts: Counter[str]) -> Iterator[Object]:
    number = 0
    for item in annotation.iter("object"):
        name = clean_text(item.findtext("name")).replace("_", " ")
        edges = [
            edge for side in ("xmin", "ymin", "xmax", "ymax") if (edge := _read_number(item, f"bndbox/{side}")) is not None
        ]
        if not name:
            counts["objects dropped: no name"] += 1
        elif len(edges) < 4 or not all(map(isfinite, edges)):
            counts[UNREADABLE] += 1
        elif box := _read_box(edges, size, counts):
            number += 1
            flags = tuple(
                flag for flag in ("truncated", "difficult", "occluded") if clean_text(item.findtext(flag)) in ("1", "true")
            )
            yield Object(tag=f"o{number}", key=str(number), name=name, names=(name,), boxes=(box,), attributes=flags)


def _read_box(edges: Sequence[float], size: tuple[int, int], counts: Counter[str]) -> Box | None:
    left, top, right, bottom = edges
    return box_from_edges(max(left - FIRST_PIXEL, 0), max(top - FIRST_PIXEL, 0), right, bottom, size, counts)
