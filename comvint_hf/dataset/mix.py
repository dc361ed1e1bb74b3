"""Mix datasets: choose rows of several, and write them as one, with the card and the conventions of any other.

Texts are read once to choose, rows once to write; photos pass through one by one. This file knows inputs, choices and
shards; it knows no scene and no language model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

import numpy as np

from comvint_hf import __version__
from comvint_hf.conventions import Conventions
from comvint_hf.dataset import card, coreset_selection, shards
from comvint_hf.dataset.inputs import Input
from comvint_hf.dataset.plan import hold
from comvint_hf.dataset.schema import Row, turns
from comvint_hf.dataset.shards import Shard
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.errors import InputError
from comvint_hf.types import FORMATS

ROWS_A_SHARD = 20_000
TWICE = "rows left out: their id came before"
LEAKING = "rows left out of train: their image is in test"
OTHER_SPLIT = "rows left out: of another split"
OTHER_KIND = "rows left out: of no kind that was asked for"
DULL = "rows of train left out: the coreset has others"
BEYOND = "rows of train left out: beyond what was to be taken"
UNBALANCED = "rows of train left out: answers yes beyond the balance"


@dataclass(frozen=True)
class Choice:
    """Which rows of the split train go into a mix, in the order the steps are taken; test rows are all kept.

    `only`: rows whose "task/format/topic" fits one of these patterns, test rows among them (`*` stands for anything, none given for
    all); `coreset`: that many rows of each task, drawn from the half that says most about the concept set; `take`: at most so many rows
    of a task, a format or a pattern; `yes_no`: at most that many single-turn answers yes for each no; `split`: only this split.
    """

    only: Sequence[str] = ()
    coreset_selection: int | None = None
    take: Mapping[str, int] = field(default_factory=dict)
    yes_no: float | None = None
    split: str | None = None
    seed: int = 0

    def __str__(self) -> str:
        steps = [
            f"only {', '.join(self.only)}" if self.only else "",
            f"the {self.coreset:,} most informative rows of each task" if self.coreset else "",
            ", ".join(f"at most {most:,} of {label}" for label, most in self.take.items()),
            f"at most {self.yes_no:g} yes for each no" if self.yes_no else "",
            f"only the split {self.split}" if self.split else "",
        ]
        return "; ".join(filter(None, steps)) or "all rows"


@dataclass
class _Seen:
    """What the first reading learnt, one entry a row."""

    splits: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    usable: list[bool] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    scores: np.ndarray | None = None


def mix(inputs: Sequence[Input], out: Path | str, choice: Choice | None = None, *, overwrite: bool = False) -> Statistics:
    """Write the chosen rows of all inputs into the folder `out`, in the inputs' order; says what the mix holds.

    A row id or a test image that came before is not taken again, so no image is trained on and tested with. A
    broken-off mix is done again from the start by the same call. Raises `InputError` for a mix without rows or a folder
    that holds something else.
    """
    choice, out, notes = choice or Choice(), Path(out), Counter()
    plan = {
        "version": __version__,
        "mix": [input.name for input in inputs],
        "only": list(choice.only),
        "coreset": choice.coreset,
        "take": dict(choice.take),
        "yes_no": choice.yes_no,
        "split": choice.split,
        "seed": choice.seed,
    }
    with hold(out, plan, overwrite):
        kept = _choose(_look(inputs, choice, notes), choice, notes)
        if not kept.any():
            raise InputError(
                f"The mix of {', '.join(plan['mix'])} has no rows left: {choice}; ask for more, or check the datasets."
            )
        statistics, files = _write(inputs, kept, out)
        statistics.notes += notes
        about = {
            "parts": list({repr(part): part for input in inputs for part in input.parts}.values()),
            "files": dict(sorted(files.items())),
            "rows": statistics.kept,
            "rejected": 0,
            "selection": str(choice),
        }
        Conventions(recipe="mix").write(out)
        card.write_folder(out, about, statistics)
    return statistics


def _look(inputs: Sequence[Input], choice: Choice, notes: Counter[str]) -> _Seen:
    """Read every row's text once. Which rows could be taken at all is decided here."""
    seen, ids = _Seen(), set()
    words = sorted({word for group in coreset_selection.concepts().values() for word in group}) if choice.coreset else []

    def texts() -> Iterator[str]:
        for input in inputs:
            for split, row in input.rows(only_text=True):
                key = _key(row["id"])
                pairs = turns(row)
                seen.splits.append(split)
                seen.tasks.append(row["task"])
                seen.kinds.append(kind := f"{row['task']}/{row['format']}/{row.get('topic') or ''}")
                seen.answers.append(pairs[0][1] if len(pairs) == 1 else "")
                seen.usable.append(not (why := _unwanted(key in ids, split, kind, choice)))
                notes.update([why] if why else [])
                seen.images.append(_key(row["image_id"]) if row["image_id"] else b"")
                ids.add(key)
                yield " ".join(message["content"] for message in row["messages"])

    hits = coreset_selection.concept_hits(texts(), words)
    seen.scores = coreset_selection.informativeness(hits)
    held_out = {image for image, split in zip(seen.images, seen.splits, strict=True) if split == TEST and image}
    for number, (image, split) in enumerate(zip(seen.images, seen.splits, strict=True)):
        if split != TEST and image in held_out and seen.usable[number]:
            seen.usable[number] = False
            notes[LEAKING] += 1
    return seen


