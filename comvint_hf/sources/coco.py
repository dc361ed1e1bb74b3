"""COCO: `instances_*.json` and `captions_*.json` under one folder become scenes.

An image of several files (2014 and 2017 share their ids) is one scene. The files keep images, annotations and captions
in unrelated orders, so their few needed fields go through a temporary database on disk: memory does not grow with
them, and polygons are never kept. This file knows the COCO format only.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from comvint_hf.errors import SourceError
from comvint_hf.sources.image_files import Photos
from comvint_hf.sources.json_stream import Entry, entries, fill, opening, scratch, whole_number
from comvint_hf.sources.names import clean
from comvint_hf.sources.pixel_boxes import corner_box, is_size
from comvint_hf.types import Object, Scene

TABLES = """
CREATE TABLE picture (id INTEGER PRIMARY KEY, file TEXT, width, height, split TEXT, licence TEXT, url TEXT);
CREATE TABLE annotation (image INTEGER, id INTEGER, name TEXT, kind TEXT, x, y, wide, high);
CREATE TABLE caption (image INTEGER, id INTEGER, text TEXT);
"""


def scenes(root: Path, counts: Counter[str], *, images: Path | None = None) -> Iterator[Scene]:
    """Yield one scene an image of the instance files under `root`, in ascending order of image ids.

    Captions are joined by image id, stripped and folded; equal ones of one image stay, as the corpus counts them.
    Objects are the annotations in file order, `kind` the supercategory, or "crowd". Raises `SourceError` where there is
    no instance file, or a broken one.
    """
    return _scenes(root, annotation_files(root, "instances", counts), images, counts)


def annotation_files(root: Path, kind: str, counts: Counter[str]) -> list[Path]:
    """Every `{kind}_*.json` under `root` that is an annotation file; result files (lists) are counted and left out.

    Raises `SourceError` where there is none.
    """
    found = _files(root, kind)
    usable = [path for path in found if opening(path) != "["]
    if len(usable) < len(found):
        counts[f"{kind} files left out: they hold results, not annotations"] += len(found) - len(usable)
    if not usable:
        raise SourceError(
            f"No COCO annotations under {root}: expected {kind}_*.json, as in annotations/{kind}_val2017.json, there or deeper. "
            "See README, 'Get the annotations'."
        )
    return usable


def _files(root: Path, kind: str) -> list[Path]:
    """The files of a kind at any depth, also in a folder under `root` that is a link, which `rglob` passes by."""
    name = f"{kind}_*.json"
    return sorted(path for path in {*root.rglob(name), *root.glob(f"*/{name}")} if path.is_file())


class Captions:
    """The captions of every `captions_*.json` under a folder, looked up by image id, kept in a temporary database."""

    def __init__(self, root: Path, counts: Counter[str], database: sqlite3.Connection | None = None) -> None:
        self._counts = counts
        self._database = database or scratch()
        if database is None:
            self._database.executescript(TABLES)
        for path in annotation_files(root, "captions", counts):
            fill(self._database, "caption", _caption_rows(path, counts))
        self._database.execute("CREATE INDEX caption_image ON caption (image)")

    def of(self, image: int) -> tuple[str, ...]:
        """The image's captions in file order; one that several files repeat (same annotation id) stands once."""
        rows = self._database.execute("SELECT id, text FROM caption WHERE image = ? ORDER BY rowid", (image,))
        return tuple(text for _, text in _once(rows.fetchall(), "captions", self._counts))

    def close(self) -> None:
        self._database.close()


def _scenes(root: Path, files: list[Path], images: Path | None, counts: Counter[str]) -> Iterator[Scene]:
    with closing(scratch()) as database:
        database.executescript(TABLES)
        for path in files:
            _load_instances(path, database, counts)
        database.execute("CREATE INDEX annotation_image ON annotation (image)")
        described = any(opening(path) != "[" for path in _files(root, "captions"))
        captions = Captions(root, counts, database) if described else None
        _count_strays(database, counts)
        photos = Photos(root, images, _photo_folders(database), counts)
        for row in database.execute("SELECT * FROM picture ORDER BY id"):
            if scene := _scene(row, database, captions, photos, counts):
                yield scene


def _load_instances(path: Path, database: sqlite3.Connection, counts: Counter[str]) -> None:
    licences = {number: clean(entry.get("url")) for number, entry in _by_id(path, "licenses.item")}
    categories = {
        number: (clean(entry.get("name")), clean(entry.get("supercategory"))) for number, entry in _by_id(path, "categories.item")
    }
    split = path.stem.removeprefix("instances_")
    fill(database, "picture", _picture_rows(path, split, licences, counts))
    fill(database, "annotation", _annotation_rows(path, categories, counts))


