"""Mix datasets: select rows of several and write them as one dataset, with a card and conventions like any other.

The texts are read once to select rows, the rows once more to write them; images pass through one by one.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from sys import intern

import numpy as np

from comvint_hf import __version__, images
from comvint_hf.answers import yes_no
from comvint_hf.conventions import Conventions
from comvint_hf.dataset import coreset_selection, shards
from comvint_hf.dataset.card import write_card
from comvint_hf.dataset.inputs import REFUSED, FolderInput, Input
from comvint_hf.dataset.integrity import check_integrity
from comvint_hf.dataset.plan import lock_folder
from comvint_hf.dataset.row_ids import RowIds
from comvint_hf.dataset.schema import Row, turns
from comvint_hf.dataset.shards import Shard
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.swap_folder import check_apart
from comvint_hf.errors import InputError
from comvint_hf.read_counts import ReadCounts
from comvint_hf.types import FORMATS

ROWS_PER_SHARD = 20_000
DUPLICATE = "rows left out: their id and text came before"
RENAMED = "ids made different: another row has them"
LEAKING = "rows left out of train: their image is in test"
OTHER_SPLIT = "rows left out: of another split"
OTHER_KIND = "rows left out: of no kind that was asked for"
LESS_INFORMATIVE = "rows of train left out: the coreset has others"
OVER_LIMIT = "rows of train left out: beyond what was to be taken"
UNBALANCED = "rows of train left out: answers yes beyond the balance"


@dataclass(frozen=True)
class MixSelection:
    """The rows of the split train that go into a mix. The steps apply in the order of the fields; all test rows are kept.

    Attributes:
        only: Patterns of "task/format/topic" (`*` matches anything) or names of tasks and formats; others are left out, test rows too.
        coreset: Rows to draw of each task, from the half that says most about the concept set.
        take: The most rows to take of a task, a format or a pattern.
        yes_no: The most single-turn answers yes for each no.
        split: The only split to read.
        seed: Draws the rows.
    """

    only: Sequence[str] = ()
    coreset: int | None = None
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
class _RowTable:
    """What selecting needs to know of the rows, one entry a row.

    `answers` are the yes or no of single-turn rows; `copies` are the ids of rows whose own id another row has, by the row's number.
    """

    splits: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    usable: list[bool] = field(default_factory=list)
    copies: dict[int, str] = field(default_factory=dict)
    images: list[bytes] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))


def mix(
    inputs: Sequence[Input], out: Path | str, selection: MixSelection | None = None, *, overwrite: bool = False
) -> Statistics:
    """Write the selected rows of all inputs into the folder `out`, in the inputs' order.

    A row that repeats the id and the text of another is taken once, one that repeats the id alone gets an id made different. An image that is in any test split is left out of train. An interrupted mix starts again
    when it is called again.

    Returns:
        The statistics of the mix.

    Raises:
        InputError: If no row is left, the folder holds something else, or an input is also the output.
    """
    selection, out = selection or MixSelection(), Path(out)
    folders = [input.folder for input in inputs if isinstance(input, FolderInput)]
    check_apart(out, folders)
    for problem in (problem for folder in folders for problem in check_integrity(folder).problems):
        warnings.warn(f"{problem} The mix takes its rows as they are now.", stacklevel=2)
    notes = ReadCounts()
    plan = {
        "version": __version__,
        "mix": [input.name for input in inputs],
        "only": list(selection.only),
        "coreset": selection.coreset,
        "take": dict(selection.take),
        "yes_no": selection.yes_no,
        "split": selection.split,
        "seed": selection.seed,
    }
    with lock_folder(out, plan, overwrite) as folder:
        table = _scan(inputs, selection, notes)
        kept = _select(table, selection, notes)
        statistics, files = _write(inputs, kept, table.copies, folder) if kept.any() else (Statistics(), {})
        if not statistics.kept:
            names = ", ".join(input.name for input in inputs)
            reasons = "; ".join(f"{note}: {count:,}" for note, count in sorted((statistics.notes + notes).items()))
            raise InputError(
                f"The mix of {names} has no rows left ({'; '.join(filter(None, (str(selection), reasons)))}): select more, or check "
                "the datasets."
            )
        statistics.notes += notes
        build_info = {
            "parts": list({repr(part): part for input in inputs for part in input.parts}.values()),
            "files": dict(sorted(files.items())),
            "rows": statistics.kept,
            "rejected": 0,
            "selection": str(selection),
            "left_out": notes.examples,
        }
        Conventions(recipe="mix").write(folder)
        write_card(folder, build_info, statistics)
    return statistics


def _scan(inputs: Sequence[Input], selection: MixSelection, notes: ReadCounts) -> _RowTable:
    """Read every row's text once, and decide which rows can be taken at all."""
    table, ids = _RowTable(), RowIds()
    concepts = coreset_selection.load_concepts().values() if selection.coreset else ()

    def read_texts() -> Iterator[str]:
        for input in inputs:
            for split, row in input.rows(only_text=True, counts=notes):
                kind = intern(f"{row['task']}/{row['format']}/{row.get('topic') or ''}")
                id = None if row.get(REFUSED) else ids.take(row)
                reason = row.get(REFUSED) or _check_row(id is None, split, kind, selection)
                notes.update([reason] if reason else [])
                if id and id != row["id"]:
                    table.copies[len(table.splits)] = id
                    notes.note(RENAMED, row["id"])
                table.splits.append(split)
                table.tasks.append(intern(row["task"]))
                table.kinds.append(kind)
                table.answers.append(_single_yes_no(row))
                table.usable.append(not reason)
                table.images.append(_hash(row["image_id"]) if row["image_id"] else b"")
                yield " ".join(message["content"] for message in row["messages"])

    words = sorted({word for group in concepts for word in group})
    table.scores = coreset_selection.score_informativeness(coreset_selection.match_concepts(read_texts(), words))
    # An input may test on an image that another input trains on.
    held_out = {image for image, split in zip(table.images, table.splits, strict=True) if split == TEST and image}
    for number, (image, split) in enumerate(zip(table.images, table.splits, strict=True)):
        if split != TEST and image in held_out and table.usable[number]:
            table.usable[number] = False
            notes[LEAKING] += 1
    return table


