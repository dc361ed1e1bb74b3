"""Print what a command made, and push it where the flags say so."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comvint_hf.cli.interrupts import leave_at_once
from comvint_hf.strict_reader import clean_text, redact

if TYPE_CHECKING:
    from comvint_hf.dataset.statistics import Statistics
    from comvint_hf.pipeline.build import BuildReport

PUSH_HINT = "The repository holds its old version or the new one, whole. Push again: what was uploaded is not sent again."
MAX_NAMED = 20
"""Failed samples that are named; the others are counted."""


def echo(text: object, err: bool = False) -> None:
    """Print a text without what a terminal would take for commands, and without secrets: names, reasons and errors may hold both."""
    click.echo(redact(str(text)), err=err)


def print_statistics(statistics: Statistics) -> None:
    """Print the statistics as tables, and the reasons of rejected samples."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from comvint_hf.dataset.tables import make_tables

    console = Console(width=None if sys.stdout.isatty() else 160)  # in a log, rich would wrap the tables at 80 columns
    for header, *lines in make_tables(statistics):
        table = Table(*header, box=None, header_style="bold", padding=(0, 2, 0, 0))
        for line in lines:
            table.add_row(*(Text(clean_text(cell)) for cell in line))  # as text: rich would read markup such as [link=...]
        console.print(table)
        console.print()
    for reason, count in statistics.rejected.most_common():
        console.print(f"rejected {count:,}: {redact(reason)}", highlight=False, markup=False)
    for note, count in sorted(statistics.notes.items()):
        console.print(f"{redact(note)}: {count:,}", highlight=False, markup=False)


def print_dataset(folder: Path, statistics: Statistics, summary: object) -> None:
    """Print the statistics of a new dataset, one line about it, and how to attach images to rows that hold none."""
    from comvint_hf.dataset.reader import describe_missing_images

    print_statistics(statistics)
    echo(summary)
    if description := describe_missing_images(folder):
        echo(description)


def print_warnings(warnings: Iterable[str]) -> None:
    """Print the warnings about a dataset."""
    for warning in warnings:
        echo(f"Warning: {warning}")


def print_failures(report: BuildReport) -> None:
    """Print on stderr which samples got no usable reply."""
    echo(f"{report.failed:,} samples got no usable reply; they are in the config `rejected`:", err=True)
    for failure in islice(report.failures(), MAX_NAMED):
        echo(f"  {failure}", err=True)
    if report.failed > MAX_NAMED:
        echo(f"  and {report.failed - MAX_NAMED:,} more", err=True)
    echo("Add --retry-failed to ask for these once more; every other row stays as it is.", err=True)


def push_folder(folder: Path, repository: str, private: bool | None, base: str | None = None, *, keep_card: bool = False) -> None:
    """Push the folder of a dataset or of a tuned model, and print its address and its version."""
    from comvint_hf.hub import push

    with leave_at_once(PUSH_HINT):
        if push.is_model(folder):
            echo(f"Pushed: {push.push_model(folder, repository, private=private, base=base)}")
            return
        echo(f"Pushed: {push.push(folder, repository, private=private, keep_card=keep_card, tell=partial(echo, err=True))}")
    echo(f'This version: load_dataset("{repository}", revision="{push.version_tag(folder)}")')
