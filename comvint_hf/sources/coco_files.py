"""Load COCO's files into a temporary database on disk, and find out which of their images are the same photo.

Each file has its own ids: an image is its file and its id. Files that give one id to one photo, as COCO's of 2014 and 2017 do, are joined;
files that number their own photos from 0, as exports of splits do, are not.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from comvint_hf.errors import SourceError
from comvint_hf.image_paths import split_name
from comvint_hf.images import hash_image
from comvint_hf.images import read_size as read_photo_size
from comvint_hf.read_counts import ReadCounts
from comvint_hf.record_stream import RecordReader, first_character
from comvint_hf.sources.annotations import clean_text, read_flag, read_number, read_size
from comvint_hf.sources.image_files import ImageFolders, find_ambiguous_names
from comvint_hf.sources.json_stream import Entry, insert_rows, read_id

TABLES = """
CREATE TABLE image (key INTEGER PRIMARY KEY, file INTEGER, id, name TEXT, width, height, licence TEXT, url TEXT, scene INTEGER);
CREATE TABLE annotation (file INTEGER, image, id, name TEXT, kind TEXT, x, y, wide, high);
CREATE TABLE caption (file INTEGER, image, id, text TEXT);
CREATE TABLE caption_image (file INTEGER, id, name TEXT);
"""
SUFFIXES = (".json", ".json.gz", ".json.zst")
YEARS = ("train2017", "val2017", "train2014", "val2014")
CLASHING = "images skipped: one id names several photos in one file"
TWICE = "images listed twice in one file, kept once"
SEVERAL_NAMES = "annotations dropped: their category id has several names"
FROM_POLYGON = "boxes taken from their polygon: they have no bbox"
SIZE_FROM_PHOTO = "image sizes taken from the photo"
_OFFICIAL = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?(\d{12}\.(?:jpg|png))")
_SPLIT = re.compile(r"train|val|test|dev|eval", re.IGNORECASE)
_STRONG = 1.1
"""A box that reaches further than this beyond its image was not drawn there."""


@dataclass(frozen=True)
class AnnotationFile:
    """A file of annotations; `split` is its part of the corpus ("val2017"), and `label` tells it from the others."""

    path: Path
    split: str
    label: str


def find_files(root: Path, kind: str) -> list[Path]:
    """Find the files of a kind ("instances", "captions") at any depth, also in a folder under `root` that is a link."""
    patterns = [f"{kind}_*{suffix}" for suffix in SUFFIXES]
    found = {path for pattern in patterns for path in (*root.rglob(pattern), *root.glob(f"*/{pattern}"))}
    return sorted(path for path in found if path.is_file())


def find_annotation_files(root: Path, kind: str, counts: ReadCounts) -> list[AnnotationFile]:
    """Find every `{kind}_*.json` under `root` that is an annotation file; result files (lists) are counted and left out.

    Where no file has the official name, every JSON file with the lists of instances is one: Roboflow's `_annotations.coco.json`, Label
    Studio's `result.json`, `train.json`. Raises `SourceError` if there is none.
    """
    found = find_files(root, kind)
    usable = [path for path in found if first_character(path) != "["]
    if len(usable) < len(found):
        counts.note(f"{kind} files left out: they hold results, not annotations", count=len(found) - len(usable))
    if not found and kind == "instances":
        others = {path for suffix in SUFFIXES for path in root.rglob(f"*{suffix}")} - set(find_files(root, "captions"))
        usable = [path for path in sorted(others) if path.is_file() and _holds_instances(path)]
    if not usable:
        raise SourceError(
            f"No COCO annotations under {root}: expected {kind}_*.json, as in annotations/{kind}_val2017.json, there or deeper. "
            "See README, 'Get the annotations'."
        )
    return _label(root, usable, kind)


def _holds_instances(path: Path) -> bool:
    """Whether a JSON file is an object with images and annotations that have a category, seen from the first of each."""
    try:
        if first_character(path) != "{":
            return False
        counts = ReadCounts()
        lists = {key: next(RecordReader(path, counts, key).read(key), None) for key in ("images", "categories", "annotations")}
    except ValueError:
        return False
    return all(isinstance(entry, dict) for entry in lists.values()) and read_id(lists["annotations"], "category_id") is not None


def _label(root: Path, paths: list[Path], kind: str) -> list[AnnotationFile]:
    splits = []
    for path in paths:
        stem = path.name.partition(".json")[0].removeprefix(f"{kind}_")
        generic = stem in ("_annotations.coco", "result", "annotations", "labels", "coco", "default")
        # CVAT and Roboflow call all files alike and put them into a folder for each split.
        home = _home(root, path)
        splits.append(home.name if generic and home != root else stem)
    labels = [
        split if splits.count(split) == 1 else f"{os.path.relpath(path.parent, root)}/{split}".removeprefix("./")
        for path, split in zip(paths, splits, strict=True)
    ]
    return [AnnotationFile(*one) for one in zip(paths, splits, labels, strict=True)]


class Instances:
    """The instance files of a folder in a database: images with their `scene` (the key of the first image of the same photo)."""

    def __init__(
        self, root: Path, files: list[AnnotationFile], images: Path | None, database: sqlite3.Connection, counts: ReadCounts
    ) -> None:
        self.files, self.clashes = files, False
        self._database, self._counts = database, counts
        for number, file in enumerate(files):
            _load_file(number, file, database, counts)
        # Indexes after the inserts are much faster than ones that grow with them.
        database.executescript(
            "CREATE INDEX annotation_image ON annotation (file, image); CREATE INDEX image_id ON image (id, file);"
            "CREATE INDEX image_scene ON image (scene);"
        )
        names = (name for (name,) in database.execute("SELECT name FROM image"))
        ambiguous = find_ambiguous_names(names)
        self.folders = [ImageFolders(root, images, _subfolders(root, file), counts, ambiguous) for file in files]
        self._quiet = [ImageFolders(root, images, _subfolders(root, file), ReadCounts(), ambiguous) for file in files]
        self._drop_clashes_within_files()
        self._join_files()
        self._add_sizes()
        for number, file in enumerate(files):
            _check_boxes(number, file.path, database)

    def _drop_clashes_within_files(self) -> None:
        """Two images of one id in one file: an annotation cannot tell them apart."""
        repeated = "SELECT file, id FROM image GROUP BY file, id HAVING COUNT(*) > 1"
        for file, image in self._database.execute(repeated).fetchall():
            rows = self._database.execute(
                "SELECT key, name, width, height FROM image WHERE file = ? AND id = ? ORDER BY key", (file, image)
            ).fetchall()
            if len({row[1:] for row in rows}) == 1:
                self._counts.note(TWICE, f"{self.files[file].path.name}: image {image!r}", len(rows) - 1)
                rows = rows[1:]
            else:
                names = ", ".join(row[1] for row in rows[:3])
                self._counts.skip(CLASHING, f"{self.files[file].path.name}: image {image!r} is {names}", len(rows))
            self._database.executemany("DELETE FROM image WHERE key = ?", [row[:1] for row in rows])

    def _join_files(self) -> None:
        """Give the images of one photo one scene."""
        rows = self._database.execute(
            "SELECT id, key, file, name, width, height FROM image WHERE id IN (SELECT id FROM image GROUP BY id HAVING COUNT(*) > 1) "
            "ORDER BY id, key"
        ).fetchall()
        for _, group in groupby(rows, key=lambda row: row[0]):
            photos: list[tuple] = []
            for row in group:
                same = next((photo for photo in photos if self._is_same_photo(photo, row)), None)
                if same is None:
                    photos.append(row)
                else:
                    self._database.execute("UPDATE image SET scene = ? WHERE key = ?", (same[1], row[1]))
            self.clashes = self.clashes or len(photos) > 1

    def _is_same_photo(self, one: tuple, other: tuple) -> bool:
        (_, _, file, name, *size), (_, _, other_file, other_name, *other_size) = one, other
        if None not in size and None not in other_size and size != other_size:
            return False
        official = _official_name(name)
        if official and official == _official_name(other_name):
            return True
        if not is_same_name(name, other_name):
            return False
        paths = self._quiet[file].find(name), self._quiet[other_file].find(other_name)
        first, second = paths
        if first is None or second is None:  # only the files themselves are left to tell
            mine, its = self.files[file], self.files[other_file]
            are_splits = bool(_SPLIT.match(mine.split) and _SPLIT.match(its.split))
            return mine.path.parent == its.path.parent and not are_splits
        return first == second or hash_image(first.read_bytes()) == hash_image(second.read_bytes())

    def _add_sizes(self) -> None:
        """Read the sizes that are not annotated from the photos."""
        rows = self._database.execute("SELECT key, file, name FROM image WHERE width IS NULL").fetchall()
        for key, file, name in rows:
            path = self._quiet[file].find(name)
            if path is not None and (size := read_photo_size(path)):
                self._counts.note(SIZE_FROM_PHOTO, name)
                self._database.execute("UPDATE image SET width = ?, height = ? WHERE key = ?", (*size, key))


def _official_name(name: str) -> str:
    found = _OFFICIAL.fullmatch("".join(split_name(name)[0][-1:]))
    return found[1] if found else ""


def is_same_name(one: str, other: str) -> bool:
    """Whether two file names may be of one photo: official ones by their number, others by all the parts that both have."""
    if official := _official_name(one):
        return official == _official_name(other)
    return split_name(one)[0] == split_name(other)[0]


def other_official_names(id: object, name: str) -> tuple[str, ...]:
    """The official file names of an image id; none for a photo with a name of its own, whose id is not COCO's."""
    if not isinstance(id, int) or (name and not _official_name(name)):
        return ()
    return f"{id:012d}.jpg", *(f"COCO_{year}_{id:012d}.jpg" for year in ("train2014", "val2014"))


