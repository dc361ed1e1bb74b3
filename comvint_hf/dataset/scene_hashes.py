"""Hashes of what shards were built from: each scene's annotations, and its photo where rows hold it.

A marker keeps them, so that a later run notices that an annotation or a photo has changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.errors import ImageError
from comvint_hf.images import read_checked
from comvint_hf.types import Scene

DIGITS = 16
"""Hexadecimal digits of one hash."""
NOT_READ = "-" * DIGITS
"""In place of a photo's hash where no row needed the photo, and where a function renders it from the scene."""
_OWN_FIELDS = {"image", "meta"}


@dataclass
class SceneHashes:
    """The hashes of a shard's scenes, in order."""

    annotations: list[str] = field(default_factory=list)
    photos: list[str] = field(default_factory=list)

    def add(self, scene: Scene, photo: str) -> None:
        """Add a scene, and the hash of its photo or `NOT_READ`."""
        self.annotations.append(hash_annotations(scene))
        self.photos.append(photo)

    def to_json(self) -> dict[str, str]:
        """Return what a marker stores."""
        return {"annotations": "".join(self.annotations), "photos": "".join(self.photos)}


def hash_annotations(scene: Scene) -> str:
    """Hash everything that a scene holds except its image."""
    try:
        known = scene.__pydantic_serializer__.to_json(scene, exclude=_OWN_FIELDS, warnings=False)
    except ValueError:  # a lone surrogate, which JSON writes as an escape
        known = json.dumps(scene.model_dump(exclude=_OWN_FIELDS, warnings=False), default=_stable_text).encode()
    meta = json.dumps(scene.meta, skipkeys=True, default=_stable_text)
    return hashlib.sha256(known + meta.encode()).hexdigest()[:DIGITS]


def _stable_text(value: Any) -> Any:
    """A text for a value of a source's own kind that is the same in every process: sets have no order, objects an address."""
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else type(value).__name__


def hash_photo(scene: Scene, encoded: bytes | None) -> str:
    """Hash the photo that was read for a scene; `None` for one that is missing or cannot be used."""
    if callable(scene.image):
        return NOT_READ
    return hashlib.sha256(encoded or b"").hexdigest()[:DIGITS]


def _hash_photo_now(scene: Scene, stored: str) -> str:
    unusable = hash_photo(scene, None)
    try:
        return hash_photo(scene, read_checked(scene)[0] if stored == unusable or scene.image is None else scene.image_bytes())
    except (ImageError, OSError):
        return unusable


def find_change(marker: Mapping[str, Any], scenes: Iterable[Scene], check_photos: bool = True) -> tuple[int, str]:
    """Compare scenes with those that a shard was built from.

    Args:
        marker: The shard's marker; one of an older version has no hashes and is not compared.
        scenes: All scenes of the shard.
        check_photos: Whether photos are read too.

    Returns:
        The number of scenes, and a description of the first that changed, "" if none did.
    """
    annotations, photos = _split(marker.get("annotations")), _split(marker.get("photos"))
    changed, number = "", -1
    for number, scene in enumerate(scenes):
        if changed:
            continue
        if number < len(annotations) and hash_annotations(scene) != annotations[number]:
            changed = f"the annotations of {scene.id}"
        elif check_photos and number < len(photos) and photos[number] != NOT_READ:
            changed = f"the image of {scene.id}" if _hash_photo_now(scene, photos[number]) != photos[number] else ""
    return number + 1, changed


def _split(hashes: str | None) -> list[str]:
    return [hashes[start : start + DIGITS] for start in range(0, len(hashes or ""), DIGITS)] if hashes else []
