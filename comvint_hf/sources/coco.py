"""Read COCO: `instances_*.json` and `captions_*.json` under one folder, and the exports of annotation tools in that form.

COCO-Text, COCO Attributes and VQA beside them give the writing, attributes and questions of the same images.

An image of several files (2014 and 2017 share their ids) is one scene; where files give one id to different photos, each is a scene of its
own and all ids name their file, as in coco/train/0. The files list images, annotations and captions in unrelated orders, so the needed
fields go through a temporary database on disk; memory does not grow with the files.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

from comvint_hf.read_counts import ReadCounts, as_counts
from comvint_hf.record_stream import first_character
from comvint_hf.registry import Licence, Traits, source
from comvint_hf.sources.annotations import box_from_corner, clean_text
from comvint_hf.sources.coco_extras import Extras
from comvint_hf.sources.coco_files import (
    TABLES,
    AnnotationFile,
    Instances,
    find_annotation_files,
    find_files,
    is_same_name,
    other_official_names,
    read_list,
)
from comvint_hf.sources.json_stream import insert_rows, open_temporary_database, read_id
from comvint_hf.types import Object, Scene

OTHER_PHOTO = "captions left out: their image has the id of another photo"


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
    file order, `kind` is the supercategory, or "crowd". Sizes that are missing are read from the photos. Raises `SourceError` if there
    is no instance file, a broken one, or one whose boxes are surely of another form.
    """
    counts = as_counts(counts)
    return _read_scenes(root, find_annotation_files(root, "instances", counts), images, counts)


class Captions:
    """The captions of every `captions_*.json` under a folder by image id, in a temporary database."""

    def __init__(self, root: Path, counts: Counter[str], database: sqlite3.Connection | None = None) -> None:
        self._counts = as_counts(counts)
        self._database = database or open_temporary_database()
        if database is None:
            self._database.executescript(TABLES)
        self.files = find_annotation_files(root, "captions", self._counts)
        for number, file in enumerate(self.files):
            insert_rows(self._database, "caption", _caption_rows(number, file.path, self._counts))
            named = ((id, clean_text(entry.get("file_name"))) for id, entry in _images(file, self._counts))
            insert_rows(self._database, "caption_image", ((number, id, name) for id, name in named if name))
        self._database.executescript(
            "CREATE INDEX caption_image_id ON caption (image); CREATE INDEX caption_image_name ON caption_image (id, file)"
        )

    def find(self, image: int) -> tuple[str, ...]:
        """Return the captions of a COCO image in file order; a caption that is repeated (same annotation id and text) comes once."""
        return self.assign(image, [("", "")])[0]

    def assign(self, image: int | str, photos: list[tuple[str, str]]) -> list[tuple[str, ...]]:
        """Return the captions of each photo (file name, split) that has an image id."""
        rows = self._database.execute(
            "SELECT c.id, c.text, c.file, n.name FROM caption c LEFT JOIN caption_image n ON n.file = c.file AND n.id = c.image "
            "WHERE c.image = ? ORDER BY c.rowid",
            (image,),
        ).fetchall()
        found: list[list[tuple]] = [[] for _ in photos]
        for row in rows:
            owner = next((place for place, photo in enumerate(photos) if self._belongs(row, photo, len(photos))), None)
            if owner is None:
                self._counts.skip(
                    OTHER_PHOTO, f"{self.files[row[2]].path.name}: image {image!r} is {row[3] or 'of several files'}"
                )
            else:
                found[owner].append((row[0], row[2], row[1]))
        return [tuple(text for _, _, text in drop_repetitions(owned, "captions", self._counts)) for owned in found]

    def _belongs(self, row: tuple, photo: tuple[str, str], photos: int) -> bool:
        name, split = photo
        if row[3] and name:
            return is_same_name(row[3], name)
        return photos == 1 or self.files[row[2]].split == split

    def close(self) -> None:
        self._database.close()


def _images(file: AnnotationFile, counts: ReadCounts) -> Iterator[tuple[int | str, dict]]:
    for _, entry in read_list(file.path, "images", counts):
        if (id := read_id(entry, "id")) is not None:
            yield id, entry


def _caption_rows(number: int, path: Path, counts: ReadCounts) -> Iterator[tuple]:
    for position, entry in read_list(path, "annotations", counts):
        image, text = read_id(entry, "image_id"), clean_text(entry.get("caption")) if isinstance(entry, dict) else ""
        if image is None or not text:
            counts.skip("captions dropped: empty or no image id", f"{path.name}, annotation {position + 1}")
        else:
            yield number, image, read_id(entry, "id"), text


