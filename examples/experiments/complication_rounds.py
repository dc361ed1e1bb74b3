"""How many rounds of complication, and which answer formats? ComVint's two open questions, on the tiny model and shapes.

Every arm is the same model tuned on another set of the same scenes: builders/comvint.py, train/sft.py and train/evaluate.py
with a flag or two changed. All arms see equally many tokens and answer the same held-out questions.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from complication import jobs
from complication.arms import BEFORE, Settings, arms_of, digest, same_settings
from complication.drawing import plot, tables
from complication.figures import results_of
from complication.runs import Bench
from datasets import disable_progress_bars
from rich.console import Console

from comvint_hf.cli import calm
from comvint_hf.errors import InputError

QUICK = {"tokens": 20_000, "seeds": 1, "scenes": 40, "rounds": 1, "asked": 5}


@click.command(context_settings={"max_content_width": 110})
@click.option("--base", default="build/demo/model", show_default=True, help="The model that every arm goes on from.")
@click.option("--tokens", default=1_200_000, show_default=True, type=click.IntRange(1), help="Tokens that each run sees.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Runs of each arm.")
@click.option("--scenes", default=2500, show_default=True, type=click.IntRange(40), help="Pictures that each set is built from.")
@click.option("--level", default="grid", show_default=True, help="Of the pictures: single, grid, crowded or free.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Sets with 0 up to so many rounds.")
@click.option("--format-rounds", default=1, show_default=True, type=click.IntRange(0), help="Rounds of the sets of one format.")
@click.option("--asked", default=100, show_default=True, type=click.IntRange(1), help="Questions of each format and rounds.")
@click.option("--learning-rate", default=1e-3, show_default=True, type=float, help="The highest of each run.")
@click.option("--at-once", default=2, show_default=True, type=click.IntRange(1), help="Runs beside each other.")
@click.option("--out", default="build/experiment-rounds", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--quick", is_flag=True, help="Tiny sizes, to see that all of it works; the figures mean nothing.")
@calm
def main(out: Path, at_once: int, quick: bool, **given: Any) -> None:
    """Does complicating help, and which format? One tuned model an arm, equal tokens, the same held-out questions.

    \b
    Sets with 0, 1, 2, 3 rounds in mixed formats, and sets of one format each:
      make demo SERVE=0 && make experiment-rounds
      python examples/experiments/complication_rounds.py --tokens 4000000 --seeds 3 --out build/long

    Leaves results.json, rounds.png and formats.png in --out. Stop it and run the same command again: it goes on where it was.
    """
    settings = Settings(**given | (QUICK if quick else {}), weights=digest(Path(given["base"])))
    if settings.format_rounds > settings.rounds:
        raise InputError(
            f"--format-rounds {settings.format_rounds} is over --rounds {settings.rounds}: the mixed set would be missing."
        )
    same_settings(out, settings)
    disable_progress_bars()
    arms = arms_of(settings)
    bench = Bench(out, settings, max(1, (os.cpu_count() or 1) // at_once), Path(__file__).parents[2])
    sets = {name: partial(bench.build, name, arm) for name, arm in arms.items()}
    jobs.all_of("sets", {"held out": bench.hold_out, **sets}, at_once)
    runs = {f"{name}, seed {seed}": partial(bench.run, name, seed) for seed in range(settings.seeds) for name in arms}
    jobs.all_of("runs", {BEFORE: bench.ask_before, **runs}, at_once)
    results = results_of(bench, arms)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, out)
    Console(width=None if sys.stdout.isatty() else 150).print(*tables(results))
    click.echo(f"Tokens seen differ by {results['tokens apart']:.2%} at most. {out}: results.json, rounds.png, formats.png.")


if __name__ == "__main__":
    main()
