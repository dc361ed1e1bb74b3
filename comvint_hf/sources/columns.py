"""Find the columns of a dataset that hold a scene's parts, by their names and by the form of their values.

A `role` is a part of a scene ("image", "objects.bbox"), a path the way to it in a row ("annotations.bbox"). A container of
items is a list of records, a record of lists, or several columns of lists side by side: all three are written on the Hub.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from comvint_hf.errors import SourceError

Row = Mapping[str, Any]
Paths = dict[str, str]
CAPTIONS = "caption"
CONTAINERS = {
    "regions": ("bbox", "text"),
    "texts": ("bbox", "text"),
    "questions": ("question", "answer"),
    "objects": ("bbox", "category", "id", "attributes", "crowd"),
    "relations": ("subject", "predicate", "object"),
}
"""The parts of a scene that are lists, and what an item of each may have; the earlier ones are looked for first."""
NEEDED = {**CONTAINERS, "texts": ("text",), "objects": ("category",)}
"""Without these parts a container is none."""
PLAIN = ("image", "image_id", "file_name", "width", "height", "url", "licence", CAPTIONS)
ROLES = (*PLAIN, *(f"{container}.{part}" for container, parts in CONTAINERS.items() for part in parts))
_NO_LETTER = re.compile(r"[^a-z]+")


@cache
def _known_names() -> dict[str, list[str]]:
    """The usual names of each role's column, without anything but letters; the likeliest first."""
    return tomllib.loads(files("comvint_hf.sources").joinpath("columns.toml").read_text(encoding="utf-8"))


def resolve(row: Any, path: str) -> Any:
    """Follow a path into a row; through a list it gives the list of what it finds in each item.

    >>> resolve({"objects": [{"bbox": [1, 2, 3, 4]}]}, "objects.bbox"), resolve({"a": {"b": 5}}, "a.b"), resolve({}, "a.b")
    ([[1, 2, 3, 4]], 5, None)
    """
    if isinstance(row, list):
        return [resolve(item, path) for item in row]
    if not isinstance(row, Mapping):
        return None
    if path in row:
        return row[path]
    key, _, rest = path.partition(".")
    return resolve(row[key], rest) if rest and key in row else None


