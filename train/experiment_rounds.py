"""How many rounds of complication, and which answer formats? ComVint's two open questions, on the tiny model and shapes.

Every arm is the same model tuned on another set of the same scenes: builders/comvint.py, train/sft.py and train/evaluate.py
with a flag or two changed. All arms see equally many tokens and answer the same held-out questions.
"""

import hashlib
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from datasets import disable_progress_bars, load_dataset
from rich.console import Console
from rich.table import Table
from transformers import AutoProcessor

from comvint_hf import L2TCollator
from comvint_hf.cli import calm
from comvint_hf.cli.endings import INCOMPLETE
from comvint_hf.data.coreset import take
from comvint_hf.errors import InputError
from comvint_hf.records import FORMATS
from comvint_hf.serving.comparing import (
    Estimate,
    Graded,
    Words,
    accuracy,
    best_guess,
    difference,
    graded,
    groups,
    rounds_asked,
    truth_of,
)
from comvint_hf.serving.plots import Panel, draw
from comvint_hf.serving.report import commit, train_minutes, versions
from comvint_hf.sources.shapes import COLOURS, NUMBERS, SHAPES, SIZES
from comvint_hf.tuning import jobs
from comvint_hf.tuning.run import task_templates, trainable_rows
from comvint_hf.tuning.tokens import Tokens, apart, count_tokens, steps_that_see

HERE = Path(__file__).parent
BUILDER = HERE.parent / "builders" / "comvint.py"
BATCH = 16
TRAINED_ON, ASKED_ABOUT = 31, 32
"""Seeds of the scenes; the demo's is 0, so none of them was seen before."""
WORDS = Words(SHAPES, (*NUMBERS, "none"), (*COLOURS, *SIZES))
BEFORE = "before"
"""The model that no arm has tuned."""
MIXED = "rounds {}"
"""The arms of mixed formats, by their number of rounds."""
ONLY = "{} only"
"""The arms of one format."""
QUICK = {"tokens": 20_000, "seeds": 1, "scenes": 40, "rounds": 1, "asked": 5}
GROUPS: dict[str, Callable[[Graded], str]] = {
    "all": lambda answer: "all",
    "format": lambda answer: answer.format,
    "rounds": lambda answer: str(answer.rounds),
    "task": lambda answer: answer.task,
    "topic": lambda answer: answer.topic,
    "format and rounds": lambda answer: f"{answer.format} {answer.rounds}",
}


@dataclass(frozen=True)
class Settings:
    """All that decides the figures. `weights` tells one base from another that lay in its place."""

    base: str
    weights: str
    tokens: int
    seeds: int
    scenes: int
    level: str
    rounds: int
    format_rounds: int
    asked: int
    learning_rate: float


@dataclass(frozen=True)
class Arm:
    """A training set: how often its samples were complicated, and which formats they end in."""

    rounds: int
    formats: tuple[str, ...] = FORMATS


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
      python train/experiment_rounds.py --tokens 4000000 --seeds 3 --out build/long

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
    bench = Bench(out, settings, max(1, (os.cpu_count() or 1) // at_once))
    sets = {name: partial(bench.build, name, arm) for name, arm in arms.items()}
    jobs.all_of("sets", {"held out": bench.hold_out, **sets}, at_once)
    runs = {f"{name}, seed {seed}": partial(bench.run, name, seed) for seed in range(settings.seeds) for name in arms}
    jobs.all_of("runs", {BEFORE: bench.ask_before, **runs}, at_once)
    results = bench.results(arms)
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, out)
    Console(width=None if sys.stdout.isatty() else 150).print(*tables(results))
    click.echo(f"Tokens seen differ by {results['tokens apart']:.2%} at most. {out}: results.json, rounds.png, formats.png.")


def digest(base: Path) -> str:
    """A short name of a model's weights. Raises `InputError` where there are none."""
    files = sorted(base.glob("*.safetensors"))
    if not files:
        raise InputError(f"{base} holds no model: run `make demo SERVE=0` first, or give --base.")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def arms_of(settings: Settings) -> dict[str, Arm]:
    """Every set to train on, by name; the set of mixed formats at `format_rounds` serves both questions."""
    by_rounds = {MIXED.format(number): Arm(number) for number in range(settings.rounds + 1)}
    return by_rounds | {ONLY.format(format): Arm(settings.format_rounds, (format,)) for format in FORMATS}


def same_settings(out: Path, settings: Settings) -> None:
    """Note the settings in `out`. Raises `InputError` where figures of other settings lie."""
    noted = out / "settings.json"
    if noted.exists() and json.loads(noted.read_text()) != asdict(settings):
        raise InputError(f"{out} holds an experiment with other settings ({noted}): give another --out, or delete it.")
    out.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(asdict(settings), indent=2) + "\n")


