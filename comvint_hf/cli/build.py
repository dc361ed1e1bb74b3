"""Build a dataset as the builders and `comvint build` do: build, print the result, push."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from comvint_hf.cli.exit_codes import INCOMPLETE
from comvint_hf.cli.output import echo, print_dataset, print_failures, print_warnings, push_folder
from comvint_hf.cli.validation import check_judge

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.pipeline.options import BuildOptions


def make_dataset(recipe: Recipe, options: BuildOptions) -> None:
    """Build a dataset, print the result, and push it if the options say so.

    Ends the process with the exit code `INCOMPLETE` where some prompts got no usable reply.
    """
    from comvint_hf.pipeline.run import open_run

    check_judge(recipe, options)
    run = open_run(recipe, options)
    report = run.run(make_dataset)
    if isinstance(report, str):
        echo(report)
        return
    print_dataset(report.out, report.statistics, report)
    for line in run.cost:
        echo(line)
    print_warnings(report.warnings)
    if options.push_to:
        push_folder(report.out, options.push_to, options.private, keep_card=True)  # nobody has touched it since
    if report.failed:
        print_failures(report)
        sys.exit(INCOMPLETE)
