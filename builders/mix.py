# /// script
# requires-python = ">=3.11"
# dependencies = ["comvint-hf[build]"]
#
# [tool.uv.sources]
# comvint-hf = { path = ".." }
# ///
"""Mix instruction datasets: coreset, limits a task or format, and the balance of yes and no."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

from pathlib import Path

import click

from comvint_hf.cli import PRIVATE_HELP, Command, handle_errors, parse_limits, print_dataset, push_folder, usage_errors
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import MixSelection, mix


@click.command(cls=Command)
@click.option(
    "--dataset", "first", required=True, metavar="DATASET", help="A dataset folder, a Hub repository, or a LLaVA .json file."
)
@click.argument("more", nargs=-1, metavar="[DATASET]...")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder of the mix.")
@click.option("--coreset", type=click.IntRange(1), metavar="N", help="Take N rows of each task, from its more informative half.")
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Take only rows of a task, a format, or a pattern TASK/FORMAT/TOPIC; may be repeated.",
)
@click.option(
    "--take", multiple=True, metavar="NAME=N", help="Take at most N rows of a task, format or pattern; may be repeated."
)
@click.option(
    "--yes-no", type=click.FloatRange(0, min_open=True), metavar="RATIO", help="Take at most RATIO answers yes for each no."
)
@click.option("--split", help="Take only this split; all by default. The flags above select from the split train.")
@click.option("--seed", default=0, help="Draws the rows.")
@click.option("--images", type=click.Path(path_type=Path, exists=True, file_okay=False), help="The image files of LLaVA files.")
@click.option("--push-to", metavar="ORG/NAME", help="Push the finished mix to the Hub.")
@click.option("--private/--public", default=None, help=PRIVATE_HELP)
@click.option("--overwrite", is_flag=True, help="Replace an earlier dataset in --out, once the mix is finished.")
@handle_errors
def main(
    first: str,
    more: tuple[str, ...],
    out: Path,
    only: tuple[str, ...],
    coreset: int | None,
    take: tuple[str, ...],
    yes_no: float | None,
    split: str | None,
    seed: int,
    images: Path | None,
    push_to: str | None,
    private: bool | None,
    overwrite: bool,
) -> None:
    """Make one dataset of several: select rows, keep their images, write the card.

    \b
    SVIT's coreset: the informative half, 20,000 rows a task, eight yes for each no:
      python builders/mix.py --dataset build/svit --coreset 20000 --yes-no 8 --out build/core
    Several datasets, some rows of each:
      python builders/mix.py --dataset build/svit build/comvint ORG/NAME --take conversation=5000 --take choice=1000 --out build/mix
    Only easy questions, and where objects are:
      python builders/mix.py --dataset build/svit build/comvint --only '*/bool/colour' --only 'referring_qa/*/grounding' --out build/easy
    With LLaVA's own mix:
      python builders/mix.py --dataset build/core llava_v1_5_mix665k.json --images DIR --out build/mix
    """
    with usage_errors():
        selection = MixSelection(only, coreset, parse_limits(take), yes_no, split, seed)
        inputs = [open_input(name, images) for name in (first, *more)]
    statistics = mix(inputs, out, selection, overwrite=overwrite)
    print_dataset(out, statistics, f"{out}: {statistics.kept:,} rows of {statistics.images.total():,} images")
    if push_to:
        push_folder(out, push_to, private)


if __name__ == "__main__":
    main()
