# /// script
# requires-python = ">=3.11"
# dependencies = ["comvint-hf[build]", "datatrove>=0.10"]
#
# [tool.uv.sources]
# comvint-hf = { path = ".." }
# ///
"""Build an instruction dataset the ComVint way: synthesise, complicate and verify, reformulate."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

from typing import Any

import click

from comvint_hf.cli import BuildCommand, BuildOptions, NameList, handle_errors, make_dataset, usage_errors
from comvint_hf.generation.group import TOGETHER
from comvint_hf.generation.recipes.comvint import COMVINT_KINDS, comvint
from comvint_hf.types import FORMATS


@click.command(cls=BuildCommand)
@click.option("--rounds", default=1, type=click.IntRange(0), help="How often to complicate and verify.")
@click.option("--formats", type=NameList(FORMATS), default=FORMATS, help="The formats of the samples.")
@click.option(
    "--kinds",
    default=",".join(COMVINT_KINDS),
    metavar="KIND[=SHARE],...",
    help="cross_modal, outside_knowledge or both; cross_modal=3,outside_knowledge=1 makes three of one for one of the other.",
)
@click.option("--count", default=4, type=click.IntRange(1), help="Samples of each kind for an image.")
@click.option("--votes", default=1, help="Ask the judge this often, an odd number; the majority counts.")
@click.option(
    "--together",
    default=TOGETHER,
    type=click.IntRange(1),
    help="Samples of an image in one request to a language model; 1 as in the paper, at several times the price.",
)
@click.option(
    "--shots", default=1, type=click.IntRange(0, 1), help="Show the writer a pair that is too easy and a good one; 0 for none."
)
@handle_errors
def main(options: BuildOptions, **settings: Any) -> None:
    """Make visual reasoning harder step by step (ComVint): cross-modal and outside-knowledge questions in three formats.

    \b
    Offline, from Flickr30k Entities:
      python builders/comvint.py --scenes flickr30k:DIR --llm annotations --out build/comvint
    Two rounds by a strong writer and a cheaper judge:
      python builders/comvint.py --scenes visual_genome:DIR --llm WRITER --judge JUDGE --rounds 2 --votes 3 \\
             --base-url URL --budget 20 --out build/comvint

    Without --judge the writer judges its own rewrites and tends to pass them: name another, cheaper model.
    Stop it and run the same command again: it continues where it was.
    """
    if settings["rounds"] and options.llm != "annotations" and options.judge in (None, options.llm):
        click.echo(f"{options.llm} judges its own rewrites; --judge MODEL names another one, which may be cheaper.", err=True)
    with usage_errors():
        recipe = comvint(**{**settings, "kinds": settings["kinds"].split(",")})
    make_dataset(recipe, options)


if __name__ == "__main__":
    main()
