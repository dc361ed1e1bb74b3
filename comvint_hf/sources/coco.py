"""Read COCO: `instances_*.json` and `captions_*.json` under one folder.

An image of several files (2014 and 2017 share their ids) is one scene. The files list images, annotations and captions in
unrelated orders, so the needed fields go through a temporary database on disk; memory does not grow with the files.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from comvint_hf.errors import SourceError
from comvint_hf.registry import Licence, Traits, source
from comvint_hf.sources.annotations import box_from_corner, clean_text, is_size
from comvint_hf.sources.image_files import ImageFolders
from comvint_hf.sources.json_stream import (
    Entry,
    first_character,
    insert_rows,
    open_temporary_database,
    read_entries,
    read_integer,
)
from comvint_hf.types import Object, Scene

TABLES = """
CREATE TABLE image (id INTEGER PRIMARY KEY, file TEXT, width, height, split TEXT, licence TEXT, url TEXT);
CREATE TABLE annotation (image INTEGER, id INTEGER, name TEXT, kind TEXT, x, y, wide, high);
CREATE TABLE caption (image INTEGER, id INTEGER, text TEXT);
"""


@source(
    "coco",
    licence=Licence(
        "cc-by-4.0",
        "COCO annotations are CC BY 4.0; each photo keeps the Flickr licence that its `licence` field names, with attribution.",
        images_may_be_shared=True,
    ),
    citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, [arXiv:1405.0312](https://arxiv.org/abs/1405.0312)",
    traits=Traits(exhaustive=True, category_names=True, distinct_objects=True, reliable_relations=True),
)
def scenes(root: Path, counts: Counter[str], *, images: Path | None = None) -> Iterator[Scene]:
    """Yield one scene for each image of the instance files under `root`, in ascending order of image ids.

    Captions are joined by image id; equal captions of one image stay, as the corpus counts them. Objects are the annotations in
    file order, `kind` is the supercategory, or "crowd". Raises `SourceError` if there is no instance file, or a broken one.
    """
    return _read_scenes(root, find_annotation_files(root, "instances", counts), images, counts)


def find_annotation_files(root: Path, kind: str, counts: Counter[str]) -> list[Path]:
    """Find every `{kind}_*.json` under `root` that is an annotation file; result files (lists) are counted and left out.

    Raises `SourceError` if there is none.
    """
    found = _find_files(root, kind)
    usable = [path for path in found if first_character(path) != "["]
    if len(usable) < len(found):
        counts[f"{kind} files left out: they hold results, not annotations"] += len(found) - len(usable)
    if not usable:
        raise SourceError(
            f"No COCO annotations under {root}: expected {kind}_*.json, as in annotations/{kind}_val2017.json, there or deeper. "
            "See README, 'Get the annotations'."
        )
    return usable


def _find_files(root: Path, kind: str) -> list[Path]:
    """The files of a kind at any depth, also in a folder under `root` that is a link, which `rglob` skips."""
    name = f"{kind}_*.json"
    return sorted(path for path in {*root.rglob(name), *root.glob(f"*/{name}")} if path.is_file())


class Captions:
    """The captions of every `captions_*.json` under a folder by image id, in a temporary database."""

    def __init__(self, root: Path, counts: Counter[str], database: sqlite3.Connection | None = None) -> None:
        self._counts = counts
        self._database = database or open_temporary_database()
        if database is None:
            self._database.executescript(TABLES)
        for path in find_annotation_files(root, "captions", counts):
            insert_rows(self._database, "caption", _caption_rows(path, counts))
        self._database.execute("CREATE INDEX caption_image ON caption (image)")

    def find(self, image: int) -> tuple[str, ...]:
        """Return an image's captions in file order; a caption that several files repeat (same annotation id) comes once."""
        rows = self._database.execute("SELECT id, text FROM caption WHERE image = ? ORDER BY rowid", (image,))
        return tuple(text for _, text in _drop_duplicates(rows.fetchall(), "captions", self._counts))

    def close(self) -> None:
        self._database.close()


def _read_scenes(root: Path, files: list[Path], images: Path | None, counts: Counter[str]) -> Iterator[Scene]:
    with closing(open_temporary_database()) as database:
        database.executescript(TABLES)
        for path in files:
            _load_instances(path, database, counts)
        # An index after the inserts is much faster than one that grows with them.
        database.execute("CREATE INDEX annotation_image ON annotation (image)")
        has_captions = any(first_character(path) != "[" for path in _find_files(root, "captions"))
        captions = Captions(root, counts, database) if has_captions else None
        _count_unknown_images(database, counts)
        folders = ImageFolders(root, images, _image_folders(database), counts)
        for row in database.execute("SELECT * FROM image ORDER BY id"):
            if scene := _build_scene(row, database, captions, folders, counts):
                yield scene