def _by_id(path: Path, prefix: str) -> Iterator[tuple[int, Entry]]:
    for entry in entries(path, prefix):
        if (number := whole_number(entry, "id")) is not None:
            yield number, entry


def _picture_rows(path: Path, split: str, licences: dict[Any, str], counts: Counter[str]) -> Iterator[tuple]:
    for entry in entries(path, "images.item"):
        number = whole_number(entry, "id")
        if number is None:
            counts["images skipped: no id"] += 1
            continue
        address = clean(entry.get("coco_url")) or clean(entry.get("flickr_url"))
        size = whole_number(entry, "width"), whole_number(entry, "height")
        yield number, clean(entry.get("file_name")), *size, split, licences.get(whole_number(entry, "license"), ""), address


def _annotation_rows(path: Path, categories: dict[Any, tuple[str, str]], counts: Counter[str]) -> Iterator[tuple]:
    for entry in entries(path, "annotations.item"):
        image = whole_number(entry, "image_id")
        if image is None:
            counts["annotations dropped: no image id"] += 1
            continue
        name, kind = categories.get(whole_number(entry, "category_id"), ("", ""))
        if not name:
            counts["annotations dropped: unknown category"] += 1
            continue
        box = entry.get("bbox")
        numbers = box if isinstance(box, list) and len(box) == 4 else (None,) * 4
        corners = (float(number) if isinstance(number, int | float) else None for number in numbers)
        yield image, whole_number(entry, "id"), name, "crowd" if entry.get("iscrowd") else kind, *corners


def _caption_rows(path: Path, counts: Counter[str]) -> Iterator[tuple]:
    for entry in entries(path, "annotations.item"):
        image, text = whole_number(entry, "image_id"), clean(entry.get("caption")) if isinstance(entry, dict) else ""
        if image is None or not text:
            counts["captions dropped: empty or no image id"] += 1
        else:
            yield image, whole_number(entry, "id"), text


def _count_strays(database: sqlite3.Connection, counts: Counter[str]) -> None:
    """Count what belongs to no image of the instance files."""
    for reason, what, table in (
        ("annotations dropped: unknown image", "COUNT(*)", "annotation"),
        ("caption-only images ignored", "COUNT(DISTINCT image)", "caption"),
    ):
        ((count,),) = database.execute(f"SELECT {what} FROM {table} WHERE image NOT IN (SELECT id FROM picture)")
        if count:
            counts[reason] += count


def _photo_folders(database: sqlite3.Connection) -> list[str]:
    splits = [split for (split,) in database.execute("SELECT DISTINCT split FROM picture ORDER BY split")]
    years = ["train2017", "val2017", "train2014", "val2014"]
    named = list(dict.fromkeys(splits + years))
    return ["images", *(f"images/{name}" for name in named), *named]


def _scene(
    row: tuple, database: sqlite3.Connection, captions: Captions | None, photos: Photos, counts: Counter[str]
) -> Scene | None:
    number, file, width, height, split, licence, url = row
    if not is_size(width, height):
        counts["images skipped: no width and height"] += 1
        return None
    found = database.execute(
        "SELECT id, name, kind, x, y, wide, high FROM annotation WHERE image = ? ORDER BY rowid", (number,)
    ).fetchall()
    objects: list[Object] = []
    for key, name, kind, *corners in _once(found, "annotations", counts):
        if box := corner_box(*corners, (width, height), counts):
            tag, key = f"o{len(objects) + 1}", "" if key is None else str(key)
            objects.append(Object(tag=tag, key=key, name=name, names=(name,), boxes=(box,), kind=kind))
    return Scene(
        id=f"coco/{number}",
        source="coco",
        image=photos.find(file, f"{number:012d}.jpg", *(f"COCO_{year}_{number:012d}.jpg" for year in ("train2014", "val2014"))),
        width=width,
        height=height,
        captions=captions.of(number) if captions else (),
        objects=tuple(objects),
        meta={"coco_id": number, "file_name": file, "split": split, "licence": licence, "url": url},
    )


def _once(rows: list[tuple], what: str, counts: Counter[str]) -> list[tuple]:
    """Rows whose first column, the annotation id, was not seen before; a row without an id is never a repetition."""
    seen: set[int | None] = set()
    kept = [row for row in rows if row[0] is None or not (row[0] in seen or seen.add(row[0]))]
    if len(kept) < len(rows):
        counts[f"{what} of one id in several files, kept once"] += len(rows) - len(kept)
    return kept
