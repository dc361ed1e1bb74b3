"""Reads "Question: ... Answer: ..." text into the fields of a form. It knows field names and text, and no JSON.

Small models without any structured output answer like this. Labels are the form's own field names (and Q and A), at the
start of a line in any dress ("**Question 2:**", "3. Answer:") or, capitalised, inside one.
"""

from __future__ import annotations

import re
import types
from collections import deque
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

_ALIASES = {"q": "question", "a": "answer"}
_LIST_MARKS = re.compile(r"\s*[,;\n]\s*")


def read_labelled(text: str, form: type[BaseModel]) -> dict[str, Any] | None:
    """The labelled values as the form nests them, unchecked; `None` where the text has no label of this form.

    >>> class QA(BaseModel):
    ...     question: str
    ...     answer: str
    >>> read_labelled("Question: What is red? Answer: The cup.", QA)
    {'question': 'What is red?', 'answer': 'The cup.'}
    """
    found = list(_labels(form).finditer(text))
    if not found:
        return None
    ends = [match.start() for match in found[1:]] + [len(text)]
    values = deque(
        (_name(match), text[match.end() : end].strip().strip("*").strip()) for match, end in zip(found, ends, strict=True)
    )
    return _fill(form, values, frozenset())


@cache
def _labels(form: type[BaseModel]) -> re.Pattern[str]:
    leaves = _leaves(form)
    names = {name.replace("_", "[ _]") for name in leaves} | {alias for alias, name in _ALIASES.items() if name in leaves}
    ordered = sorted(names, key=len, reverse=True)
    inside = "|".join(name[0].upper() + name[1:] for name in ordered)
    tail = r"(?:\s*#?\s*\d+)?[*_]*\s*:[*_]*[ \t]*"
    return re.compile(
        rf"^[ \t>#*_\-•]*(?:\d+[.)]\s*)?[*_]*(?P<start>(?i:{'|'.join(ordered)})){tail}|(?<=\s)[*_]*(?P<inside>{inside}){tail}",
        re.MULTILINE,
    )


def _name(match: re.Match[str]) -> str:
    label = (match["start"] or match["inside"]).lower().replace(" ", "_")
    return _ALIASES.get(label, label)


def _fill(form: type[BaseModel], values: deque[tuple[str, str]], outer: frozenset[str]) -> dict[str, Any]:
    """Take the values in the order of the form's fields; `outer` labels begin the next item of a list around this form.

    A missing value is left for validation to name.
    """
    filled: dict[str, Any] = {}
    for name, field in form.model_fields.items():
        inner, many = _unfolded(field.annotation)
        if many and _is_form(inner):
            opening = _opening(inner) - outer
            items = filled[name] = []
            while values and values[0][0] in opening:
                items.append(_fill(inner, values, outer | _opening(form)))
        elif _is_form(inner):
            filled[name] = _fill(inner, values, outer)
        elif values and values[0][0] == name and not (name in outer and not field.is_required()):
            value = values.popleft()[1]
            filled[name] = [part.strip("[]") for part in _LIST_MARKS.split(value) if part] if many else value
    return filled


def _opening(form: type[BaseModel]) -> frozenset[str]:
    """The labels that a form of this type may begin with: its first required value, or an optional one before it."""
    names: list[str] = []
    for name, field in form.model_fields.items():
        inner, _ = _unfolded(field.annotation)
        names += _opening(inner) if _is_form(inner) else [name]
        if field.is_required():
            break
    return frozenset(names)


def _leaves(form: type[BaseModel]) -> dict[str, None]:
    """The names that carry values, depth first, each once."""
    names: dict[str, None] = {}
    for name, field in form.model_fields.items():
        inner, _ = _unfolded(field.annotation)
        names |= _leaves(inner) if _is_form(inner) else {name: None}
    return names


def _unfolded(annotation: Any) -> tuple[Any, bool]:
    """The type inside a list, a tuple or an optional, and whether there are many of it."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _unfolded(next(option for option in get_args(annotation) if option is not type(None)))
    if origin in (list, tuple):
        return get_args(annotation)[0], True
    return annotation, False


def _is_form(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
