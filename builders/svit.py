# /// script
# requires-python = ">=3.11"
# dependencies = ["comvint-hf[build]", "datatrove>=0.10"]
#
# [tool.uv.sources]
# comvint-hf = { path = ".." }
# ///
"""Build an instruction dataset the SVIT way: conversation, complex reasoning, referring QA and detail description."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

import click

from comvint_hf.cli import BuildCommand, BuildOptions, handle_errors, make_dataset, tasks_option
from comvint_hf.generation.recipes.svit import MOST_SHOTS, SVIT_TASKS, svit


@click.command(cls=BuildCommand)
@tasks_option(SVIT_TASKS)
@click.option(
    "--shots",
    default=0,
    type=click.IntRange(0, MOST_SHOTS),
    help="Examples in each prompt. The paper shows none, for variety; a weak model needs one.",
)
@handle_errors
def main(options: BuildOptions, tasks: tuple[str, ...], shots: int) -> None:
    """Write four tasks for each image (SVIT): conversations, complex reasoning, referring questions, a description.

    \b
    Offline, from COCO's annotations, in about a minute:
      python builders/svit.py --scenes coco:DIR --llm annotations --out build/svit
    Two of the tasks for rendered scenes, in four processes; nothing to download:
      python builders/svit.py --scenes shapes:500 --tasks conversation,referring_qa --num-workers 4 --out build/shapes
    By a language model of any OpenAI-compatible endpoint, for at most 5 dollars, then to the Hub:
      python builders/svit.py --scenes visual_genome:DIR --llm MODEL --base-url URL --budget 5 \\
             --out build/vg --push-to ORG/NAME

    Stop it and run the same command again: it continues where it was.
    """
    make_dataset(svit(tasks, shots), options)


if __name__ == "__main__":
    main()