def _load_instances(path: Path, database: sqlite3.Connection, counts: Counter[str]) -> None:
    licences = {number: clean_text(entry.get("url")) for number, entry in _by_id(path, "licenses.item")}
    categories = {
        number: (clean_text(entry.get("name")), clean_text(entry.get("supercategory")))
        for number, entry in _by_id(path, "categories.item")
    }
    split = path.stem.removeprefix("instances_")
    insert_rows(database, "image", _image_rows(path, split, licences, counts))
    insert_rows(database, "annotation", _annotation_rows(path, categories, counts))


def _by_id(path: Path, prefix: str) -> Iterator[tuple[int, Entry]]:
    for entry in read_entries(path, prefix):
        if (number := read_integer(entry, "id")) is not None:
            yield number, entry


def _image_rows(path: Path, split: str, licences: dict[Any, str], counts: Counter[str]) -> Iterator[tuple]:
    for entry in read_entries(path, "images.item"):
        number = read_integer(entry, "id")
        if number is None:
            counts["images skipped: no id"] += 1
            continue
        address = clean_text(entry.get("coco_url")) or clean_text(entry.get("flickr_url"))
        size = read_integer(entry, "width"), read_integer(entry, "height")
        yield number, clean_text(entry.get("file_name")), *size, split, licences.get(read_integer(entry, "license"), ""), address


def _annotation_rows(path: Path, categories: dict[Any, tuple[str, str]], counts: Counter[str]) -> Iterator[tuple]:
    for entry in read_entries(path, "annotations.item"):
        image = read_integer(entry, "image_id")
        if image is None:
            counts["annotations dropped: no image id"] += 1
            continue
        name, kind = categories.get(read_integer(entry, "category_id"), ("", ""))
        if not name:
            counts["annotations dropped: unknown category"] += 1
            continue
        box = entry.get("bbox")
        # A box of another form is stored as NULLs, which `box_from_corner` counts as unreadable.
        numbers = box if isinstance(box, list) and len(box) == 4 else (None,) * 4
        corners = (float(number) if isinstance(number, int | float) else None for number in numbers)
        yield image, read_integer(entry, "id"), name, "crowd" if entry.get("iscrowd") else kind, *corners


def _caption_rows(path: Path, counts: Counter[str]) -> Iterator[tuple]:
    for entry in read_entries(path, "annotations.item"):
        image, text = read_integer(entry, "image_id"), clean_text(entry.get("caption")) if isinstance(entry, dict) else ""
        if image is None or not text:
            counts["captions dropped: empty or no image id"] += 1
        else:
            yield image, read_integer(entry, "id"), text


def _count_unknown_images(database: sqlite3.Connection, counts: Counter[str]) -> None:
    """Count annotations and captions of images that the instance files do not have."""
    for reason, counted, table in (
        ("annotations dropped: unknown image", "COUNT(*)", "annotation"),
        ("caption-only images ignored", "COUNT(DISTINCT image)", "caption"),
    ):
        ((count,),) = database.execute(f"SELECT {counted} FROM {table} WHERE image NOT IN (SELECT id FROM image)")
        if count:
            counts[reason] += count


def _image_folders(database: sqlite3.Connection) -> list[str]:
    splits = [split for (split,) in database.execute("SELECT DISTINCT split FROM image ORDER BY split")]
    years = ["train2017", "val2017", "train2014", "val2014"]
    named = list(dict.fromkeys(splits + years))
    return ["images", *(f"images/{name}" for name in named), *named]


def _build_scene(
    row: tuple, database: sqlite3.Connection, captions: Captions | None, folders: ImageFolders, counts: Counter[str]
) -> Scene | None:
    number, file, width, height, split, licence, url = row
    if not is_size((width, height)):
        counts["images skipped: no width and height"] += 1
        return None
    found = database.execute(
        "SELECT id, name, kind, x, y, wide, high FROM annotation WHERE image = ? ORDER BY rowid", (number,)
    ).fetchall()
    objects: list[Object] = []
    for key, name, kind, *corners in _drop_duplicates(found, "annotations", counts):
        x, y, wide, high = corners
        if box := box_from_corner(x, y, wide, high, (width, height), counts):
            tag, key = f"o{len(objects) + 1}", "" if key is None else str(key)
            objects.append(Object(tag=tag, key=key, name=name, names=(name,), boxes=(box,), kind=kind))
    return Scene(
        id=f"coco/{number}",
        source="coco",
        image=folders.find(file, f"{number:012d}.jpg", *(f"COCO_{year}_{number:012d}.jpg" for year in ("train2014", "val2014"))),
        width=width,
        height=height,
        captions=captions.find(number) if captions else (),
        objects=tuple(objects),
        meta={"coco_id": number, "file_name": file, "split": split, "licence": licence, "url": url},
    )


def _drop_duplicates(rows: list[tuple], kind: str, counts: Counter[str]) -> list[tuple]:
    """The first row of each annotation id (the first column), and every row without an id."""
    first: dict[object, tuple] = {}
    for position, row in enumerate(rows):
        first.setdefault(("no id", position) if row[0] is None else row[0], row)
    kept = list(first.values())
    if len(kept) < len(rows):
        counts[f"{kind} of one id in several files, kept once"] += len(rows) - len(kept)
    return kept
