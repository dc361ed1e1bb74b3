"""What commands print: statistics, what looks wrong, and what no model could make."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from comvint_hf.pipeline.report import BuildReport

NAMED = 20
"""So many failed samples are named; the others are counted."""


def show(statistics: Any) -> None:
    """Print the statistics as tables, and what was rejected."""
    from rich.console import Console
    from rich.table import Table

    from comvint_hf.dataset.tables import tables

    console = Console(width=None if sys.stdout.isatty() else 160)
    for header, *lines in tables(statistics):
        drawn = Table(*header, box=None, header_style="bold", padding=(0, 2, 0, 0))
        for line in lines:
            drawn.add_row(*line)
        console.print(drawn)
        console.print()
    for reason, count in statistics.rejected.most_common():
        console.print(f"rejected {count:,}: {reason}", highlight=False)
    for note, count in sorted(statistics.notes.items()):
        console.print(f"{note}: {count:,}", highlight=False)


def tell_of_photos(folder: Path) -> None:
    """Say which rows are without their photo, if any is, and how they get it."""
    from comvint_hf.dataset.reader import photos_told

    if said := photos_told(folder):
        click.echo(said)


def look_at(signs: Iterable[str]) -> None:
    """Print what looks wrong with a dataset."""
    for sign in signs:
        click.echo(f"Look at this: {sign}")


def name_failures(report: BuildReport) -> None:
    """Say on stderr which samples no model could make."""
    click.echo(f"{report.failed:,} samples got no usable reply; they are in the config `rejected`:", err=True)
    for failure in islice(report.failures(), NAMED):
        click.echo(f"  {failure}", err=True)
    if report.failed > NAMED:
        click.echo(f"  and {report.failed - NAMED:,} more", err=True)
    click.echo("Add --retry-failed to ask for these once more; all else stays as it is.", err=True)
