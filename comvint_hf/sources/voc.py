"""Read Pascal VOC XML, as LabelImg, CVAT, Roboflow and VOC itself write it: one `*.xml` file an image, at any depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from comvint_hf import images
from comvint_hf.errors import InputError, SourceError
from comvint_hf.read_counts import ReadCounts, as_counts
from comvint_hf.registry import Traits, source
from comvint_hf.sources.annotations import UNREADABLE, box_from_edges, clean_text, read_flag, read_number, read_size
from comvint_hf.sources.datasets_rows import read_declared_licence
from comvint_hf.sources.image_files import ImageFolders
from comvint_hf.sources.plain_xml import parse_xml
from comvint_hf.strict_reader import LIMITS, read_file
from comvint_hf.types import Box, Object, Scene

FOLDERS = ("JPEGImages", "images", "Images", "train", "valid", "val", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".PNG", ".webp")
FLAGS = ("truncated", "difficult", "occluded")
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
    return _read_scenes(root, files, images, as_counts(counts))


def _read_scenes(root: Path, files: list[Path], extra: Path | None, counts: ReadCounts) -> Iterator[Scene]:
    folders = ImageFolders(root, extra, FOLDERS, counts)
    for path in files:
        annotation = _read_xml(root, path, counts)
        if annotation is not None and (scene := _build_scene(root, path, annotation, folders, counts)):
            yield scene


def _read_xml(root: Path, path: Path, counts: ReadCounts) -> Element | None:
    """The annotation in a file; `None`, counted, for another or broken XML file."""
    name = path.relative_to(root).as_posix()
    try:
        annotation = parse_xml(read_file(path, max_bytes=LIMITS.xml_bytes))
    except InputError as error:
        counts.skip("annotation files skipped: they cannot be read", error)
        return None
    if isinstance(annotation, str):
        counts.skip(f"annotation files skipped: their XML {annotation}", name)
        return None
    if annotation.tag != "annotation":
        counts.note("XML files left out: they hold no VOC annotation", name)
        return None
    return annotation


def _build_scene(root: Path, path: Path, annotation: Element, folders: ImageFolders, counts: ReadCounts) -> Scene | None:
    relative, names = path.relative_to(root), _image_names(annotation, path)
    # Two folders may hold an image of one name: the one beside the annotation, or in a folder next to its own, is meant.
    near = [relative.parent, *(relative.parent.parent / folder for folder in FOLDERS)]
    found = next((str(folder / name) for folder in near for name in names if (root / folder / name).is_file()), names[0])
    image = folders.find(found)
    annotated = read_size((annotation.findtext("size/width"), annotation.findtext("size/height")))
    size = annotated or (images.read_size(image) if image else None)
    if size is None:
        counts.skip("images skipped: no size in the file and no readable image", relative.as_posix())
        return None
    return Scene(
        id=f"voc/{relative.with_suffix('').as_posix()}",
        source="voc",
        image=image,
        width=size[0],
        height=size[1],
        objects=tuple(_read_objects(annotation, size, counts)),
        meta={"file_name": names[0]},
    )


def _image_names(annotation: Element, path: Path) -> list[str]:
    """The names an image may have: what the file says, without a foreign folder, then the annotation's own stem."""
    named = clean_text(annotation.findtext("filename")).replace("\\", "/").rpartition("/")[2]
    return [*filter(None, [named]), *(f"{path.stem}{extension}" for extension in EXTENSIONS)]


def _read_objects(annotation: Element, size: tuple[int, int], counts: ReadCounts) -> Iterator[Object]:
    number = 0
    for item in annotation.iter("object"):
        name = clean_text(item.findtext("name")).replace("_", " ")
        edges = [read_number(item.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
        if not name:
            counts.skip("objects dropped: no name", clean_text(annotation.findtext("filename")))
        elif box := _read_box(edges, size, counts):
            number += 1
            flags = tuple(flag for flag in FLAGS if read_flag(item.findtext(flag)))
            yield Object(tag=f"o{number}", key=str(number), name=name, names=(name,), boxes=(box,), attributes=flags)


def _read_box(edges: Sequence[float | None], size: tuple[int, int], counts: ReadCounts) -> Box | None:
    left, top, right, bottom = edges
    if left is None or top is None or right is None or bottom is None:
        counts.skip(UNREADABLE, edges)
        return None
    return box_from_edges(max(left - FIRST_PIXEL, 0), max(top - FIRST_PIXEL, 0), right, bottom, size, counts)
