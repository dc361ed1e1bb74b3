"""Make the tiny LLaVA that the demo tunes: a tokenizer from a dataset's texts, a vision tower taught on rendered shapes."""

import time
from itertools import chain
from pathlib import Path

import click
from datasets import Dataset, load_dataset

from comvint_hf import load_scenes
from comvint_hf.cli import calm, wrong_use
from comvint_hf.errors import InputError, first_line, writable
from comvint_hf.progress import duration
from comvint_hf.training.tiny_model import make_tiny


@click.command(context_settings={"max_content_width": 110})
@click.option("--dataset", required=True, metavar="DIR|ORG/NAME", help="Its training texts teach the tokenizer.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The model's folder.")
@click.option("--scenes", metavar="SOURCE:PATH", help="Pictures that teach the vision tower, for example shapes:30000.")
@click.option("--texts", default=20_000, show_default=True, type=click.IntRange(1), help="Rows that teach the tokenizer.")
@click.option("--pixels", default=96, show_default=True, type=click.IntRange(32), help="The side pictures are resized to.")
@click.option(
    "--seed", default=1, show_default=True, help="Draws weights and scenes; not the dataset's, whose test images stay unseen."
)
@calm
def main(dataset: str, out: Path, scenes: str | None, texts: int, pixels: int, seed: int) -> None:
    """Make the tiny LLaVA, 1.5 million parameters, with random weights beside the tower's."""
    with wrong_use():
        pictures = load_scenes(scenes, seed=seed) if scenes else None
        rows = load_rows(dataset).shuffle(seed=seed)
    writable(out)
    said = chain.from_iterable((turn["content"] for turn in row["messages"]) for row in rows.take(texts))
    make_tiny(out, said, scenes=pictures, seed=seed, pixels=pixels, progress=TimeLeft())
    click.echo(f"{out} holds the tiny LLaVA.")


def load_rows(dataset: str) -> Dataset:
    try:
        return load_dataset(dataset, split="train").select_columns(["messages"])
    except (OSError, ValueError) as error:
        raise InputError(f"{dataset} has no split train with messages ({first_line(error)}); give a dataset of rows.") from error


class TimeLeft:
    """Print a line every few seconds."""

    def __init__(self, every: float = 10.0) -> None:
        self.began, self.spoke, self.every = time.monotonic(), time.monotonic(), every

    def __call__(self, step: int, steps: int) -> None:
        if time.monotonic() - self.spoke > self.every:
            self.spoke = time.monotonic()
            left = (self.spoke - self.began) / step * (steps - step)
            print(f"vision tower: step {step:,} of {steps:,} · {duration(left)} left", flush=True)


if __name__ == "__main__":
    main()
