"""Collect the files of a tuned model for the Hub, without the paths of this machine. The folder itself stays as it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from comvint_hf.conventions import FILE

ADAPTER = "adapter_config.json"
# Pickles can run code when they are loaded, so they are not uploaded.
PICKLES = (".bin", ".pt", ".pth", ".pkl")
UPLOADED_NAMES = ("LICENSE", "NOTICE")
# The files of a model, its processor and its card; logs and answers are not uploaded.
UPLOADED_SUFFIXES = (".safetensors", ".json", ".md", ".txt", ".model", ".bpe", ".tiktoken", ".jinja")
# JSON files in which a slash is part of a token, not of a path.
VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")
# The files that name the base model, with the keys of its name and revision.
BASES = {FILE: ("base_model", "base_revision"), ADAPTER: ("base_model_name_or_path", "revision")}
# A longer text is no file name.
MAX_NAME_LENGTH = 250
RELATIVE_PATH = re.compile(r"[\w.][^\n]*/[^\n]*\w[^\n]*")
ABSOLUTE_PATH = re.compile(r"(?:/|~[/\\]|[A-Za-z]:[/\\])\w[^\n]*[/\\][^\n]*")


def hub_name(name: str | None, near: Path | None = None) -> str | None:
    """Return the name if it can be one on the Hub, and `None` for a folder.

    A name is a relative path if it exists in the working directory or in a folder above `near`.

    >>> hub_name("org/model"), hub_name("build/demo/base"), hub_name("/data/model")
    ('org/model', None, None)
    """
    if not name or name.count("/") != 1 or name.startswith(("/", ".", "~")):
        return None
    return None if _exists(name, near) else name


def _exists(name: str, near: Path | None) -> bool:
    folders = (Path(), *(near.resolve().parents if near else ()))
    return len(name) < MAX_NAME_LENGTH and any((folder / name).exists() for folder in folders)


def short_name(name: str | None, near: Path | None = None) -> str:
    """Shorten a folder to its last part; a name on the Hub stays as it is.

    >>> short_name("org/model"), short_name("/data/model"), short_name(None)
    ('org/model', 'model', '')
    """
    return hub_name(name, near) or re.split(r"[/\\]", (name or "").rstrip("/\\"))[-1]


def collect_files(folder: Path, base: str | None = None) -> dict[str, Path | bytes]:
    """Collect the files of a model's folder that may be uploaded.

    Args:
        folder: The folder; subfolders such as checkpoints are left out.
        base: The base model's name on the Hub, if the folder names another. A base that is on no Hub is not named.

    Returns:
        By name, the path of each file, or other content to upload in its place.
    """
    kept: dict[str, Path | bytes] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and (path.suffix in UPLOADED_SUFFIXES or path.name in UPLOADED_NAMES):
            kept[path.name] = _without_local_paths(path, base) if _can_hold_paths(path.name) else path
    return kept


def _can_hold_paths(name: str) -> bool:
    return name.endswith(".json") and not name.endswith(".index.json") and name not in VOCABULARIES


def _without_local_paths(path: Path, base: str | None) -> Path | bytes:
    before = json.loads(path.read_text(encoding="utf-8"))
    after = _shorten_paths(before, path.parent)
    if path.name in BASES:
        name, revision = BASES[path.name]
        after[name] = base or hub_name(before.get(name), path.parent)
        # A revision belongs to the base that it was recorded for.
        after[revision] = before.get(revision) if after[name] == before.get(name) else None
    if path.name == FILE:
        after["dataset"] = short_name(before.get("dataset"), path.parent) or None
    return path if after == before else (json.dumps(after, indent=2, ensure_ascii=False) + "\n").encode()


def _shorten_paths(value: Any, near: Path) -> Any:
    """Shorten each local path in JSON to its last part."""
    if isinstance(value, dict):
        return {key: _shorten_paths(inner, near) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shorten_paths(inner, near) for inner in value]
    return short_name(value, near) if isinstance(value, str) and _is_path(value, near) else value


def _is_path(text: str, near: Path) -> bool:
    return bool(ABSOLUTE_PATH.fullmatch(text)) or bool(RELATIVE_PATH.fullmatch(text)) and _exists(text, near)
