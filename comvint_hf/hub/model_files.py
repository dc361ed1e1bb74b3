"""What of a tuned model's folder leaves this machine: its own files, in which no folder of this machine is named.

The folder itself stays as it is, so that it still works here. This file knows a model's files; it knows no Hub.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from comvint_hf.conventions import FILE

ADAPTER = "adapter_config.json"
PICKLES = (".bin", ".pt", ".pth", ".pkl")
"""Files that nobody should have to trust; they stay here."""
NAMED = ("LICENSE", "NOTICE")
SENT = (".safetensors", ".json", ".md", ".txt", ".model", ".bpe", ".tiktoken", ".jinja")
"""Of these names and endings are a model's files, its processor's and its card; logs and answers that lie beside them are nobody's business."""
VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")
"""JSON in which a slash is part of a word."""
BASES = {FILE: ("base_model", "base_revision"), ADAPTER: ("base_model_name_or_path", "revision")}
"""Which files name the base model, under which keys."""
LONGEST = 250
"""Longer than this no name of a file is."""
RELATIVE = re.compile(r"[\w.][^\n]*/[^\n]*\w[^\n]*")
PLACE = re.compile(r"(?:/|~[/\\]|[A-Za-z]:[/\\])\w[^\n]*[/\\][^\n]*")


def hub_name(name: str | None, near: Path | None = None) -> str | None:
    """The name if it can be one on the Hub; a folder of somebody's machine is nobody's business.

    A relative path is known by what lies there: seen from here, or from a folder above `near`.

    >>> hub_name("org/model"), hub_name("build/demo/base"), hub_name("/data/model")
    ('org/model', None, None)
    """
    if not name or name.count("/") != 1 or name.startswith(("/", ".", "~")):
        return None
    return None if _stands(name, near) else name


def _stands(name: str, near: Path | None) -> bool:
    """Whether something of this name lies here, or in a folder above `near`."""
    places = (Path(), *(near.resolve().parents if near else ()))
    return len(name) < LONGEST and any((place / name).exists() for place in places)


def last(name: str | None, near: Path | None = None) -> str:
    """A name on the Hub as it is, a folder without its place.

    >>> last("org/model"), last("/data/model"), last(None)
    ('org/model', 'model', '')
    """
    return hub_name(name, near) or re.split(r"[/\\]", (name or "").rstrip("/\\"))[-1]


def portable(folder: Path, base: str | None = None) -> dict[str, Path | bytes]:
    """The files at the top of a model's folder by name, as others should get them: as they are, or what to send instead.

    `base` is the base model's name on the Hub, if it is not what the folder says. A base that is on no Hub is not named.
    """
    kept: dict[str, Path | bytes] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and (path.suffix in SENT or path.name in NAMED):
            kept[path.name] = _told(path, base) if _tells(path.name) else path
    return kept


def _tells(name: str) -> bool:
    return name.endswith(".json") and not name.endswith(".index.json") and name not in VOCABULARIES


def _told(path: Path, base: str | None) -> Path | bytes:
    before = json.loads(path.read_text(encoding="utf-8"))
    after = _without_places(before, path.parent)
    if path.name in BASES:
        name, revision = BASES[path.name]
        after[name] = base or hub_name(before.get(name), path.parent)
        after[revision] = before.get(revision) if after[name] == before.get(name) else None
    if path.name == FILE:
        after["dataset"] = last(before.get("dataset"), path.parent) or None
    return path if after == before else (json.dumps(after, indent=2, ensure_ascii=False) + "\n").encode()


def _without_places(value: Any, near: Path) -> Any:
    """JSON in which each folder or file of this machine keeps only its own name."""
    if isinstance(value, dict):
        return {key: _without_places(inner, near) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_places(inner, near) for inner in value]
    return last(value, near) if isinstance(value, str) and _is_place(value, near) else value


def _is_place(text: str, near: Path) -> bool:
    return bool(PLACE.fullmatch(text)) or bool(RELATIVE.fullmatch(text)) and _stands(text, near)