def _subfolders(root: Path, file: AnnotationFile) -> list[str]:
    """Where the photos of a file may lie; folders of other splits may hold other photos of the same name."""
    here = _home(root, file.path)
    own = here.relative_to(root).as_posix() if here.is_relative_to(root) else "."
    named = [f"{own}/images/{file.split}", f"{own}/{file.split}", f"{own}/images", own]
    named += [f"images/{file.split}", file.split, f"images/{file.label}", file.label]
    years = [f"{prefix}{year}" for year in YEARS for prefix in ("images/", "")]
    return list(dict.fromkeys(os.path.normpath(folder) for folder in (*named, "images", *years)))


def _home(root: Path, path: Path) -> Path:
    """The folder to which a file of annotations belongs, which may keep them in a folder of their own."""
    return path.parent.parent if path.parent.name.lower() == "annotations" and path.parent != root else path.parent


def _load_file(number: int, file: AnnotationFile, database: sqlite3.Connection, counts: ReadCounts) -> None:
    licences = {id: clean_text(entry.get("url")) for id, entry in _by_id(file.path, "licenses", counts)}
    categories: dict[Any, set[tuple[str, str]]] = {}
    for id, entry in _by_id(file.path, "categories", counts):
        categories.setdefault(id, set()).add((clean_text(entry.get("name")), clean_text(entry.get("supercategory"))))
    insert_rows(database, "image", _image_rows(number, file.path, licences, counts))
    database.execute("UPDATE image SET scene = key WHERE file = ?", (number,))
    insert_rows(database, "annotation", _annotation_rows(number, file.path, categories, counts))


