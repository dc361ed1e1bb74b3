"""Build an instruction dataset the ComVint way: synthesise, complicate and verify, reformulate."""

import click

from comvint_hf.cli import BuildOptions, Several, build_options, calm, make_dataset
from comvint_hf.records import FORMATS
from comvint_hf.synthesis.recipes import COMVINT_KINDS, comvint


@click.command(context_settings={"max_content_width": 110})
@build_options
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(0), help="How often to complicate and verify.")
@click.option("--formats", type=Several(FORMATS), default=FORMATS, help="Formats to end in; all three unless given.")
@click.option("--kinds", type=Several(COMVINT_KINDS), default=COMVINT_KINDS, help="Kinds of reasoning; both unless given.")
@click.option("--count", default=4, show_default=True, type=click.IntRange(1), help="Samples of each kind an image.")
@calm
def main(options: BuildOptions, rounds: int, formats: tuple[str, ...], kinds: tuple[str, ...], count: int) -> None:
    """Make visual reasoning harder step by step (ComVint): cross-modal and outside-knowledge questions in three formats.

    \b
    Offline, from Flickr30k Entities:
      python builders/comvint.py --scenes flickr30k:DIR --llm annotations --out build/comvint
    A strong writer and a cheaper judge, two rounds:
      python builders/comvint.py --scenes visual_genome:DIR --llm MODEL --judge MODEL --rounds 2 \\
             --base-url URL --budget 20 --out build/comvint

    Stop it and run the same command again: it goes on where it was.
    """
    make_dataset(comvint(rounds, formats, kinds, count), options)


if __name__ == "__main__":
    main()
