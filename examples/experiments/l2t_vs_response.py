"""L2T against response-only: the same tiny model, rows and steps, over several seeds. Prints one table and writes it as JSON.

Each run is train/sft.py and train/evaluate.py with one flag changed; a run whose results exist is not repeated.
"""

import json
import statistics
import sys
from pathlib import Path

import click
from complication import jobs
from rich.console import Console
from rich.table import Table

from comvint_hf.cli import handle_errors
from comvint_hf.errors import make_output_folder

TRAIN = Path(__file__).parents[2] / "train"
ARMS = {"L2T": "instruction+response", "response only": "response"}
METRICS = ("closed_accuracy", "absent_accuracy", "yes_ratio", "mean_iou", "acc_at_50", "description_f1")


@click.command(context_settings={"max_content_width": 110})
@click.option("--dataset", default="build/demo/dataset", show_default=True, type=click.Path(path_type=Path))
@click.option("--base", default="build/demo/base", show_default=True, type=click.Path(path_type=Path), help="The untuned model.")
@click.option("--steps", default=4000, show_default=True, type=click.IntRange(1), help="Steps of each run.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Runs of each arm.")
@click.option("--limit", default=4000, show_default=True, type=click.IntRange(1), help="Held-out rows to ask.")
@click.option("--out", default="build/experiment", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@handle_errors
def main(dataset: Path, base: Path, steps: int, seeds: int, limit: int, out: Path) -> None:
    """Does the loss on instructions help? The demo's dataset and base model, two arms, equal steps.

    \b
      make demo SERVE=0 && make experiment
      python examples/experiments/l2t_vs_response.py --steps 2000 --seeds 3 --out build/short
    """
    if not (dataset.is_dir() and base.is_dir()):
        raise click.UsageError(
            f"{dataset} and {base} do not both exist: run `make demo SERVE=0` first, or give --dataset and --base."
        )
    make_output_folder(out)
    results = {arm: [run_arm(arm, seed, dataset, base, steps, limit, out) for seed in range(seeds)] for arm in ARMS}
    (out / "experiment.json").write_text(json.dumps({"steps": steps, "seeds": seeds, "arms": results}, indent=2) + "\n")
    Console(width=None if sys.stdout.isatty() else 140).print(make_table(results, steps))


def run_arm(arm: str, seed: int, dataset: Path, base: Path, steps: int, limit: int, out: Path) -> dict[str, float]:
    """Tune and evaluate one arm with one seed. Returns the metrics of results.json."""
    folder = out / f"{arm.replace(' ', '-')}-{steps}-{seed}"
    results = folder / "results.json"
    if not results.exists():
        paths = ["--model_name_or_path", base, "--dataset_name", dataset, "--output_dir", folder]
        settings = ["--config", TRAIN / "demo.yaml", "--max_steps", steps, "--seed", seed, "--learn", ARMS[arm]]
        evaluation = ["--model", folder, "--dataset", dataset, "--limit", limit, "--out", results]
        for script, flags in (("sft.py", [*paths, *settings]), ("evaluate.py", evaluation)):
            command = [sys.executable, TRAIN / script, *flags]
            jobs.run_command(command, folder.with_suffix(".log"), f"{arm}, seed {seed}, {script}", click.echo)
    return {name: value for name, value in json.loads(results.read_text()).items() if name in METRICS}


def make_table(results: dict[str, list[dict[str, float]]], steps: int) -> Table:
    """Make a table with a column per arm: the mean over seeds, and each seed's value."""
    table = Table("", *results, title=f"{steps:,} steps, mean (each seed)", box=None, padding=(0, 2, 0, 0))
    for name in METRICS:
        columns = ([run[name] for run in runs] for runs in results.values())
        table.add_row(
            name, *(f"{statistics.mean(values):.3f} ({', '.join(f'{each:.3f}' for each in values)})" for values in columns)
        )
    return table


if __name__ == "__main__":
    main()