def read_items(row: Row, paths: Paths, container: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a container, such as `{"bbox": [1, 2, 3, 4], "category": "dog"}`.

    One value alone is one item; one box or one question beside several texts belongs to each of them.

    >>> list(read_items({"words": ["stop", "go"], "box": [1, 2, 3, 4]}, {"texts.text": "words", "texts.bbox": "box"}, "texts"))
    [{'text': 'stop', 'bbox': [1, 2, 3, 4]}, {'text': 'go', 'bbox': [1, 2, 3, 4]}]
    """
    columns = {}
    for role, path in paths.items():
        if role.startswith(f"{container}.") and (value := resolve(row, path)) is not None:
            columns[role.rpartition(".")[2]] = (value, _is_single(role, value))
    lengths = [len(value) for value, single in columns.values() if not single]
    for number in range(max(lengths, default=min(len(columns), 1))):
        item = {
            part: value if single else value[number] if number < len(value) else None for part, (value, single) in columns.items()
        }
        if any(value is not None for value in item.values()):
            yield item


def parse_columns(text: str) -> Paths:
    """Parse a mapping of the user's, `ROLE=PATH` joined by semicolons.

    Raises:
        SourceError: For an unknown role or another form.

    >>> parse_columns("objects.bbox=annotations.box;caption=text")
    {'objects.bbox': 'annotations.box', 'caption': 'text'}
    """
    paths = {}
    for pair in filter(None, text.split(";")):
        role, equals, path = pair.partition("=")
        if role not in ROLES or not equals:
            raise SourceError(f"columns={pair} names no part of a scene: expected ROLE=COLUMN, where ROLE is {', '.join(ROLES)}.")
        paths[role] = path
    return paths


def find_columns(rows: Sequence[Row], given: Paths) -> Paths:
    """Find the path of every role in a sample of rows. What the user gave goes first; an empty path leaves a role out.

    Raises:
        SourceError: If a column that the user names is in no row.
    """
    columns = _columns_of(rows)
    for path in filter(None, given.values()):
        if rows and all(resolve(row, path) is None for row in rows):
            raise SourceError(f"There is no value in the column {path!r}: the columns are {', '.join(columns)}.")
    found = dict(given)
    for container in CONTAINERS:
        if not any(role.startswith(f"{container}.") for role in given):
            parts = _find_container(rows, container)
            # Words beside boxes look like labels beside boxes: the first container to claim a column keeps it.
            found |= {} if set(parts.values()) & set(found.values()) else parts
    for role in PLAIN:
        if role not in given and (path := _find(rows, columns, role, role)) and path not in found.values():
            found[role] = path
    return {role: path for role, path in found.items() if path}


def _find_container(rows: Sequence[Row], container: str) -> Paths:
    """The paths of a container's parts: in a column of its own, else in columns of lists side by side."""
    columns = _columns_of(rows)
    for column in _named(columns, container):
        inner = _columns_of(resolve(row, column) for row in rows)
        if parts := _find_parts(rows, inner, container, container, column):
            return parts
    parts = _find_parts(rows, columns, container, f"side.{container}")
    if parts and all(_lengths_agree(row, parts) for row in rows):
        return parts
    # Words of a picture may come without boxes, as a plain list.
    words = [column for column in _named(columns, "texts") if container == "texts" and _check_form(rows, column, "texts.text")]
    return {"texts.text": words[0]} if words else {}


def _find_parts(rows: Sequence[Row], columns: Iterable[str], container: str, names: str, inside: str = "") -> Paths:
    """The paths of a container's parts among some columns; empty unless all that it needs are there."""
    parts = {part: _find(rows, columns, f"{names}.{part}", part, inside) for part in CONTAINERS[container]}
    complete = all(parts[part] for part in NEEDED[container])
    return {f"{container}.{part}": path for part, path in parts.items() if path} if complete else {}


def _lengths_agree(row: Row, parts: Paths) -> bool:
    """Whether columns side by side are one list: as many items in each, or one box for all."""
    values = [value for role, path in parts.items() if (value := resolve(row, path)) is not None and not _is_single(role, value)]
    return len({len(value) for value in values}) <= 1


def _is_single(role: str, value: Any) -> bool:
    # One box is a list of numbers, a list of boxes a list of lists.
    return not isinstance(value, list) or (role.endswith("bbox") and _is_box(value))


def _find(rows: Sequence[Row], columns: Iterable[str], names: str, part: str, inside: str = "") -> str:
    """The path of the first column with a usual name whose values have the form of this part; "" if there is none."""
    for column in _named(columns, names):
        path = f"{inside}.{column}" if inside else column
        if _check_form(rows, path, names):
            return path
    return ""


def _named(columns: Iterable[str], names: str) -> list[str]:
    """The columns that have one of the usual names of a role, the likeliest name first."""
    simple = {column: _NO_LETTER.sub("", column.lower()) for column in columns}
    return [column for name in _known_names().get(names, []) for column, letters in simple.items() if letters == name]


def _columns_of(rows: Iterable[Any]) -> list[str]:
    """The keys of rows, or of the records in lists of them, in order."""
    found: dict[str, None] = {}
    for row in rows:
        for record in row if isinstance(row, list) else [row]:
            if isinstance(record, Mapping):
                found.update(dict.fromkeys(record))
    return list(found)


def _check_form(rows: Sequence[Row], path: str, names: str) -> bool:
    """Whether the first value of a column has the form that the role asks for."""
    value = next((found for row in rows if (found := _first(resolve(row, path), names)) is not None), None)
    check = _FORMS.get(names.rpartition(".")[2])
    return value is not None and (check is None or check(value))


def _first(value: Any, names: str) -> Any:
    """The first item of a list, or the value itself; a box is no list of items."""
    if names.endswith("bbox"):
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = value[0]
        return value or None
    return next((item for item in value if item is not None), None) if isinstance(value, list) else value


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 4 and all(isinstance(n, int | float) and not isinstance(n, bool) for n in value)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, Mapping) and any(isinstance(inner, str | list) for inner in value.values())
    )


_FORMS: dict[str, Callable[[Any], bool]] = {
    "image": lambda value: isinstance(value, bytes) or (isinstance(value, Mapping) and bool({"bytes", "path"} & value.keys())),
    "bbox": _is_box,
    "category": lambda value: isinstance(value, str | int),
    CAPTIONS: _is_text,
    "text": lambda value: isinstance(value, str),
    "question": lambda value: isinstance(value, str),
    "answer": lambda value: isinstance(value, str | int) or _is_text(value),
    "predicate": lambda value: isinstance(value, str),
    "width": lambda value: isinstance(value, int | float) and value > 0,
    "height": lambda value: isinstance(value, int | float) and value > 0,
}
