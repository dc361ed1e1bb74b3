"""Count the rows of any dataset, and measure a folder with the measures of `quality` that need no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from comvint_hf.dataset import shards
from comvint_hf.dataset.card import recipes, settings
from comvint_hf.dataset.failure_checks import failure_signs
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.plot import draw_pictures
from comvint_hf.dataset.reader import read_about, read_columns, read_statistics, row_files
from comvint_hf.dataset.schema import Row, question, turns
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.quality import measures

COUNTED = ("image_id", "messages", "task", "format", "rounds", "boxes", "evidence", "history")
"""The columns that statistics are made of."""


@dataclass(frozen=True)
class Findings:
    """What there is to say of a dataset: its counts, the signs of a build gone wrong, and the pictures that were drawn."""

    statistics: Statistics
    signs: list[str]
    pictures: list[Path]


def look(name: str | Path, pictures: Path | None = None) -> Findings:
    """Read what a dataset folder says of itself, or count a LLaVA file or Hub repository; draw into `pictures` if given."""
    here = Path(name).is_dir()
    about = read_about(Path(name)) if here else {"parts": []}
    statistics = read_statistics(Path(name)) if here else count(name)
    drawn = draw_pictures(statistics, pictures, recipes(about)) if pictures else []
    return Findings(statistics, failure_signs(statistics, settings(about)), [pictures / picture.file for picture in drawn])


def count(name: str | Path) -> Statistics:
    """The statistics of a dataset folder, a LLaVA file or a Hub repository, from its rows alone, rejected ones among them."""
    statistics, images = Statistics(), set()
    for split, row in _rows(name):
        statistics.add(row, split)
        if row["image_id"] and row["image_id"] not in images:
            images.add(row["image_id"])
            statistics.images[split] += 1
    if Path(name).is_dir():
        for path in row_files(Path(name), shards.REJECTED):
            for row in read_columns(path, (*COUNTED, "reason")):
                statistics.refuse(row)
    return statistics


def _rows(name: str | Path) -> Iterator[tuple[str, Row]]:
    """Every kept row with its split; of a folder, photos stay on the disk."""
    if not Path(name).is_dir():
        yield from open_input(str(name)).rows()
        return
    for config in ("default", shards.WITHOUT_IMAGES):
        for split in (TRAIN, TEST):
            for path in row_files(Path(name), config, split):
                yield from ((split, row) for row in read_columns(path, COUNTED))


def measure(folder: Path, seed: int = 0) -> dict[str, str]:
    """Balance over tasks, yes for each no, and instruction clusters by task, as text to show."""
    tasks: list[str] = []
    questions: list[str] = []
    answers: list[str] = []
    for path in row_files(folder):
        for row in read_columns(path, ("task", "messages")):
            tasks.append(row["task"])
            questions.append(question(row))
            answers.extend(answer for _, answer in turns(row))
    bias = measures.yes_bias(answers)
    clusters = measures.instruction_diversity(questions, tasks, seed=seed)
    mean = sum(clusters.values()) / max(len(clusters), 1)
    return {
        "balance (variance of the tasks' shares in percent)": f"{measures.balance(tasks):.1f}",
        "yes for each no": f"{bias.ratio:.2f} ({bias.yes:,} : {bias.no:,})",
        "instruction clusters": f"{mean:.1f} a task (" + ", ".join(f"{name} {count}" for name, count in clusters.items()) + ")",
    }
