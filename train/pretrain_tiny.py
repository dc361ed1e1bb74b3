"""Make the tiny LLaVA that the demo tunes: a tokenizer from a dataset's texts, a vision tower pretrained on rendered shapes."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

import time
from itertools import chain
from pathlib import Path

import click
from datasets import Dataset, load_dataset

from comvint_hf import load_scenes
from comvint_hf.cli import handle_errors, usage_errors
from comvint_hf.errors import InputError, first_line, make_output_folder
from comvint_hf.pipeline.progress import format_duration
from comvint_hf.training.tiny_model import make_tiny_model


@click.command(context_settings={"max_content_width": 110})
@click.option("--dataset", required=True, metavar="DIR|ORG/NAME", help="The dataset whose texts train the tokenizer.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The model's folder.")
@click.option("--scenes", metavar="SOURCE:PATH", help="Scenes to pretrain the vision tower on, for example shapes:30000.")
@click.option("--texts", default=20_000, show_default=True, type=click.IntRange(1), help="Rows to train the tokenizer on.")
@click.option("--pixels", default=96, show_default=True, type=click.IntRange(32), help="The side to which images are resized.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Of weights and scenes. Keep it different from the dataset's, so that its test images stay unseen.",
)
@handle_errors
def main(dataset: str, out: Path, scenes: str | None, texts: int, pixels: int, seed: int) -> None:
    """Make the tiny LLaVA, 1.5 million parameters, with random weights outside the vision tower."""
    with usage_errors():
        loaded_scenes = load_scenes(scenes, seed=seed) if scenes else None
        rows = load_rows(dataset).shuffle(seed=seed)
    make_output_folder(out)
    contents = chain.from_iterable((message["content"] for message in row["messages"]) for row in rows.take(texts))
    make_tiny_model(out, contents, scenes=loaded_scenes, seed=seed, pixels=pixels, progress=ProgressLine())
    click.echo(f"{out} holds the tiny LLaVA.")


def load_rows(dataset: str) -> Dataset:
    try:
        return load_dataset(dataset, split="train").select_columns(["messages"])
    except (OSError, ValueError) as error:
        raise InputError(f"{dataset} has no split train with messages ({first_line(error)}); give a dataset of rows.") from error


class ProgressLine:
    """Prints a line every few seconds."""

    def __init__(self, interval: float = 10.0) -> None:
        self.start, self.last, self.interval = time.monotonic(), time.monotonic(), interval

    def __call__(self, step: int, steps: int) -> None:
        if time.monotonic() - self.last > self.interval:
            self.last = time.monotonic()
            left = (self.last - self.start) / step * (steps - step)
            print(f"vision tower: step {step:,} of {steps:,} · {format_duration(left)} left", flush=True)


if __name__ == "__main__":
    main()
