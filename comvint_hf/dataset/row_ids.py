"""Keep the ids of rows apart: one id with one text is a repetition, one id with another text is another row."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any


class RowIds:
    """The ids that were taken. Memory is about 120 bytes a row, whatever the length of its text."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()
        self._contents: set[bytes] = set()

    def take(self, row: dict[str, Any]) -> str | None:
        """Return the id under which a row is to be kept, its own or one made different ("9-2"); `None` for a repetition."""
        id = row["id"]
        content = _hash(json.dumps([id, row.get("image_id"), row.get("messages")], ensure_ascii=True, default=str))
        if content in self._contents:
            return None
        self._contents.add(content)
        number = 1
        while (key := _hash(id if number == 1 else f"{id}-{number}")) in self._ids:
            number += 1
        self._ids.add(key)
        return id if number == 1 else f"{id}-{number}"


def _hash(text: str) -> bytes:
    """A short stand-in in memory, the same in every process."""
    return blake2b(text.encode(errors="replace"), digest_size=12).digest()
