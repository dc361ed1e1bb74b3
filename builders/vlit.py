# /// script
# requires-python = ">=3.11"
# dependencies = ["comvint-hf[build]", "datatrove>=0.10"]
#
# [tool.uv.sources]
# comvint-hf = { path = ".." }
# ///
"""Build an instruction dataset the way the VLIT review describes: self-made dialogues under switchable constraints."""

from dataclasses import replace

import click

from comvint_hf.cli import BuildOptions, Several, build_options, calm, make_dataset
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.generation.recipes.vlit.stages import CONSTRAINTS

TEMPERATURE = 0.8
"""The review's, for a language model that several dialogues an image are asked of."""


@click.command(context_settings={"max_content_width": 110})
@build_options
@click.option("--generations", default=5, show_default=True, type=click.IntRange(1), help="Dialogues an image.")
@click.option(
    "--constraints", type=Several(CONSTRAINTS), default=tuple(CONSTRAINTS), help="Constraints in turn; all unless given."
)
@calm
def main(options: BuildOptions, generations: int, constraints: tuple[str, ...]) -> None:
    """Put every annotation into words and write several dialogues an image (the VLIT review's example pipeline).

    \b
    Offline, from COCO's annotations:
      python builders/vlit.py --scenes coco:DIR --llm annotations --out build/vlit
    With a language model, only dialogues that ask about absent things and dialogues about one region:
      python builders/vlit.py --scenes coco:DIR --llm MODEL --constraints negatives,one_region --out build/vlit

    A model is asked at temperature 0.8 unless --temperature says otherwise.
    Stop it and run the same command again: it goes on where it was.
    """
    if options.llm != "annotations" and options.temperature is None:
        options = replace(options, temperature=TEMPERATURE)
    make_dataset(vlit(generations, constraints), options)


if __name__ == "__main__":
    main()
