"""The plan of a build: everything that decides a dataset's bytes, and the lock that keeps one plan in one folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from comvint_hf.dataset import shards
from comvint_hf.dataset import swap_folder as overwriting
from comvint_hf.dataset.splits import assign_split
from comvint_hf.errors import InputError
from comvint_hf.strict_reader import read_json_file
from comvint_hf.types import Scene

# Where images are stored: `True` in each row, "marked" there with the regions of the question drawn, "table" in the config
# `images`, `False` nowhere.
ImageStorage = bool | Literal["table", "marked"]
# Whether to replace a dataset, or to continue with what an earlier call began to write in its place.
Overwrite = bool | Literal["continue"]


@dataclass(frozen=True)
class Plan:
    """The settings of a build.

    Attributes:
        prompts: The hash of each prompt by its name.
        licence: name, text, share_images.
        split: The share of images to hold out; `None` for the source's official split, or 10 %.
        asking: Other settings that change the replies of the language models, such as the temperature.
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
    images: ImageStorage
    split: float | None
    asking: dict[str, Any]

    def __post_init__(self) -> None:
        if self.shard_scenes < 1:
            raise InputError(f"shard_scenes is {self.shard_scenes}: expected at least one scene a shard.")
        if self.split is not None and not 0 <= self.split < 1:
            raise InputError(f"split is {self.split}: expected the share of images to hold out, at least 0 and below 1.")
        if self.images not in (True, False, "table", "marked"):
            raise InputError(f"images is {self.images!r}: expected True, False, 'table' or 'marked'.")

    def assign_split(self, scene: Scene) -> str:
        """Return the split of a scene under this plan."""
        return assign_split(scene, self.split)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as it is stored: tuples become lists."""
        return json.loads(json.dumps(vars(self)))


@dataclass(frozen=True)
class ShardSubset:
    """The shards that one of several workers builds: every `num_workers`-th, without those `finished` elsewhere.

    >>> [number for number in range(10) if number in ShardSubset(1, 4)]
    [1, 5, 9]
    """

    rank: int = 0
    num_workers: int = 1
    finished: frozenset[int] = frozenset()

    def __contains__(self, number: int) -> bool:
        return number % self.num_workers == self.rank and number not in self.finished


@contextmanager
def lock_folder(out: Path, plan: dict[str, Any], overwrite: Overwrite = False) -> Iterator[Path]:
    """Lock the folder for this process, and yield the folder to write into, which holds this plan (as JSON) or nothing.

    That is `out` itself, or a folder beside it where `overwrite` replaces a dataset: it takes the place of `out` once it holds a
    finished dataset (build.json). The lock ends with the process, however that ends.

    Raises:
        InputError: If another process builds there, if the folder holds rows of another plan and `overwrite` is not set, or
            if it holds files that no build wrote; these are never overwritten.
    """
    from filelock import FileLock, Timeout

    overwriting.recover(out)
    _check_no_other_files(out)
    state = out / shards.STATE
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / "lock")
    try:
        # The operating system frees the lock of a killed process, so no stale lock can block a folder.
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"Another build is writing to {out}; wait for it, or choose another --out.") from error
    try:
        folder = _choose_folder(out, overwrite)
        try:
            shards.remove_partial_shards(folder)
            claim_folder(folder, plan)
            yield folder
        except BaseException:
            # The workers of a build may have left paid replies there; a mix could not be continued.
            if folder != out and ("mix" in plan or not (folder / shards.STATE / "plan.json").exists()):
                overwriting.remove_new_folder(out)
            raise
        if folder != out and (folder / "build.json").exists():
            overwriting.swap(out)
    finally:
        lock.release()


def _choose_folder(out: Path, overwrite: Overwrite) -> Path:
    """Choose the folder to write into: beside `out` while that holds a dataset to replace."""
    if overwrite == "continue":
        return folder if (folder := overwriting.new_folder(out)).is_dir() else out
    if not overwrite:
        return out
    if _holds_dataset(out):
        return overwriting.make_new_folder(out)
    overwriting.remove_new_folder(out)
    return out


def _holds_dataset(out: Path) -> bool:
    return bool(shards.has_markers(out) or (out / "build.json").exists() or (out / "README.md").exists() or shards.has_rows(out))


def _check_no_other_files(out: Path) -> None:
    """Raise `InputError` for a folder with a README.md or rows that no build wrote: a project, a model, other data."""
    begun = (out / shards.STATE / "plan.json").exists() or (out / "build.json").exists()
    if not begun and ((out / "README.md").exists() or shards.has_rows(out)):
        raise InputError(f"{out} holds files that no build wrote, and these are never overwritten: choose another --out.")


def claim_folder(out: Path, plan: dict[str, Any]) -> None:
    """Store the plan in the folder, in the place of one that has no rows yet.

    Raises:
        InputError: If the folder holds rows of another plan, or of one that cannot be read.
    """
    path = out / shards.STATE / "plan.json"
    is_held = _holds_dataset(out)
    stored = _read_plan(path, is_held) if path.exists() else None
    if stored == plan:
        return
    if not is_held:
        shards.write_text_atomic(path, json.dumps(plan, indent=2, sort_keys=True) + "\n")
        return
    if stored is None:
        raise InputError(f"{out} holds a dataset that this build did not begin; choose another --out, or add --overwrite.")
    if (difference := _describe_difference(stored, plan)) is not None:
        kept = "" if "mix" in plan else " (paid replies are kept)"
        raise InputError(f"{out} was made {difference}: choose another --out, or add --overwrite to build it anew{kept}.")


def _read_plan(path: Path, is_needed: bool) -> dict[str, Any] | None:
    """Read a stored plan. Raises `InputError` for a damaged one that rows were made by; without rows it is as good as none."""
    try:
        stored = read_json_file(path)
        if isinstance(stored, dict) and all(isinstance(stored.get(name) or {}, dict) for name in _SETTINGS):
            return stored
        problem = f"{path} is no plan of a build"
    except InputError as error:
        problem = str(error).rstrip(".")
    if not is_needed:
        return None
    raise InputError(
        f"{problem}, so nobody knows which command made the rows there: choose another --out, or add --overwrite to build them "
        "anew (paid replies are kept)."
    )


_SETTINGS = ("settings", "asking")
# The flag that sets each part of a plan.
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
_CHANGES = {
    "version": "by comvint_hf {}, and this is {}",
    "recipe": "with the recipe {}, and this command says {}",
    "prompts": "with prompts of other wordings than this version has",
    "source": "from the source {}, and this command says {}",
    "licence": "when its source came under other terms",
}
_STORED = {True: "rows", False: "none"}


def _describe_difference(stored: dict[str, Any], plan: dict[str, Any]) -> str | None:
    """Describe the first difference between two plans in terms of the flags; `None` for equal ones.

    >>> _describe_difference({"limit": 10}, {"limit": None})
    'with --limit 10, and this command says no --limit'
    """
    if ("mix" in stored) != ("mix" in plan):
        return "as a mix of datasets, and this is a build" if "mix" in stored else "by a builder, and this is a mix of datasets"
    for name in (name for name in {**plan, **stored} if stored.get(name) != plan.get(name)):
        old, new, flag = stored.get(name), plan.get(name), _FLAGS.get(name, name)
        if name in _SETTINGS:
            old, new = old or {}, new or {}
            key = next(key for key in {**new, **old} if old.get(key) != new.get(key))
            old, new, flag = old.get(key), new.get(key), f"--{key.replace('_', '-')}"
        elif name in _CHANGES:
            return _CHANGES[name].format(old, new)
        return f"with {_format_flag(flag, old)}, and this command says {_format_flag(flag, new)}"
    return None


def _format_flag(flag: str, value: Any) -> str:
    if flag == "--store-images" and not isinstance(value, list | dict):
        value = _STORED.get(value, value)
    if value is None or value is False or value == [] or value == {}:
        return f"no {flag}"
    if isinstance(value, dict):
        value = ",".join(f"{key}={number}" for key, number in value.items())
    return flag if value is True else f"{flag} {','.join(map(str, value)) if isinstance(value, list) else value}"


def strip_folders(spec: str) -> str:
    """Remove the folders of this machine from the name of a source, for the card.

    >>> strip_folders("visual_genome:/home/me/vg,coco:/data/coco"), strip_folders("shapes:500"), strip_folders("hub:org/name")
    ('visual_genome:vg,coco:coco', 'shapes:500', 'hub:org/name')
    """
    return re.sub(r"(?<!\bhub):([^,]*[/\\])([^,/\\]+)", r":\2", spec)
