"""Build an instruction dataset the way the VLIT review describes: self-made dialogues under switchable constraints."""

import click

from comvint_hf.cli import BuildOptions, Several, build_options, calm, make_dataset
from comvint_hf.synthesis.recipes import vlit
from comvint_hf.synthesis.stages.vlit import CONSTRAINTS


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
      python builders/vlit.py --scenes coco:DIR --llm MODEL --constraint NAME --constraint NAME --out build/vlit

    Stop it and run the same command again: it goes on where it was.
    """
    make_dataset(vlit(generations, constraints), options)


if __name__ == "__main__":
    main()