def read_list(path: Path, key: str, counts: ReadCounts) -> Iterator[tuple[int, Any]]:
    """Yield (number, entry) of an object's list."""
    return RecordReader(path, counts, key, SourceError).read_numbered(key)


def _by_id(path: Path, key: str, counts: ReadCounts) -> Iterator[tuple[int | str, Entry]]:
    for _, entry in read_list(path, key, counts):
        if (id := read_id(entry, "id")) is not None:
            yield id, entry


def _image_rows(number: int, path: Path, licences: dict[Any, str], counts: ReadCounts) -> Iterator[tuple]:
    for position, entry in read_list(path, "images", counts):
        if (id := read_id(entry, "id")) is None:
            counts.skip("images skipped: no id", f"{path.name}, image {position + 1}")
            continue
        address = clean_text(entry.get("coco_url")) or clean_text(entry.get("flickr_url"))
        width, height = read_size((entry.get("width"), entry.get("height"))) or (None, None)
        name = next((text for key in ("file_name", "filename", "path") if (text := clean_text(entry.get(key)))), "")
        yield None, number, id, name, width, height, licences.get(read_id(entry, "license"), ""), address, None


def _annotation_rows(number: int, path: Path, categories: dict[Any, set[tuple[str, str]]], counts: ReadCounts) -> Iterator[tuple]:
    for position, entry in read_list(path, "annotations", counts):
        where = f"{path.name}, annotation {position + 1}"
        image = read_id(entry, "image_id")
        if image is None:
            counts.skip("annotations dropped: no image id", where)
            continue
        known = categories.get(read_id(entry, "category_id"), set())
        names = {name for name, _ in known if name}
        if len(names) != 1:
            reason = SEVERAL_NAMES if names else "annotations dropped: unknown category"
            counts.skip(reason, f"{where}: category {entry.get('category_id')!r:.40}" + ", ".join(["", *sorted(names)[:3]]))
            continue
        kind = "crowd" if read_flag(entry.get("iscrowd")) else max(kind for name, kind in known if name)
        yield number, image, read_id(entry, "id"), names.pop(), kind, *_read_corner(entry, where, counts)