def _read_scenes(root: Path, files: list[AnnotationFile], images: Path | None, counts: ReadCounts) -> Iterator[Scene]:
    with closing(open_temporary_database()) as database:
        database.executescript(TABLES)
        instances = Instances(root, files, images, database, counts)
        has_captions = any(first_character(path) != "[" for path in find_files(root, "captions"))
        captions = Captions(root, counts, database) if has_captions else None
        extras = Extras(root, database, counts)
        _count_unknown_images(database, counts)
        rows = database.execute(
            "SELECT id, key, file, name, width, height, licence, url FROM image WHERE scene = key ORDER BY id, key"
        )
        for id, group in groupby(rows, key=lambda row: row[0]):
            photos = list(group)
            named = [(row[3], files[row[2]].split) for row in photos]
            texts = captions.assign(id, named) if captions else [()] * len(photos)
            for row, found in zip(photos, texts, strict=True):
                if scene := _build_scene(row, found, database, instances, extras, counts):
                    yield scene


def _count_unknown_images(database: sqlite3.Connection, counts: ReadCounts) -> None:
    """Count annotations and captions of images that the instance files do not have."""
    for reason, count, table, column, same_file in (
        ("annotations dropped: unknown image", "COUNT(*)", "annotation", "image", "AND i.file = t.file"),
        ("caption-only images ignored", "COUNT(DISTINCT image)", "caption", "image", ""),
    ):
        unknown = f"FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM image i WHERE i.id = t.{column} {same_file})"
        ((found,),) = database.execute(f"SELECT {count} {unknown}")
        if found:
            ((example,),) = database.execute(f"SELECT {column} {unknown} LIMIT 1")
            # Captions of other images are not lost: 2017's caption files cover more images than many folders of instances.
            (counts.note if table == "caption" else counts.skip)(reason, f"image {example!r}", found)


def _build_scene(
    row: tuple, captions: tuple[str, ...], database: sqlite3.Connection, instances: Instances, extras: Extras, counts: ReadCounts
) -> Scene | None:
    id, key, file, name, width, height, licence, url = row
    if width is None:
        counts.skip("images skipped: no width and height", f"{instances.files[file].path.name}: image {id!r}, {name}")
        return None
    found = database.execute(
        "SELECT a.id, a.file, a.name, a.kind, x, y, wide, high FROM image i JOIN annotation a ON a.file = i.file AND a.image = i.id "
        "WHERE i.scene = ? ORDER BY a.rowid",
        (key,),
    ).fetchall()
    objects: list[Object] = []
    for number, _, category, kind, *corner in drop_repetitions(found, "annotations", counts):
        x, y, wide, high = corner
        if box := box_from_corner(x, y, wide, high, (width, height), counts):
            tag, object_key = f"o{len(objects) + 1}", "" if number is None else str(number)
            known = extras.attributes(number)
            objects.append(
                Object(tag=tag, key=object_key, name=category, names=(category,), boxes=(box,), attributes=known, kind=kind)
            )
    split = instances.files[file].split
    return Scene(
        id=f"coco/{instances.files[file].label}/{id}" if instances.clashes else f"coco/{id}",
        source="coco",
        image=instances.folders[file].find(name, *other_official_names(id, name)),
        width=width,
        height=height,
        captions=captions,
        objects=tuple(objects),
        texts=extras.texts(id, (width, height)),
        questions=extras.questions(id),
        meta={"coco_id": id, "file_name": name, "split": split, "licence": licence, "url": url},
    )


def drop_repetitions(rows: list[tuple], kind: str, counts: ReadCounts) -> list[tuple]:
    """The rows (id, file, content, ...) without those that repeat both the id and the content of another.

    Ids alone are not enough: some converters give all annotations of an image one id.
    """
    first: dict[object, tuple] = {}
    for position, row in enumerate(rows):
        kept = first.setdefault(("no id", position) if row[0] is None else (row[0], row[2:]), row)
        if kept is not row:
            where = "in several files" if kept[1] != row[1] else "repeated in one file"
            counts.note(f"{kind} of one id {where}, kept once", f"{kind[:-1]} {row[0]!r}")
    return list(first.values())
