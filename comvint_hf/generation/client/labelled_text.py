"""Parses "Question: ... Answer: ..." text into the fields of a reply type.

Small models without structured output answer like this. Labels are the field names of the reply type (and Q and A), at the
start of a line in any markup ("**Question 2:**", "3. Answer:") or, capitalised, inside one.
"""

from __future__ import annotations

import re
import types
from collections import deque
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

_ALIASES = {"q": "question", "a": "answer"}
_LIST_SEPARATOR = re.compile(r"\s*[,;\n]\s*")


def parse_labelled_text(text: str, model: type[BaseModel]) -> dict[str, Any] | None:
    """Parse labelled values into the nesting of `model`, without validating them; `None` for a text without its labels.

    >>> class QA(BaseModel):
    ...     question: str
    ...     answer: str
    >>> parse_labelled_text("Question: What is red? Answer: The cup.", QA)
    {'question': 'What is red?', 'answer': 'The cup.'}
    """
    found = list(_label_pattern(model).finditer(text))
    if not found:
        return None
    ends = [match.start() for match in found[1:]] + [len(text)]
    values = deque(
        (_label_name(match), text[match.end() : end].strip().strip("*").strip()) for match, end in zip(found, ends, strict=True)
    )
    return _fill_fields(model, values, frozenset())


@cache
def _label_pattern(model: type[BaseModel]) -> re.Pattern[str]:
    leaves = _leaf_names(model)
    names = {name.replace("_", "[ _]") for name in leaves} | {alias for alias, name in _ALIASES.items() if name in leaves}
    # The longest first, or a short name would match the beginning of a longer one.
    ordered = sorted(names, key=len, reverse=True)
    inside = "|".join(name[0].upper() + name[1:] for name in ordered)
    # Possessive, because thousands of stars or blanks would be tried in all their splits.
    tail = r"(?:\s*+#?\s*+\d++)?[*_]*+\s*+:[*_]*+[ \t]*+"
    return re.compile(
        rf"^[ \t>#*_\-•]*+(?:\d++[.)]\s*+)?[*_]*+(?P<start>(?i:{'|'.join(ordered)})){tail}"
        rf"|(?<=\s)[*_]*+(?P<inside>{inside}){tail}",
        re.MULTILINE,
    )


def _label_name(match: re.Match[str]) -> str:
    label = (match["start"] or match["inside"]).lower().replace(" ", "_")
    return _ALIASES.get(label, label)


def _fill_fields(model: type[BaseModel], values: deque[tuple[str, str]], outer: frozenset[str]) -> dict[str, Any]:
    """Consume values in field order; `outer` labels begin the next item of a list around this model.

    A missing value is left out, so that validation names it.
    """
    filled: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner, is_list = _unwrap_type(field.annotation)
        if is_list and _is_model(inner):
            first = _first_labels(inner) - outer
            items = filled[name] = []
            left = -1
            while values and values[0][0] in first and len(values) != left:
                left = len(values)
                items.append(_fill_fields(inner, values, outer | _first_labels(model)))
        elif _is_model(inner):
            filled[name] = _fill_fields(inner, values, outer)
        elif values and values[0][0] == name and not (name in outer and not field.is_required()):
            value = values.popleft()[1]
            filled[name] = [part.strip("[]") for part in _LIST_SEPARATOR.split(value) if part] if is_list else value
    return filled


def _first_labels(model: type[BaseModel]) -> frozenset[str]:
    """The labels that may begin a model: its first required value, or an optional one before it."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner, _ = _unwrap_type(field.annotation)
        names += _first_labels(inner) if _is_model(inner) else [name]
        if field.is_required():
            break
    return frozenset(names)


def _leaf_names(model: type[BaseModel]) -> dict[str, None]:
    """The names of fields with values, depth first, each once."""
    names: dict[str, None] = {}
    for name, field in model.model_fields.items():
        inner, _ = _unwrap_type(field.annotation)
        names |= _leaf_names(inner) if _is_model(inner) else {name: None}
    return names


def _unwrap_type(annotation: Any) -> tuple[Any, bool]:
    """The type inside a list, a tuple or an optional, and whether it was a list or a tuple."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _unwrap_type(next(option for option in get_args(annotation) if option is not type(None)))
    if origin in (list, tuple):
        return get_args(annotation)[0], True
    return annotation, False


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
