"""Describe a dataset: its counts and warnings, and the registered quality measures (`comvint_hf.registry.measures`) on its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comvint_hf import registry
from comvint_hf.dataset import shards
from comvint_hf.dataset.card import recipe_settings
from comvint_hf.dataset.card_references import collect_figures
from comvint_hf.dataset.failure_checks import find_warnings
from comvint_hf.dataset.inputs import REFUSED, TEXT_COLUMNS, open_input
from comvint_hf.dataset.plot import plot_statistics
from comvint_hf.dataset.reader import list_row_files, read_build_info, read_columns, read_probe, read_statistics
from comvint_hf.dataset.schema import Row
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.dataset.statistics import Statistics

# The columns that statistics and measures read; images stay on the disk.
COUNTED_COLUMNS = (*TEXT_COLUMNS, "source", "rounds", "boxes", "evidence", "history")


@dataclass(frozen=True)
class DatasetDescription:
    """A dataset's counts, the warnings about it, and the plots that were drawn."""

    statistics: Statistics
    warnings: list[str]
    plots: list[Path]


@dataclass(frozen=True)
class DatasetRows:
    """The kept rows of a dataset folder, LLaVA file or Hub repository, without images; they can be iterated repeatedly."""

    name: str | Path

    def __iter__(self) -> Iterator[Row]:
        return (row for _, row in self.with_splits())

    def with_splits(self) -> Iterator[tuple[str, Row]]:
        """Yield (split, row)."""
        folder = Path(self.name)
        if not folder.is_dir():
            yield from ((split, row) for split, row in open_input(str(self.name)).rows() if REFUSED not in row)
            return
        for config in ("default", shards.WITHOUT_IMAGES):
            for split in (TRAIN, TEST):
                for path in list_row_files(folder, config, split):
                    yield from ((split, row) for row in read_columns(path, COUNTED_COLUMNS))


def describe_dataset(name: str | Path, plots: Path | None = None) -> DatasetDescription:
    """Read the statistics of a dataset folder, or count a LLaVA file or Hub repository.

    Args:
        name: The folder, file or repository.
        plots: A folder to draw plots into.
    """
    folder = Path(name)
    build_info = read_build_info(folder) if folder.is_dir() else {"parts": []}
    statistics = read_statistics(folder) if folder.is_dir() else count_rows(name)
    drawn = (
        [plots / plot.file for plot in plot_statistics(statistics, plots, collect_figures(build_info["parts"]))] if plots else []
    )
    probed = read_probe(folder) if folder.is_dir() else []
    return DatasetDescription(statistics, find_warnings(statistics, recipe_settings(build_info), probed), drawn)


def count_rows(name: str | Path) -> Statistics:
    """Compute the statistics of a dataset folder, a LLaVA file or a Hub repository from its rows, rejected ones included."""
    statistics, images = Statistics(), set()
    for split, row in DatasetRows(name).with_splits():
        statistics.add(row, split)
        if row["image_id"] and row["image_id"] not in images:
            images.add(row["image_id"])
            statistics.images[split] += 1
    if Path(name).is_dir():
        for path in list_row_files(Path(name), shards.REJECTED):
            for row in read_columns(path, (*COUNTED_COLUMNS, "reason")):
                statistics.add_rejected(row)
    return statistics


def run_measures(dataset: str | Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Run measures on the rows of a dataset.

    Args:
        dataset: A dataset folder, a LLaVA file or a Hub repository.
        names: Names of registered measures, or `MODULE:NAME`; all registered measures by default.

    Returns:
        The result of each measure by its name.

    Raises:
        InputError: If there is no such measure or dataset.
    """
    rows = DatasetRows(dataset)
    functions = {name: registry.measures.get(name) for name in (registry.measures.names() if names is None else names)}
    return {name: function(rows) for name, function in functions.items()}


def format_result(result: Any) -> str:
    """Format the result of a measure, a number or several by name.

    >>> format_result(0.5), format_result({"conversation": 12, "vlit": 3.25})
    ('0.50', 'conversation 12, vlit 3.25')
    """
    if isinstance(result, dict):
        return ", ".join(f"{name} {format_result(value)}" for name, value in result.items())
    return f"{result:.2f}" if isinstance(result, float) else f"{result:,}" if isinstance(result, int) else str(result)