def _unwanted(twice: bool, split: str, kind: str, choice: Choice) -> str:
    """Why a row cannot be taken at all; "" if it can."""
    if twice:
        return TWICE
    if choice.split not in (None, split):
        return OTHER_SPLIT
    return "" if _fits(kind, choice.only) else OTHER_KIND


def _key(id: str) -> bytes:
    """What stands for an id in memory: short, and the same in every process."""
    return blake2b(id.encode(), digest_size=16).digest()


def _fits(kind: str, patterns: Sequence[str]) -> bool:
    """Whether "task/format/topic" is a task or format named, or fits a pattern; an empty list takes all.

    >>> _fits("vlit/bool/size", ("bool",)), _fits("vlit/bool/size", ("vlit/*/colour",)), _fits("vlit/bool/size", ())
    (True, False, True)
    """
    return not patterns or any(
        fnmatchcase(kind, pattern) if "/" in pattern else pattern in kind.split("/")[:2] for pattern in patterns
    )


def _choose(seen: _Seen, choice: Choice, notes: Counter[str]) -> np.ndarray:
    """Which rows are kept, [N] bool. Each step works on the training rows that the one before left, and counts what it leaves out."""
    usable, splits = np.asarray(seen.usable, dtype=bool), np.asarray(seen.splits)
    held_out = usable & (splits == TEST)
    rows = np.flatnonzero(usable & (splits != TEST))

    def of(values: Sequence[str]) -> list[str]:
        return [values[row] for row in rows]

    def left(why: str, chosen: np.ndarray) -> np.ndarray:
        if len(chosen) < len(rows):
            notes[why] += len(rows) - len(chosen)
        return rows[chosen]

    if choice.coreset:
        rows = left(DULL, coreset_selection.most_informative(seen.scores[rows], of(seen.tasks), choice.coreset, choice.seed))
    for label, most in choice.take.items():
        fits = [label if _fits(kind, (label,)) else "" for kind in of(seen.kinds)]
        if label not in fits and label not in FORMATS:
            there = sorted({kind.split("/")[0] for kind in seen.kinds})
            raise InputError(f"No row is of the task, format or pattern {label!r}; there are the tasks {', '.join(there)}.")
        rows = left(BEYOND, coreset_selection.take(fits, {label: most}, choice.seed))
    if choice.yes_no:
        rows = left(UNBALANCED, coreset_selection.balance_yes_no(of(seen.answers), choice.yes_no, choice.seed))
    held_out[rows] = True
    return held_out


def _write(inputs: Sequence[Input], kept: np.ndarray, out: Path) -> tuple[Statistics, dict[str, int]]:
    """Read all rows again and write those that were kept, with the images that they need."""
    shards.clear_rows(out)
    statistics, writer = Statistics(), _Writer(out)
    number, wanted, counted = 0, set(), set()
    for input in inputs:
        for split, row in input.rows():
            if kept[number]:
                folder = shards.WITHOUT_IMAGES if row["image_id"] and not row.get("images") else shards.WITH_IMAGES
                if folder == shards.WITHOUT_IMAGES:
                    wanted.add(row["image_id"])
                writer.add(folder, row["task"], split, row)
                statistics.add(row, split)
                if row["image_id"] and row["image_id"] not in counted:
                    counted.add(row["image_id"])
                    statistics.images[split] += 1
            number += 1
    for input in inputs:
        for row in input.images():
            if row["image_id"] in wanted:
                wanted.discard(row["image_id"])
                writer.add(shards.IMAGES, "", TRAIN, row)
    return statistics, writer.close()


class _Writer:
    """Writes rows into shard after shard."""

    def __init__(self, out: Path) -> None:
        self._out, self._number, self._rows = out, 0, 0
        self._shard = Shard(out, 0)

    def add(self, folder: str, task: str, split: str, row: Row) -> None:
        if self._rows == ROWS_A_SHARD:
            self._shard.commit({})
            self._number, self._rows = self._number + 1, 0
            self._shard = Shard(self._out, self._number)
        self._rows += 1
        self._shard.add(folder, task, split, row)

    def close(self) -> dict[str, int]:
        self._shard.commit({})
        return {name: rows for summary in shards.markers(self._out) for name, rows in summary["files"].items()}
