"""Text of other people's files in our cards: checked, cleaned and bounded when read, escaped when rendered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import redact

MAX_CHARACTERS = 1000
"""Most characters of one text in a card."""
MAX_ENTRIES, MAX_DEPTH = 200, 4
_TEXTS = ("scenes", "source", "recipe", "generator", "judge", "version")
_MAPPINGS = ("settings", "asking", "prompts")
_MARKUP = re.compile(r"([\\`<>\[\]&])")
_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)


def escape_markdown(text: str) -> str:
    """Escape a text for Markdown, so that it shows as it is: no HTML, links, images or code, in one line.

    >>> print(escape_markdown("a_b <img src=x> [free](https://evil)"))
    a_b \\<img src=x\\> \\[free\\](https: //evil)
    """
    text = one_line(text)
    return _MARKUP.sub(r"\\\1", _LINK.sub(lambda found: found[0].replace("://", ": //").replace(".", " ."), text))


def escape_code(text: str) -> str:
    """Clean a text for code between backticks, in which no escape works."""
    return one_line(text).replace("`", "'")


def one_line(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Clean and bound a text, in one line, for YAML and titles."""
    return " ".join(redact(text, max_characters).split())


def map_text(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """Change every text in a JSON value, and drop what is nested deeper or longer than cards show."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_ENTRIES] if depth < MAX_DEPTH else []
        return {change(str(key)): map_text(entry, change, depth + 1) for key, entry in items}
    if isinstance(value, list | tuple):
        return [map_text(entry, change, depth + 1) for entry in value[:MAX_ENTRIES]] if depth < MAX_DEPTH else []
    return value


def _clean(text: str) -> str:
    return redact(text, MAX_CHARACTERS)


def clean_parts(parts: list[Any], path: Path) -> list[dict[str, Any]]:
    """Check and clean the parts of a build.json, which may be of somebody else.

    Raises:
        InputError: For a part without a field that every build writes, or with a value of another type.
    """
    return [_clean_part(part, path) for part in parts[:MAX_ENTRIES]]


def _clean_part(part: Any, path: Path) -> dict[str, Any]:
    part = part if isinstance(part, dict) else {}
    licence = part.get("licence")
    good = (
        all(isinstance(part.get(name), str) for name in _TEXTS)
        and all(isinstance(part.get(name), dict) for name in _MAPPINGS)
        and isinstance(licence, dict)
        and all(isinstance(licence.get(name), str) for name in ("name", "text"))
        and isinstance(licence.get("share_images"), bool)
        and isinstance(part.get("citations", []), list)
        and all(isinstance(text, str) for text in [*part.get("citations", []), part.get("recipe_licence", "")])
        and all(isinstance(text, str) for text in part["prompts"].values())
    )
    if not good:
        raise InputError(f"{path} describes a part of its dataset in another form than builds write: build it anew.")
    return map_text(part, _clean)
