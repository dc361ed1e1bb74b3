"""Read what others annotated on COCO's images: COCO-Text, COCO Attributes and VQA, where their files lie beside COCO's.

They are joined by COCO's image and annotation ids, through the temporary database of the scenes that are being read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from comvint_hf.read_counts import ReadCounts
from comvint_hf.record_stream import RecordReader
from comvint_hf.sources.annotations import box_from_corner, clean_text, read_number
from comvint_hf.sources.json_stream import insert_rows, read_id
from comvint_hf.types import Question, Text

TABLES = """
CREATE TABLE writing (image, text TEXT, x, y, wide, high);
CREATE TABLE attribute (annotation, name TEXT);
CREATE TABLE question (id, image, text TEXT);
CREATE TABLE answer (question, text TEXT);
"""
INDEXES = """
CREATE INDEX writing_image ON writing (image);
CREATE INDEX attribute_annotation ON attribute (annotation);
CREATE INDEX question_image ON question (image);
CREATE INDEX answer_question ON answer (question);
"""
WRITING = ("*coco*text*.json", "*COCO*Text*.json")
ATTRIBUTES = ("*coco*attributes*.json", "cocottributes*.json")
PICKLED = ("cocottributes*.jbl", "cocottributes*.pkl", "*coco*attributes*.jbl", "*coco*attributes*.pkl")
QUESTIONS = ("*OpenEnded_mscoco_*_questions.json",)
ANSWERS = ("*mscoco_*_annotations.json",)
SURE = 0.5
"""Attributes are votes between 0 and 1; COCO Attributes counts an attribute from here on."""
ILLEGIBLE = "writing left out: nobody could read it"


class Extras:
    """Writing, attributes, questions and answers by COCO's ids.

    Args:
        root: The folder that holds COCO, at any depth.
        database: Where they are kept while scenes are read.
    """

    def __init__(self, root: Path, database: sqlite3.Connection, counts: ReadCounts) -> None:
        self._database, self._counts = database, counts
        database.executescript(TABLES)
        for path in _find(root, WRITING):
            insert_rows(database, "writing", _writing_rows(path, counts))
        for path in _find(root, ATTRIBUTES):
            insert_rows(database, "attribute", _attribute_rows(path, counts))
        for path in _find(root, PICKLED):
            counts.skip("attribute files left out: a pickle may run any code, so only JSON is read", path.name)
        for path in _find(root, QUESTIONS):
            insert_rows(database, "question", _question_rows(path, counts))
        for path in _find(root, ANSWERS):
            insert_rows(database, "answer", _answer_rows(path, counts))
        database.executescript(INDEXES)

    def texts(self, image: int | str, size: tuple[int, int]) -> tuple[Text, ...]:
        """Return the writing on an image of `size` (width, height in pixels), in file order."""
        rows = self._database.execute("SELECT text, x, y, wide, high FROM writing WHERE image = ? ORDER BY rowid", (image,))
        return tuple(
            Text(text=text, box=box_from_corner(x, y, wide, high, size, self._counts))
            for text, x, y, wide, high in rows.fetchall()
        )

    def attributes(self, annotation: int | str | None) -> tuple[str, ...]:
        """Return the attributes of an annotated object."""
        rows = self._database.execute("SELECT name FROM attribute WHERE annotation = ? ORDER BY rowid", (annotation,))
        return tuple(dict.fromkeys(name for (name,) in rows))

    def questions(self, image: int | str) -> tuple[Question, ...]:
        """Return the questions on an image that have an answer."""
        rows = self._database.execute(
            "SELECT q.text, a.text FROM question q JOIN answer a ON a.question = q.id WHERE q.image = ? ORDER BY q.rowid",
            (image,),
        )
        return tuple(dict.fromkeys(Question(question=question, answer=answer) for question, answer in rows))


def _find(root: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.rglob(pattern) if path.is_file()})


def _writing_rows(path: Path, counts: ReadCounts) -> Iterator[tuple[Any, ...]]:
    """COCO-Text keeps its annotations by id under `anns`, its later releases as a list under `annotations`."""
    for key in ("anns", "annotations"):
        for entry in RecordReader(path, counts, "texts").read(key):
            image = read_id(entry, "image_id")
            text = clean_text(entry.get("utf8_string")) if isinstance(entry, dict) else ""
            box = entry.get("bbox") if isinstance(entry, dict) else None
            if not text or image is None:
                counts.skip(ILLEGIBLE if image is not None else "texts dropped: no image id", f"{path.name}: {entry}")
                continue
            corner = [read_number(number) for number in box] if isinstance(box, list) and len(box) == 4 else [None] * 4
            yield image, text, *corner


def _attribute_rows(path: Path, counts: ReadCounts) -> Iterator[tuple[Any, ...]]:
    """COCO Attributes: a vector of votes by patch, the COCO annotation of each patch, and the attributes' names in order."""
    for record in RecordReader(path, counts, "attribute files").read():
        record = record if isinstance(record, dict) else {}
        listed, patches, vectors = (record.get(key) for key in ("attributes", "patch_id_to_ann_id", "ann_vecs"))
        if not isinstance(listed, list) or not isinstance(patches, dict) or not isinstance(vectors, dict):
            counts.skip("attribute files left out: they lack attributes, ann_vecs or patch_id_to_ann_id", path.name)
            continue
        names = [clean_text(entry.get("name")) if isinstance(entry, dict) else "" for entry in listed]
        for patch, votes in vectors.items():
            annotation = read_id(patches, str(patch))
            for name, vote in zip(names, votes if isinstance(votes, list) else (), strict=False):
                if name and annotation is not None and (read_number(vote) or 0) >= SURE:
                    yield annotation, name.lower()


def _question_rows(path: Path, counts: ReadCounts) -> Iterator[tuple[Any, ...]]:
    for entry in RecordReader(path, counts, "questions").read("questions"):
        ids = read_id(entry, "question_id"), read_id(entry, "image_id")
        text = clean_text(entry.get("question")) if isinstance(entry, dict) else ""
        if None in ids or not text:
            counts.skip("questions dropped: no text, question id or image id", f"{path.name}: {entry}")
        else:
            yield *ids, text


def _answer_rows(path: Path, counts: ReadCounts) -> Iterator[tuple[Any, ...]]:
    for entry in RecordReader(path, counts, "answers").read("annotations"):
        question = read_id(entry, "question_id")
        text = clean_text(entry.get("multiple_choice_answer")) if isinstance(entry, dict) else ""
        if question is None or not text:
            counts.skip("answers dropped: no text or question id", f"{path.name}: {entry}")
        else:
            yield question, text
