"""Assign images to splits: always by image, so that no image is both trained on and tested with."""

from __future__ import annotations

import hashlib

from comvint_hf import registry
from comvint_hf.types import Scene

TEST_SHARE = 0.1
TRAIN, TEST = "train", "test"


def assign_split(scene: Scene, share: float | None = None) -> str:
    """Assign a scene to "train" or "test", from its id alone.

    Args:
        scene: The scene.
        share: The share of images to hold out by a hash of the id; `None` for the official test images of the source (SVIT's
            10,808 for Visual Genome), or 10 % where it declares none.
    """
    declared = registry.sources.find(scene.source)
    if share is None and declared and declared.test_ids:
        return TEST if scene.id.rpartition("/")[2] in declared.test_ids() else TRAIN
    # An image that a dataset gives twice has two ids and one split.
    return TEST if hash_fraction(scene.meta.get("split_id", scene.id)) < (TEST_SHARE if share is None else share) else TRAIN


def hash_fraction(text: str, salt: str = "") -> float:
    """Hash a text to a number in [0, 1), the same on every machine.

    >>> hash_fraction("coco/139") == hash_fraction("coco/139")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{salt}{text}".encode()).digest()[:8], "big") / 2**64
