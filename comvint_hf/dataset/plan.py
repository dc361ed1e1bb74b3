"""The plan of a build: all that decides a dataset's bytes, and the folder that holds one plan and no other.

This file knows values and a folder; it knows no recipe, no source and no language model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from comvint_hf.dataset import shards
from comvint_hf.dataset.splits import split_of
from comvint_hf.errors import InputError
from comvint_hf.types import Scene

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


@dataclass(frozen=True)
class Share:
    """What one of several tasks builds: every shard whose number leaves `rank` when divided by `tasks`.

    Shards that lie finished `elsewhere` are left out.

    >>> [number for number in range(10) if number in Share(1, 4)]
    [1, 5, 9]
    """

    rank: int = 0
    tasks: int = 1
    elsewhere: frozenset[int] = frozenset()

    def __contains__(self, number: int) -> bool:
        return number % self.tasks == self.rank and number not in self.elsewhere


@contextmanager
def hold(out: Path, plan: dict[str, Any], overwrite: bool = False) -> Iterator[None]:
    """Hold the folder for this process alone, and make sure that it holds this plan (as JSON) or nothing.

    Raises `InputError` if another process builds there, if it holds another plan's rows and `overwrite` is not set, or if it
    holds files that no build wrote: these are never overwritten. The hold ends with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    _refuse_foreign(out)
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
        shards.sweep(out)
        claim(out, plan)
        yield
    finally:
        lock.release()


def _refuse_foreign(out: Path) -> None:
    """Raise `InputError` for a folder with a README.md or rows that no build wrote: it is a project, a model, somebody's data."""
    begun = (out / shards.STATE / "plan.json").exists() or (out / "build.json").exists()
    if not begun and ((out / "README.md").exists() or shards.has_rows(out)):
        raise InputError(f"{out} holds files that no build wrote, and they stay as they are; choose another --out.")


def claim(out: Path, ours: dict[str, Any]) -> None:
    """Write the plan down; a plan that made no row yet gives way. Raises `InputError` if the folder holds rows of another."""
    path = out / shards.STATE / "plan.json"
    theirs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    if theirs == ours:
        return
    if not (shards.markers(out) or (out / "README.md").exists() or shards.has_rows(out)):
        shards.write_atomically(path, json.dumps(ours, indent=2, sort_keys=True) + "\n")
        return
    if theirs is None:
        raise InputError(f"{out} holds a dataset that this build did not begin; choose another --out, or add --overwrite.")
    if (difference := _difference(theirs, ours)) is not None:
        kept = "" if "mix" in ours else " (replies that were paid for are kept)"
        raise InputError(f"{out} was made {difference}: choose another --out, or add --overwrite to make it anew{kept}.")


_FLAGS = {
    "scenes": "--scenes",
    "limit": "--limit",
    "seed": "--seed",
    "shard_scenes": "--shard-scenes",
    "images": "--store-images",
    "split": "--split",
    "generator": "--llm",
    "judge": "--judge",
    "mix": "--dataset",
    "only": "--only",
    "coreset": "--coreset",
    "take": "--take",
    "yes_no": "--yes-no",
}
"""Which flag of the builders decides which part of a plan."""
_PHRASES = {
    "version": "by comvint_hf {}, and this is {}",
    "recipe": "with the recipe {}, and this command says {}",
    "prompts": "with prompts of other wordings than this version has",
    "source": "from the source {}, and this command says {}",
    "licence": "when its source came under other terms",
}
_STORED = {True: "rows", False: "none"}


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str | None:
    """The first thing that tells two plans apart, as a person would say it; `None` for equal ones.

    >>> _difference({"limit": 10}, {"limit": None})
    'with --limit 10, and this command says no --limit'
    """
    if ("mix" in theirs) != ("mix" in ours):
        return "as a mix of datasets, and this is a build" if "mix" in theirs else "by a builder, and this is a mix of datasets"
    for name in (name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)):
        old, new = theirs.get(name), ours.get(name)
        if name in ("settings", "asking"):
            old, new = old or {}, new or {}
            key = next(key for key in {**new, **old} if old.get(key) != new.get(key))
            return _between(f"--{key.replace('_', '-')}", old.get(key), new.get(key))
        return _PHRASES[name].format(old, new) if name in _PHRASES else _between(_FLAGS.get(name, name), old, new)
    return None


def _between(flag: str, old: Any, new: Any) -> str:
    return f"with {_said(flag, old)}, and this command says {_said(flag, new)}"


def _said(flag: str, value: Any) -> str:
    if flag == "--store-images":
        value = _STORED.get(value, value)
    if value is None or value is False or value == [] or value == {}:
        return f"no {flag}"
    if isinstance(value, dict):
        value = ",".join(f"{key}={number}" for key, number in value.items())
    return flag if value is True else f"{flag} {','.join(map(str, value)) if isinstance(value, list) else value}"


def shown_source(spec: str) -> str:
    """The source as a card names it: folders of the builder's own machine are nobody's business.

    >>> shown_source("visual_genome:/home/me/vg,coco:/data/coco"), shown_source("shapes:500")
    ('visual_genome:vg,coco:coco', 'shapes:500')
    """
    return re.sub(r":([^,]*[/\\])([^,/\\]+)", r":\2", spec)
