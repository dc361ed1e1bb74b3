# /// script
# requires-python = ">=3.11"
# dependencies = ["comvint-hf[build]", "datatrove>=0.10"]
#
# [tool.uv.sources]
# comvint-hf = { path = ".." }
# ///
"""Build an instruction dataset the SVIT way: conversation, complex reasoning, referring QA and detail description."""

import click

from comvint_hf.cli import BuildOptions, build_options, calm, make_dataset
from comvint_hf.generation.recipes.svit import SVIT_TASKS, svit


@click.command(context_settings={"max_content_width": 110})
@build_options(kinds=SVIT_TASKS)
@calm
def main(options: BuildOptions, tasks: tuple[str, ...]) -> None:
    """Ask for four tasks an image (SVIT): three conversations, reasoning, questions about marked things, a description.

    \b
    Offline, from COCO's annotations, in about a minute:
      python builders/svit.py --scenes coco:DIR --llm annotations --out build/svit
    Rendered scenes, nothing to download:
      python builders/svit.py --scenes shapes:500 --llm annotations --out build/shapes
    With a language model behind any OpenAI-compatible address, at most 5 dollars, then to the Hub:
      python builders/svit.py --scenes visual_genome:DIR --llm MODEL --base-url URL --budget 5 \\
             --out build/vg --push-to ORG/NAME

    Stop it and run the same command again: it goes on where it was.
    """
    make_dataset(svit(tasks), options)


if __name__ == "__main__":
    main()