def _read_corner(entry: Entry, where: str, counts: ReadCounts) -> list[float | None]:
    """x, y, width and height in pixels; four `None` for a box of another form, which `box_from_corner` counts as unreadable."""
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        return list(map(read_number, box))
    polygons = entry.get("segmentation")
    numbers = [polygon for polygon in polygons if isinstance(polygon, list)] if isinstance(polygons, list) and not box else []
    xs = [read_number(value) for polygon in numbers for value in polygon[::2]]
    ys = [read_number(value) for polygon in numbers for value in polygon[1::2]]
    if not xs or len(xs) != len(ys) or None in xs or None in ys:
        return [None] * 4
    counts.note(FROM_POLYGON, where)
    left, top = min(xs), min(ys)  # type: ignore[type-var]  # None is not among them
    return [left, top, max(xs) - left, max(ys) - top]  # type: ignore[type-var, operator]


def _check_boxes(number: int, path: Path, database: sqlite3.Connection) -> None:
    """Raise `SourceError` for a file whose boxes are surely not x, y, width and height in pixels."""
    ((boxes, fractions, broken),) = database.execute(
        "SELECT COUNT(*), TOTAL(x BETWEEN 0 AND 1 AND y BETWEEN 0 AND 1 AND wide BETWEEN 0 AND 1 AND high BETWEEN 0 AND 1), "
        "TOTAL(x <> ROUND(x) OR y <> ROUND(y) OR wide <> ROUND(wide) OR high <> ROUND(high)) "
        "FROM annotation WHERE file = ? AND x + y + wide + high IS NOT NULL",
        (number,),
    )
    if boxes and fractions == boxes and broken:
        raise SourceError(
            f"The {boxes:,} boxes of {path} are numbers between 0 and 1: read as COCO's pixels (x, y, width, height) each is smaller than "
            "a pixel, read as fractions of the image they are ordinary boxes. Multiply them by the width and height of their images."
        )
    ((boxes, corners, outside),) = database.execute(
        "SELECT COUNT(*), TOTAL(x >= 0 AND y >= 0 AND wide > x AND high > y AND wide <= i.width + 1 AND high <= i.height + 1), "
        f"TOTAL(x + wide > {_STRONG} * i.width OR y + high > {_STRONG} * i.height) "
        "FROM annotation a JOIN image i ON i.file = a.file AND i.id = a.image "
        "WHERE a.file = ? AND x + y + wide + high IS NOT NULL AND i.width IS NOT NULL",
        (number,),
    )
    if boxes and corners == boxes and outside >= max(1, boxes / 4):
        raise SourceError(
            f"Of the {boxes:,} boxes of {path}, {int(outside):,} reach far beyond their images read as COCO's (x, y, width, height), and "
            "all lie within them read as corners (x1, y1, x2, y2). Write width and height: x2 - x1 and y2 - y1."
        )
