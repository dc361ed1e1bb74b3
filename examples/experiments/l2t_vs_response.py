"""L2T against response-only: the same tiny model, rows and steps, over several seeds; prints one table and leaves it as JSON.

Each run is train/sft.py and train/evaluate.py with one flag changed; a run whose figures lie there is not done again.
"""

import json
import statistics
import sys
from pathlib import Path

import click
from complication import jobs
from rich.console import Console
from rich.table import Table

from comvint_hf.cli import calm
from comvint_hf.errors import writable

TRAIN = Path(__file__).parents[2] / "train"
ARMS = {"L2T": "instruction+response", "response only": "response"}
FIGURES = ("closed_accuracy", "absent_accuracy", "yes_ratio", "mean_iou", "acc_at_50", "description_f1")


@click.command(context_settings={"max_content_width": 110})
@click.option("--dataset", default="build/demo/dataset", show_default=True, type=click.Path(path_type=Path))
@click.option("--base", default="build/demo/base", show_default=True, type=click.Path(path_type=Path), help="The untuned model.")
@click.option("--steps", default=4000, show_default=True, type=click.IntRange(1), help="Of each run.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Runs of each arm.")
@click.option("--limit", default=4000, show_default=True, type=click.IntRange(1), help="Held-out rows to ask.")
@click.option("--out", default="build/experiment", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@calm
def main(dataset: Path, base: Path, steps: int, seeds: int, limit: int, out: Path) -> None:
    """Does the loss on instructions help? The demo's dataset and base model, two arms, equal steps.

    \b
      make demo SERVE=0 && make experiment
      python examples/experiments/l2t_vs_response.py --steps 2000 --seeds 3 --out build/short
    """
    if not (dataset.is_dir() and base.is_dir()):
        said = f"{dataset} and {base} are not both there: run `make demo SERVE=0` first, or give --dataset and --base."
        raise click.UsageError(said)
    writable(out)
    figures = {arm: [one_run(arm, seed, dataset, base, steps, limit, out) for seed in range(seeds)] for arm in ARMS}
    (out / "experiment.json").write_text(json.dumps({"steps": steps, "seeds": seeds, "arms": figures}, indent=2) + "\n")
    Console(width=None if sys.stdout.isatty() else 140).print(drawn(figures, steps))


def one_run(arm: str, seed: int, dataset: Path, base: Path, steps: int, limit: int, out: Path) -> dict[str, float]:
    """Tune and score one arm with one seed; the figures of results.json."""
    folder = out / f"{arm.replace(' ', '-')}-{steps}-{seed}"
    results = folder / "results.json"
    if not results.exists():
        where = ["--model_name_or_path", base, "--dataset_name", dataset, "--output_dir", folder]
        settings = ["--config", TRAIN / "demo.yaml", "--max_steps", steps, "--seed", seed, "--learn", ARMS[arm]]
        asked = ["--model", folder, "--dataset", dataset, "--limit", limit, "--out", results]
        for script, flags in (("sft.py", [*where, *settings]), ("evaluate.py", asked)):
            command = [sys.executable, TRAIN / script, *flags]
            jobs.run(command, folder.with_suffix(".log"), f"{arm}, seed {seed}, {script}", click.echo)
    return {name: value for name, value in json.loads(results.read_text()).items() if name in FIGURES}


def drawn(figures: dict[str, list[dict[str, float]]], steps: int) -> Table:
    """A column an arm: the mean over seeds, and each seed's figure."""
    table = Table("", *figures, title=f"{steps:,} steps, mean (each seed)", box=None, padding=(0, 2, 0, 0))
    for name in FIGURES:
        told = ([run[name] for run in runs] for runs in figures.values())
        table.add_row(name, *(f"{statistics.mean(of):.3f} ({', '.join(f'{one:.3f}' for one in of)})" for of in told))
    return table


if __name__ == "__main__":
    main()
