"""Splits: by image, stable, of the right size, official where there is an official list."""

from __future__ import annotations

import hashlib

from comvint_hf.dataset.splits import assign_split
from comvint_hf.sources.visual_genome import official_test_ids
from comvint_hf.types import Scene


def scene(id: str, source: str = "coco") -> Scene:
    return Scene(id=id, source=source, width=1, height=1)


def test_a_tenth_is_held_out_and_it_never_changes() -> None:
    splits = [assign_split(scene(f"coco/{number}")) for number in range(5000)]
    assert 0.085 < splits.count("test") / 5000 < 0.115
    assert hashlib.sha256("".join(one[1] for one in splits).encode()).hexdigest()[:12] == "811538b91d43"


def test_a_larger_share_holds_out_all_that_a_smaller_one_did() -> None:
    scenes = [scene(f"flickr30k/{number}", "flickr30k") for number in range(500)]
    held = [{one.id for one in scenes if assign_split(one, share) == "test"} for share in (0, 0.1, 0.3)]
    assert held[0] == set() and held[1] < held[2]


def test_visual_genome_uses_the_official_list(shared) -> None:
    official = (shared / "instruction" / "svit" / "test_image_ids.txt").read_text().split()
    assert official_test_ids() == set(official) and len(official) == 10_808
    assert assign_split(scene(f"visual_genome/{official[0]}", "visual_genome")) == "test"
    assert assign_split(scene("visual_genome/1", "visual_genome")) == "train"
    assert assign_split(scene(f"visual_genome/{official[0]}", "visual_genome"), 0.0) == "train"
