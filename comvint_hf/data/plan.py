"""The plan of a build: all that decides a dataset's bytes, and the folder that holds one plan and no other.

This file knows values and a folder; it knows no recipe, no source and no language model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from comvint_hf.data import shards
from comvint_hf.data.splits import split_of
from comvint_hf.errors import InputError
from comvint_hf.records import Scene

Pictures = bool | Literal["table"]
"""`True`: each row holds its photo; "table": photos lie in the config `images`; `False`: photos are left out."""


@dataclass(frozen=True)
class Plan:
    """What a build is made of. `prompts` maps names to hashes, `licence` has name, text and share_images.

    `asking` is what else decides the replies of the language models: temperature and the like.
    """

    version: str
    recipe: str
    settings: dict[str, Any]
    prompts: dict[str, str]
    generator: str
    judge: str
    scenes: str
    source: str
    licence: dict[str, Any]
    limit: int | None
    seed: int
    shard_scenes: int
    images: Pictures
    split: float | None
    asking: dict[str, Any]

    def __post_init__(self) -> None:
        if self.shard_scenes < 1:
            raise InputError(f"shard_scenes is {self.shard_scenes}: expected at least one scene a shard.")
        if self.split is not None and not 0 <= self.split < 1:
            raise InputError(f"split is {self.split}: expected the share of images to hold out, at least 0 and below 1.")
        if self.images not in (True, False, "table"):
            raise InputError(f"images is {self.images!r}: expected True, False or 'table'.")

    def split_of(self, scene: Scene) -> str:
        """The split of a scene under this plan."""
        return split_of(scene, self.split)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON gives it back: tuples have become lists."""
        return json.loads(json.dumps(vars(self)))


@contextmanager
def hold(out: Path, plan: dict[str, Any], overwrite: bool = False) -> Iterator[None]:
    """Hold the folder for this process alone, and make sure that it holds this plan (as JSON) or nothing.

    Raises `InputError` if another process builds there, or if it holds another plan's rows and `overwrite` is not set. The
    hold ends with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    state = out / shards.STATE
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"Another build is writing to {out}; wait for it, or choose another --out.") from error
    try:
        if overwrite:
            shards.clear(out)
        _claim(out, plan)
        yield
    finally:
        lock.release()


def _claim(out: Path, ours: dict[str, Any]) -> None:
    path = out / shards.STATE / "plan.json"
    if not path.exists():
        if (out / "README.md").exists() or any(out.glob("*/**/*.parquet")):
            raise InputError(f"{out} holds a dataset that this build did not begin; choose another --out, or add --overwrite.")
        shards.write_atomically(path, json.dumps(ours, indent=2, sort_keys=True) + "\n")
        return
    theirs = json.loads(path.read_text(encoding="utf-8"))
    for name in {**theirs, **ours}:
        if theirs.get(name) != ours.get(name):
            raise InputError(
                f"{out} holds another build: its {name} is {theirs.get(name)!r}, this one's is {ours.get(name)!r}; "
                "choose another --out, or add --overwrite to delete the old one."
            )
