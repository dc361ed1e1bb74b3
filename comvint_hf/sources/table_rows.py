"""Turn the rows of any dataset into scenes: `find_columns` says where their parts are, `recognise_form` how boxes are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from comvint_hf.errors import SourceError
from comvint_hf.images import hash_image
from comvint_hf.images import read_size as read_photo_size
from comvint_hf.read_counts import ReadCounts
from comvint_hf.sources.annotations import clean_text, read_flag, read_size, unique_texts
from comvint_hf.sources.box_forms import BoxForm, Numbers, Size, is_numbers, parse_form, recognise_form
from comvint_hf.sources.columns import CAPTIONS, Paths, Row, find_columns, parse_columns, read_items, resolve
from comvint_hf.types import Box, Object, Question, Region, Relation, Scene, Text

SAMPLE = 200
"""Rows that are looked at before the first scene, to find columns and the form of boxes."""
KNOWN_PHOTO = "rows whose image came before, kept as an image of their own in the same split"
OTHER_PHOTO = "images of an id that another photo has, told apart by a number"
Picture = bytes | Path | None
OpenImage = Callable[[Any], Picture]


@dataclass
class TableReader:
    """Reads the rows of one split of a dataset.

    Args:
        name: The first parts of each scene's id, such as "hub/ORG/NAME/train".
        open_image: Gives the image that a row's value names, or `None`; it refuses and counts files of others.
        classes: The names behind a column's numbers, by path.
        columns: Paths that the user gave (`parse_columns`).
        boxes: The form that the user declared, "" to recognise it.
    """

    name: str
    open_image: OpenImage
    counts: ReadCounts
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    columns: str = ""
    boxes: str = ""
    licence: str = ""
    paths: Paths = field(default_factory=dict, init=False)
    form: BoxForm | None = field(default=None, init=False)
    _number: int = field(default=-1, init=False)
    _photos: dict[str, list[bytes]] = field(default_factory=dict, init=False)

    def scenes(self, rows: Iterable[Row]) -> Iterator[Scene]:
        """Yield one scene for each image; rows next to each other that give one image id are one image.

        Raises:
            SourceError: For columns that are not there, and for boxes of no clear form.
        """
        rows = iter(rows)
        sample = list(islice(rows, SAMPLE))
        if not sample:
            return
        self.paths = find_columns(sample, parse_columns(self.columns))
        if not {"image", "file_name", "url"} & self.paths.keys():
            known = ", ".join(dict.fromkeys(key for row in sample for key in row))
            raise SourceError(f"{self.name} has no column of images among {known}: name it, as in ,columns=image=COLUMN.")
        self.form = self._find_form(sample)
        for _, group in groupby(enumerate(chain(sample, rows)), key=self._image_key):
            if scene := self._build_scene([row for _, row in group]):
                yield scene

    def describe(self) -> list[str]:
        """Say which column is read as what, and how boxes are read."""
        lines = [f"{role} from the column {path}" for role, path in self.paths.items()]
        return [*lines, f"boxes as {self.form}"] if self.form else lines

    def _image_key(self, numbered: tuple[int, Row]) -> str:
        number, row = numbered
        return self._read_id(row) or f"#{number}"

    def _read_id(self, row: Row) -> str:
        for role in ("image_id", "file_name"):
            value = self._read_value(row, role)
            if isinstance(value, str | int) and str(value).strip():
                return str(value).strip()
        # A photo that was loaded from a file has its path.
        value = self._read_value(row, "image")
        return str(value["path"]) if isinstance(value, Mapping) and value.get("path") and not value.get("bytes") else ""

    def _find_form(self, sample: Sequence[Row]) -> BoxForm | None:
        """The declared or recognised form of the boxes; `None` if there are none."""
        if self.boxes:
            return parse_form(self.boxes)
        boxes: list[tuple[Numbers, Size]] = []
        for row in sample:
            found = [
                item["bbox"]
                for kind in ("objects", "regions", "texts")
                for item in read_items(row, self.paths, kind)
                if "bbox" in item
            ]
            found = [numbers for numbers in found if is_numbers(numbers) and any(numbers)]
            # A photo is opened only for a size that the row does not give: it may be far away, and is opened again as a scene.
            if found and (size := self._annotated_size(row) or _photo_size(self._open(row))):
                boxes += [(numbers, size) for numbers in found]
        return recognise_form(boxes, self.name) if boxes else None

    def _image_value(self, row: Row) -> Any:
        return resolve(row, self.paths.get("image", self.paths.get("file_name", "")))

    def _open(self, row: Row) -> Picture:
        value = self._image_value(row)
        if isinstance(value, list):
            value = value[0] if value else None
        return None if value is None else self.open_image(value)

    def _count_further_images(self, row: Row) -> None:
        value = self._image_value(row)
        if isinstance(value, list) and len(value) > 1:
            self.counts.skip("images left out: a row's first image is its scene", self._read_id(row), len(value) - 1)

    def _annotated_size(self, row: Row) -> Size | None:
        return read_size((self._read_value(row, "width"), self._read_value(row, "height")))

    def _read_value(self, row: Row, role: str) -> Any:
        return resolve(row, self.paths[role]) if role in self.paths else None

    def _build_scene(self, rows: list[Row]) -> Scene | None:
        first = rows[0]
        image = self._open(first)
        self._count_further_images(first)  # not where a sample is looked at: those rows come again
        size = self._annotated_size(first) or _photo_size(image)
        if size is None:
            self.counts.skip("images skipped: no readable image, and no width and height", self._read_id(first))
            return None
        objects, tags = self._read_objects(rows, size)
        scene_id, shared_id = self._name_scene(self._read_id(first), image)
        return Scene(
            id=scene_id,
            source=self.name.partition("/")[0],
            image=image,
            width=size[0],
            height=size[1],
            captions=self._read_captions(rows),
            objects=objects,
            regions=self._read_regions(rows, size),
            relations=self._read_relations(rows, tags),
            texts=self._read_texts(rows, size),
            questions=self._read_questions(rows),
            meta={
                "url": self._read_text(first, "url"),
                "licence": self._read_text(first, "licence") or self.licence,
                **({"split_id": shared_id} if shared_id != scene_id else {}),
            },
        )

    def _name_scene(self, image_id: str, image: Picture) -> tuple[str, str]:
        """A new id for the scene, and the id that decides its split, which a photo that comes again shares.

        Different photos of one id, as in exports that number each part from 0, are different images.
        """
        self._number += 1
        wanted = f"{self.name}/{image_id or self._number}"
        photos = self._photos.setdefault(wanted, [])
        photos.append(hash_image(image) if isinstance(image, bytes) else str(image).encode())
        if len(photos) == 1:
            return wanted, wanted
        name, known = f"{wanted}-{len(photos)}", photos[-1] in photos[:-1]
        self.counts.note(KNOWN_PHOTO if known else OTHER_PHOTO, wanted)
        return name, wanted if known else name

    def _read_text(self, row: Row, role: str) -> str:
        return clean_text(self._read_value(row, role))

    def _read_captions(self, rows: list[Row]) -> tuple[str, ...]:
        return unique_texts([text for row in rows for text in _texts_in(self._read_value(row, CAPTIONS))])

    def _read_objects(self, rows: list[Row], size: Size) -> tuple[tuple[Object, ...], dict[str, str]]:
        """The objects, and the tag behind each id, place and name by which relations may mean them."""
        objects: list[Object] = []
        tags: dict[str, str] = {}
        items = chain.from_iterable(read_items(row, self.paths, "objects") for row in rows)
        for place, item in enumerate(items):
            names = self._read_names(item.get("category"))
            if not names:
                continue
            box = self._read_box(item, size)
            if box is None and item.get("bbox") is not None:
                continue
            tag = f"o{len(objects) + 1}"
            key = "" if item.get("id") is None else str(item["id"])
            for meant in (key, names[0], f"#{place}"):
                tags.setdefault(meant, tag)
            objects.append(
                Object(
                    tag=tag,
                    key=key,
                    name=names[0],
                    names=names,
                    boxes=(box,) if box else (),
                    attributes=unique_texts(item.get("attributes")),
                    kind="crowd" if read_flag(item.get("crowd")) else "",
                )
            )
        return tuple(objects), tags

    def _read_names(self, category: Any) -> tuple[str, ...]:
        """The names of a category, which may be text, texts, or a number of a class."""
        if isinstance(category, int) and not isinstance(category, bool):
            names = self.classes.get(self.paths.get("objects.category", ""), ())
            if not 0 <= category < len(names):
                self.counts.skip("objects dropped: their category is a number without a name", category)
                return ()
            category = names[category].replace("_", " ")
        if not (found := unique_texts(category)):
            self.counts.skip("objects dropped: no name", category)
        return found

    def _read_box(self, item: Mapping[str, Any], size: Size) -> Box | None:
        numbers = item.get("bbox")
        return None if numbers is None or self.form is None else self.form.to_box(numbers, size, self.counts)

    def _read_regions(self, rows: list[Row], size: Size) -> tuple[Region, ...]:
        regions: list[Region] = []
        for item in chain.from_iterable(read_items(row, self.paths, "regions") for row in rows):
            text, box = clean_text(item.get("text")), self._read_box(item, size)
            if text and box:
                regions.append(Region(tag=f"r{len(regions) + 1}", text=text, box=box))
            elif not text:
                self.counts.skip("regions dropped: no phrase", item)
        return tuple(regions)

    def _read_relations(self, rows: list[Row], tags: Mapping[str, str]) -> tuple[Relation, ...]:
        relations: dict[Relation, None] = {}
        for item in chain.from_iterable(read_items(row, self.paths, "relations") for row in rows):
            ends = [tags.get(str(item.get(end))) or tags.get(f"#{item.get(end)}") for end in ("subject", "object")]
            predicate = clean_text(item.get("predicate")).lower()
            if ends[0] and ends[1] and ends[0] != ends[1] and predicate:
                relations[Relation(subject=ends[0], predicate=predicate, object=ends[1])] = None
            else:
                self.counts.skip("relations dropped: unknown object or no predicate", item)
        return tuple(relations)

    def _read_texts(self, rows: list[Row], size: Size) -> tuple[Text, ...]:
        items = chain.from_iterable(read_items(row, self.paths, "texts") for row in rows)
        read = ((clean_text(item.get("text")), item) for item in items)
        return tuple(Text(text=text, box=self._read_box(item, size)) for text, item in read if text)

    def _read_questions(self, rows: list[Row]) -> tuple[Question, ...]:
        found: dict[Question, None] = {}
        for row in rows:
            # A list of answers beside one question are the same question's, as ten people answered it.
            asked = [self._read_value(row, f"questions.{part}") for part in ("question", "answer")]
            pairs = zip(*asked, strict=False) if all(isinstance(value, list) for value in asked) else [tuple(asked)]
            for question, answer in pairs:
                text, said = clean_text(question), self._read_answer(row, answer)
                if text and said:
                    found[Question(question=text, answer=said)] = None
                elif text:
                    self.counts.skip("questions dropped: no answer", text)
        return tuple(found)

    def _read_answer(self, row: Row, answer: Any) -> str:
        """An answer as text: the most frequent of several, the option that a number means, or the name of a class."""
        if isinstance(answer, int) and not isinstance(answer, bool):
            names = self.classes.get(self.paths.get("questions.answer", "")) or row.get("choices") or row.get("options") or ()
            return clean_text(names[answer]) if isinstance(names, Sequence) and 0 <= answer < len(names) else str(answer)
        texts = [text for text in map(clean_text, _texts_in(answer)) if text]
        return Counter(texts).most_common(1)[0][0] if texts else ""


def _photo_size(image: Picture) -> Size | None:
    return None if image is None else read_photo_size(image)


def _texts_in(value: Any) -> list[str]:
    """The texts in a value: itself, those of a list, or those under the usual keys of a record."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _texts_in(item)]
    if isinstance(value, Mapping):
        return _texts_in(
            next((value[key] for key in ("raw", "caption", "text", "sentence", "answer", "en") if key in value), None)
        )
    return []