@dataclass(frozen=True)
class Bench:
    """Where everything lies, and what is done there; each step leaves a file, and is done once."""

    out: Path
    settings: Settings
    threads: int

    @property
    def questions(self) -> Path:
        return self.out / "held-out"

    def build(self, name: str, arm: Arm) -> None:
        """Build the arm's training set, and count its tokens."""
        if not (self.out / "sets" / name / "tokens.json").exists():
            folder = self.built(name, arm, TRAINED_ON)
            (folder / "tokens.json").write_text(json.dumps(self.counted(folder)._asdict()) + "\n")

    def hold_out(self) -> None:
        """Choose the questions from scenes of their own: equally many of each format and number of rounds, as far as there are."""
        if (self.questions / "test-00000.parquet").exists():
            return
        rows = rows_of(self.built("asked", Arm(self.settings.rounds), ASKED_ABOUT))
        kinds = [cell_of(row) for row in rows.remove_columns("images")]
        chosen = take(kinds, dict.fromkeys(filter(None, kinds), self.settings.asked) | {"": 0})
        self.questions.mkdir(parents=True, exist_ok=True)
        rows.select(chosen).to_parquet(self.questions / "test-00000.parquet")

    def built(self, name: str, arm: Arm, seed: int) -> Path:
        """Run the builder; every row is in the split train. Offline there are always some samples that cannot be made."""
        folder = self.out / "sets" / name
        scenes = f"shapes:{self.settings.scenes},level={self.settings.level}"
        flags = ("--scenes", scenes, "--seed", seed, "--split", 0, "--rounds", arm.rounds, "--formats", ",".join(arm.formats))
        self.do(name, "build.log", BUILDER, *flags, "--out", folder, fine=(0, INCOMPLETE))
        return folder

    def counted(self, folder: Path) -> Tokens:
        rows = rows_of(folder)
        collator = L2TCollator(AutoProcessor.from_pretrained(self.settings.base), templates=task_templates("mine", rows))
        return count_tokens(trainable_rows(rows), collator)

    def steps(self, name: str) -> int:
        """How many steps see the tokens that every run sees."""
        return steps_that_see(self.settings.tokens, self.tokens(name), BATCH)

    def tokens(self, name: str) -> Tokens:
        return Tokens(**json.loads((self.out / "sets" / name / "tokens.json").read_text()))

    def run(self, name: str, seed: int) -> None:
        """Tune on one arm with one seed, and ask the held-out questions."""
        folder = self.out / "runs" / f"{name}-{seed}"
        if (folder / "results.json").exists():
            return
        steps = self.steps(name)
        tuned = {
            "model_name_or_path": self.settings.base,
            "dataset_name": self.out / "sets" / name,
            "output_dir": folder,
            "seed": seed,
            "max_steps": steps,
            "warmup_steps": max(1, steps // 10),
            "logging_steps": log_every(steps),
            "save_strategy": "steps",
            "save_steps": steps,
            "save_only_model": "true",
            "learning_rate": self.settings.learning_rate,
            "per_device_train_batch_size": BATCH,
        }
        flags = [part for flag, value in tuned.items() for part in (f"--{flag}", value)]
        self.do(f"{name}, seed {seed}", "tune.log", HERE / "sft.py", "--config", HERE / "demo.yaml", *flags)
        self.ask(f"{name}, seed {seed}", folder, folder)

    def ask_before(self) -> None:
        """Ask the model that no arm has tuned."""
        if not (self.out / "runs" / BEFORE / "results.json").exists():
            self.ask(BEFORE, Path(self.settings.base), self.out / "runs" / BEFORE)

    def ask(self, name: str, model: Path, folder: Path) -> None:
        flags = ("--model", model, "--dataset", self.questions, "--batch-size", 64, "--max-new-tokens", 96)
        self.do(name, "ask.log", HERE / "evaluate.py", *flags, "--out", folder / "results.json")

    def do(self, name: str, log: str, script: Path, *flags: object, fine: Sequence[int] = (0,)) -> None:
        path = self.out / "logs" / f"{name.replace(', seed ', '-').replace(' ', '-')}-{log}"
        jobs.run([sys.executable, script, *flags], path, name, click.echo, self.threads, fine)

    def answers(self, name: str) -> list[list[Graded]]:
        """The graded answers of an arm, a list for each of its runs."""
        rows = {row["id"]: row for row in rows_of(self.questions, "test").remove_columns("images")}
        folders = [BEFORE] if name == BEFORE else [f"{name}-{seed}" for seed in range(self.settings.seeds)]
        files = (self.out / "runs" / folder / "results_answers.jsonl" for folder in folders)
        return [graded(map(json.loads, file.read_text(encoding="utf-8").splitlines()), rows, WORDS) for file in files]

    def training(self, name: str) -> dict[str, Any]:
        """What an arm was tuned on, and what each of its runs saw."""
        tokens = self.tokens(name)
        rounds = Counter(rows_of(self.out / "sets" / name)["rounds"])
        folders = [self.out / "runs" / f"{name}-{seed}" for seed in range(self.settings.seeds)]
        logs = [json.loads((folder / f"checkpoint-{self.steps(name)}" / "trainer_state.json").read_text()) for folder in folders]
        return {
            "rows": tokens.rows,
            "rows by rounds": {str(number): rounds[number] for number in sorted(rounds)},
            "tokens a row": tokens.seen / tokens.rows,
            "share of tokens with loss": tokens.trained / tokens.seen,
            "steps": self.steps(name),
            "tokens seen": [round(log["log_history"][-1]["num_tokens"]) for log in logs],
            "minutes": [train_minutes(folder) for folder in folders],
        }

    def results(self, arms: dict[str, Arm]) -> dict[str, Any]:
        """All figures, as they are written."""
        answers = {name: self.answers(name) for name in (BEFORE, *arms)}
        asked = {kind: groups(answers[BEFORE], key) for kind, key in GROUPS.items()}
        against = {name: MIXED.format(self.settings.format_rounds if len(arm.formats) == 1 else 0) for name, arm in arms.items()}
        training = {name: self.training(name) for name in arms}
        return {
            "settings": asdict(self.settings),
            "git": commit(HERE),
            "versions": versions(),
            "questions": {kind: {group: len(own[0]) for group, own in parts.items()} for kind, parts in asked.items()},
            "never looking": {kind: {group: best_guess(own[0]) for group, own in parts.items()} for kind, parts in asked.items()},
            "training": training,
            "tokens apart": apart([seen for arm in training.values() for seen in arm["tokens seen"]]),
            "accuracy": {name: by_group(runs) for name, runs in answers.items()},
            "difference": {
                name: {"to": other, **difference(answers[name], answers[other])._asdict()}
                for name, other in against.items()
                if name != other
            },
        }


def by_group(runs: list[list[Graded]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The accuracy of one arm in every group of questions."""
    return {kind: {name: accuracy(own)._asdict() for name, own in groups(runs, key).items()} for kind, key in GROUPS.items()}


def log_every(steps: int) -> int:
    """About twenty logs a run, the last of them at its last step, because the logs tell the tokens seen."""
    return next(every for every in range(max(1, steps // 20), 0, -1) if steps % every == 0)


def rows_of(folder: Path, split: str = "train") -> Any:
    return load_dataset(str(folder), split=split)


def cell_of(row: dict[str, Any]) -> str:
    """The format and the rounds of a question; empty where its truth cannot be read, so that it is not asked."""
    question, gold = (turn["content"] for turn in row["messages"])
    return f"{row['format']} {rounds_asked(row)}" if truth_of(row["format"], question, gold, WORDS) else ""


def tables(results: dict[str, Any]) -> Iterator[Table]:
    """One line an arm: what it saw, and its accuracy by format and by the questions' rounds."""
    accuracies, guess = results["accuracy"], results["never looking"]
    columns = [("all", "all"), *(("format", name) for name in guess["format"]), *(("rounds", name) for name in guess["rounds"])]
    heads = (f"{name} rounds" if kind == "rounds" else name for kind, name in columns)
    drawn = Table(
        "set", "tokens seen", "steps", *heads, title="Accuracy on the same held-out questions", box=None, padding=(0, 2, 0, 0)
    )
    for name, figures in accuracies.items():
        training = results["training"].get(name)
        seen = (f"{statistics.mean(training['tokens seen']):,.0f}", f"{training['steps']:,}") if training else ("", "")
        drawn.add_row(name, *seen, *(f"{figures[kind][group]['value']:.3f}" for kind, group in columns))
    drawn.add_row("never looking", "", "", *(f"{guess[kind][group]:.3f}" for kind, group in columns))
    yield drawn
    drawn = Table("set", "against", "difference, all", "95 % interval", "each seed", box=None, padding=(0, 2, 0, 0))
    for name, one in results["difference"].items():
        seeds = ", ".join(f"{value:+.3f}" for value in one["runs"])
        drawn.add_row(name, one["to"], f"{one['value']:+.3f}", f"{one['low']:+.3f} to {one['high']:+.3f}", seeds)
    yield drawn


def plot(results: dict[str, Any], out: Path) -> None:
    """Draw rounds.png and formats.png."""
    settings, guess = results["settings"], results["never looking"]
    accuracies = {
        name: {kind: {group: Estimate(**one) for group, one in parts.items()} for kind, parts in kinds.items()}
        for name, kinds in results["accuracy"].items()
    }
    by_rounds = {str(number): MIXED.format(number) for number in range(settings["rounds"] + 1)}
    by_format = {
        "mixed": MIXED.format(settings["format_rounds"]),
        **{name: name for name in map(ONLY.format, FORMATS)},
        BEFORE: BEFORE,
    }
    note = (
        f"{settings['tokens']:,} tokens a run, {settings['seeds']} runs a set, {results['questions']['all']['all']:,} questions about "
        "unseen pictures; bars: 95 % over pictures; ticks: each run; dotted: the best guess of one who never looks"
    )
    lines = {group: {number: accuracies[arm]["format"][group] for number, arm in by_rounds.items()} for group in guess["format"]}
    harder = {arm: accuracies[arm]["rounds"] for arm in by_rounds.values()}
    panels = (
        Panel("by answer format", "rounds of complication in the training set", lines, guess["format"]),
        Panel("by training set", "rounds of complication in the question", harder, guess["rounds"]),
    )
    draw(panels, out / "rounds.png", "How many rounds of complication?", note)
    panels = [
        Panel(title, "", {name: accuracies[arm][kind] for name, arm in by_format.items()}, guess[kind], joined=False)
        for title, kind in (("by the question's format", "format"), ("by the question's task", "task"))
    ]
    draw(panels, out / "formats.png", f"Which format to train on? Up to {settings['format_rounds']} rounds", note)


if __name__ == "__main__":
    main()