def _single_yes_no(row: Row) -> str:
    pairs = turns(row)
    return yes_no(pairs[0][1], pairs[0][0]) or "" if len(pairs) == 1 else ""


def _check_row(is_duplicate: bool, split: str, kind: str, selection: MixSelection) -> str:
    """Return why a row cannot be taken at all; "" if it can."""
    if is_duplicate:
        return DUPLICATE
    if selection.split not in (None, split):
        return OTHER_SPLIT
    return "" if _matches(kind, selection.only) else OTHER_KIND


def _hash(id: str) -> bytes:
    """A short stand-in for an image id in memory, the same in every process."""
    return blake2b(id.encode(), digest_size=16).digest()


def _matches(kind: str, patterns: Sequence[str]) -> bool:
    """Whether "task/format/topic" is of a named task or format or matches a pattern; an empty list matches all.

    >>> _matches("vlit/bool/size", ("bool",)), _matches("vlit/bool/size", ("vlit/*/colour",)), _matches("vlit/bool/size", ())
    (True, False, True)
    """
    return not patterns or any(
        fnmatchcase(kind, pattern) if "/" in pattern else pattern in kind.split("/")[:2] for pattern in patterns
    )


def _select(table: _RowTable, selection: MixSelection, notes: Counter[str]) -> np.ndarray:
    """Select rows, [N] bool. Each step works on the training rows that the one before left, and counts what it leaves out."""
    usable, is_test = np.asarray(table.usable, dtype=bool), np.asarray(table.splits) == TEST
    rows = np.flatnonzero(usable & ~is_test)

    def of_rows(values: Sequence[str]) -> list[str]:
        return [values[row] for row in rows.tolist()]

    def keep(chosen: np.ndarray, note: str) -> np.ndarray:
        if len(chosen) < len(rows):
            notes[note] += len(rows) - len(chosen)
        return rows[chosen]

    if selection.coreset:
        scores, tasks = table.scores[rows], of_rows(table.tasks)
        rows = keep(coreset_selection.select_informative(scores, tasks, selection.coreset, selection.seed), LESS_INFORMATIVE)
    for label, limit in selection.take.items():
        labels = [label if _matches(kind, (label,)) else "" for kind in of_rows(table.kinds)]
        # A format may be absent from the rows that are left; a task that no row ever had is a typo.
        if label not in labels and label not in FORMATS:
            tasks = sorted({kind.split("/")[0] for kind in table.kinds})
            raise InputError(f"No row is of the task, format or pattern {label!r}: expected one of the tasks {', '.join(tasks)}.")
        rows = keep(coreset_selection.sample_limited(labels, {label: limit}, selection.seed), OVER_LIMIT)
    if selection.yes_no:
        answers = of_rows(table.answers)
        rows = keep(coreset_selection.balance_yes_no(answers, selection.yes_no, selection.seed), UNBALANCED)
    kept = usable & is_test
    kept[rows] = True
    return kept


def _write(inputs: Sequence[Input], kept: np.ndarray, copies: Mapping[int, str], out: Path) -> tuple[Statistics, dict[str, int]]:
    """Read all rows again and write the kept ones, with the images that they need."""
    shards.remove_rows(out)
    statistics, writer = Statistics(), _ShardedWriter(out)
    missing_images: set[str] = set()
    counted_images: set[str] = set()
    seen = ReadCounts()
    rows = (split_and_row for input in inputs for split_and_row in input.rows(counts=seen))
    for number, (is_kept, (split, row)) in enumerate(zip(kept, rows, strict=True)):
        if not is_kept:
            continue
        row["id"] = copies.get(number, row["id"])
        if reason := row.get(REFUSED):  # seen only now that images are read
            statistics.notes[reason] += 1
            continue
        folder = shards.WITHOUT_IMAGES if row["image_id"] and not row.get("images") else shards.WITH_IMAGES
        if folder == shards.WITHOUT_IMAGES:
            missing_images.add(row["image_id"])
        writer.add(folder, row["task"], split, row)
        statistics.add(row, split)
        if row["image_id"] and row["image_id"] not in counted_images:
            counted_images.add(row["image_id"])
            statistics.images[split] += 1
    for row in (row for input in inputs for row in input.images()):
        if reason := row.get(REFUSED):
            statistics.notes[reason] += 1
        elif row["image_id"] in missing_images:
            # Several inputs may have the same image; the first one counts.
            missing_images.discard(row["image_id"])
            writer.add(shards.IMAGES, "", TRAIN, row)
    statistics.notes.update({note: count for note, count in seen.items() if note in images.NOTES})  # the rest was counted before
    return statistics, writer.close()


class _ShardedWriter:
    """Writes rows into one shard after another."""

    def __init__(self, out: Path) -> None:
        self._out, self._number, self._rows = out, 0, 0
        self._shard = Shard(out, 0)

    def add(self, folder: str, task: str, split: str, row: Row) -> None:
        if self._rows == ROWS_PER_SHARD:
            self._shard.commit({})
            self._number, self._rows = self._number + 1, 0
            self._shard = Shard(self._out, self._number)
        self._rows += 1
        self._shard.add(folder, task, split, row)

    def close(self) -> dict[str, int]:
        self._shard.commit({})
        return {name: rows for summary in shards.read_markers(self._out) for name, rows in summary["files"].items()}
