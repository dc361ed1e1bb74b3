"""Narrows the JSON schema of a reply type for one prompt, and says where a value breaks a schema. It knows no scene.

>>> narrow({"properties": {"topic": {"type": "string"}}}, {"topic": {"enum": ["size", "count"]}})
{'properties': {'topic': {'type': 'string', 'enum': ['size', 'count']}}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Keywords = Mapping[str, Any]
Form = Mapping[str, Keywords]
"""Keywords by field name. Beside those of JSON Schema, `variants` is a list of forms, of which each item of a list fills one, and
`drop` the names of properties that are not asked for."""
CONSTRAINTS = ("pattern", "minLength", "maxLength", "minItems", "maxItems")
"""Keywords that some endpoints refuse."""


def narrow(schema: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Merge the form's keywords into every property of its fields' names; the given schema is not changed."""
    root = dict(schema)
    narrowed = _narrow(root, form, root)
    used = json.dumps(narrowed)
    if "$defs" in narrowed:
        narrowed["$defs"] = {name: part for name, part in narrowed["$defs"].items() if f'"#/$defs/{name}"' in used}
    return {name: part for name, part in narrowed.items() if part != {} or name != "$defs"}


def _narrow(part: Any, form: Form, root: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_narrow(item, form, root) for item in part]
    if not isinstance(part, dict):
        return part
    narrowed = {name: _narrow(value, form, root) for name, value in part.items() if name != "properties"}
    if isinstance(part.get("properties"), dict):
        inner = {name: _narrow(value, form, root) for name, value in part["properties"].items()}
        narrowed["properties"] = {name: _merge(value, form.get(name, {}), form, root) for name, value in inner.items()}
    # In the order of the given schema, which a model writes its reply in.
    return {name: narrowed[name] for name in part}


def _merge(part: dict[str, Any], keywords: Keywords, form: Form, root: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(part)
    for name, value in keywords.items():
        if name == "variants":
            item = _resolve(part["items"], root)
            merged["items"] = {"anyOf": [_narrow(item, {**form, **variant}, root) for variant in value]}
        elif name == "items":
            item = _narrow(_resolve(part["items"], root), form, root) if "drop" in value else part["items"]
            merged["items"] = _merge(item, value, form, root)
        elif name == "drop":
            merged["properties"] = {field: one for field, one in part["properties"].items() if field not in value}
            merged["required"] = [field for field in part.get("required", ()) if field not in value]
        else:
            merged[name] = value
    return merged


def _resolve(part: dict[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    return root["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part


def counts_only(form: Form) -> Form:
    """Return the form without values, patterns and lengths: how many of what, for a short description."""
    return {name: _counts_only(keywords) for name, keywords in form.items()}


def _counts_only(keywords: Keywords) -> dict[str, Any]:
    kept = {name: value for name, value in keywords.items() if name in ("minItems", "maxItems", "drop")}
    return {**kept, "items": _counts_only(keywords["items"])} if "drop" in keywords.get("items", ()) else kept


def find_violation(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, at: str = "") -> str | None:
    """Return the first place where a value is not what its schema says, in words, or `None`.

    It knows the keywords that `narrow` and pydantic write, and no others.

    >>> find_violation({"a": []}, {"type": "object", "properties": {"a": {"type": "array", "items": {}, "minItems": 2}}})
    'a: 0 items, expected 2 or more'
    """
    root = schema if root is None else root
    schema = _resolve(dict(schema), root)
    if "anyOf" in schema:
        found = [find_violation(value, option, root, at) for option in schema["anyOf"]]
        return None if None in found else found[-1]
    if isinstance(value, dict) and "properties" in schema:
        missing = [name for name in schema.get("required", ()) if name not in value]
        if missing:
            return f"{at}{missing[0]}: it is missing"
        known = ((name, part) for name, part in schema["properties"].items() if name in value)
        return _first(find_violation(value[name], part, root, f"{at}{name}: ") for name, part in known)
    if isinstance(value, list):
        if problem := _check_count(len(value), schema, at):
            return problem
        return _first(find_violation(item, schema.get("items", {}), root, at) for item in value)
    return _check_value(value, schema, at)


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem), None)


def _check_count(count: int, schema: Mapping[str, Any], at: str) -> str | None:
    if count < schema.get("minItems", 0):
        return f"{at}{count} items, expected {schema['minItems']} or more"
    if count > schema.get("maxItems", count):
        return f"{at}{count} items, expected at most {schema['maxItems']}"
    return None


_TYPES: Mapping[str, tuple[type, ...]] = {"string": (str,), "object": (dict,), "array": (list,), "boolean": (bool,)}


def _check_value(value: Any, schema: Mapping[str, Any], at: str) -> str | None:
    shown = json.dumps(value, ensure_ascii=False)[:60]
    kind = schema.get("type")
    if isinstance(kind, str) and not isinstance(value, _TYPES.get(kind, (object,))):
        return f"{at}{shown}, expected a JSON {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at}{shown} is none of {_list(schema['enum'])}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{at}{shown} has not the form that was asked for"
    return None


def _list(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
