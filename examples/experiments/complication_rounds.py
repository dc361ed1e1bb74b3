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
from complication.arms import BEFORE, Settings, hash_weights, list_arms, save_settings
from complication.experiment import Experiment
from complication.jobs import run_jobs
from complication.report import make_tables, plot_results
from complication.results import compute_results
from datasets import disable_progress_bars
from rich.console import Console

from comvint_hf.cli import handle_errors
from comvint_hf.errors import InputError

QUICK = {"tokens": 20_000, "seeds": 1, "scenes": 40, "rounds": 1, "asked": 5}


@click.command(context_settings={"max_content_width": 110})
@click.option("--base", default="build/demo/model", show_default=True, help="The base model of every arm.")
@click.option("--tokens", default=1_200_000, show_default=True, type=click.IntRange(1), help="Tokens that each run sees.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Runs of each arm.")
@click.option("--scenes", default=2500, show_default=True, type=click.IntRange(40), help="Images that each set is built from.")
@click.option("--level", default="grid", show_default=True, help="The level of the images: single, grid, crowded or free.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Build sets with 0 up to this many rounds.")
@click.option("--format-rounds", default=1, show_default=True, type=click.IntRange(0), help="Rounds of the sets with one format.")
@click.option(
    "--asked", default=100, show_default=True, type=click.IntRange(1), help="Questions of each format and number of rounds."
)
@click.option("--learning-rate", default=1e-3, show_default=True, type=float, help="The peak learning rate of each run.")
@click.option("--at-once", default=2, show_default=True, type=click.IntRange(1), help="Runs in parallel.")
@click.option("--out", default="build/experiment-rounds", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--quick", is_flag=True, help="Tiny sizes, to check that everything works; the results mean nothing.")
@handle_errors
def main(out: Path, at_once: int, quick: bool, **options: Any) -> None:
    """Does complicating help, and which format? One tuned model per arm, equal tokens, the same held-out questions.

    \b
    Sets with 0, 1, 2, 3 rounds in mixed formats, and sets of one format each:
      make demo SERVE=0 && make experiment-rounds
      python examples/experiments/complication_rounds.py --tokens 4000000 --seeds 3 --out build/long

    Leaves results.json, rounds.png and formats.png in --out. If it is stopped, the same command continues where it was.
    """
    settings = Settings(**options | (QUICK if quick else {}), weights=hash_weights(Path(options["base"])))
    if settings.format_rounds > settings.rounds:
        raise InputError(
            f"--format-rounds {settings.format_rounds} is over --rounds {settings.rounds}: the mixed set would be missing."
        )
    save_settings(out, settings)
    disable_progress_bars()
    arms = list_arms(settings)
    # Parallel runs share the cores.
    experiment = Experiment(out, settings, max(1, (os.cpu_count() or 1) // at_once), Path(__file__).parents[2])
    sets = {name: partial(experiment.build_dataset, name, arm) for name, arm in arms.items()}
    run_jobs("sets", {"held out": experiment.select_questions, **sets}, at_once)
    runs = {
        f"{name}, seed {seed}": partial(experiment.train_and_evaluate, name, seed)
        for seed in range(settings.seeds)
        for name in arms
    }
    run_jobs("runs", {BEFORE: experiment.evaluate_base, **runs}, at_once)
    results = compute_results(experiment, arms)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    plot_results(results, out)
    Console(width=None if sys.stdout.isatty() else 150).print(*make_tables(results))
    click.echo(f"Tokens seen differ by {results['tokens apart']:.2%} at most. {out}: results.json, rounds.png, formats.png.")


if __name__ == "__main__":
    main()
