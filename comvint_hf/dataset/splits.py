"""Which split an image belongs to: always by image, so that no photo is both trained on and tested with.

This file knows scenes; it knows no row and no file of a dataset.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from comvint_hf.types import Scene

TEST_SHARE = 0.1
TRAIN, TEST = "train", "test"


def split_of(scene: Scene, share: float | None = None) -> str:
    """Say "train" or "test" for a scene, from its id alone.

    `share` is the part of the images to hold out; `None` means the house's rule: SVIT's official test images for Visual
    Genome (10,808 ids), and 10 % by a hash for every other source.
    """
    if share is None and scene.source == "visual_genome":
        return TEST if scene.id.rpartition("/")[2] in official_test_ids() else TRAIN
    return TEST if fraction(scene.id) < (TEST_SHARE if share is None else share) else TRAIN


def fraction(text: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on the text only, the same on every machine.

    >>> fraction("coco/139") == fraction("coco/139")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{salt}{text}".encode()).digest()[:8], "big") / 2**64


@cache
def official_test_ids() -> frozenset[str]:
    """The Visual Genome image ids that SVIT holds out (MIT; BAAI-DCAI/Visual-Instruction-Tuning, data/test_image_ids.txt)."""
    return frozenset(files("comvint_hf.dataset").joinpath("svit_test_image_ids.txt").read_text().split())
