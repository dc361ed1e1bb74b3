# /// script
# requires-python = ">=3.11"
# dependencies = ["comvint-hf[build]", "datatrove>=0.10"]
#
# [tool.uv.sources]
# comvint-hf = { path = ".." }
# ///
"""Build an instruction dataset the way the VLIT review describes: self-made dialogues under switchable constraints."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

from dataclasses import replace

import click

from comvint_hf.cli import BuildCommand, BuildOptions, NameList, handle_errors, make_dataset
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.generation.recipes.vlit.stages import CONSTRAINTS, SHOTS, load_examples

TEMPERATURE = 0.8
"""The review's temperature: several dialogues are asked of one image, and they must differ."""


@click.command(cls=BuildCommand)
@click.option("--generations", default=5, type=click.IntRange(1), help="Dialogues for each image.")
@click.option(
    "--constraints",
    type=NameList(CONSTRAINTS),
    default=tuple(CONSTRAINTS),
    help="The dialogues take turns through these constraints.",
)
@click.option("--shots", default=SHOTS, type=click.IntRange(0, len(load_examples())), help="Examples in each prompt.")
@handle_errors
def main(options: BuildOptions, generations: int, constraints: tuple[str, ...], shots: int) -> None:
    """Put each annotation into words and write several dialogues for each image (the VLIT review's example pipeline).

    \b
    Offline, from COCO's annotations:
      python builders/vlit.py --scenes coco:DIR --llm annotations --out build/vlit
    By a language model, only dialogues about absent objects and dialogues about one region:
      python builders/vlit.py --scenes coco:DIR --llm MODEL --constraints negatives,one_region --out build/vlit

    A model is asked at temperature 0.8 unless --temperature says otherwise.
    Stop it and run the same command again: it continues where it was.
    """
    if options.llm != "annotations" and options.llm_settings.temperature is None:
        options = replace(options, llm_settings=replace(options.llm_settings, temperature=TEMPERATURE))
    make_dataset(vlit(generations, constraints, shots), options)


if __name__ == "__main__":
    main()
