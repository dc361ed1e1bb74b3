"""Do what an experiment takes: build its sets, tune its arms, ask its questions. Each step leaves a file, and is done once."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from datasets import load_dataset

from complication import jobs
from complication.arms import BEFORE, Arm, Settings
from complication.token_counts import Tokens, count_tokens, steps_that_see
from comvint_hf.cli.exit_codes import INCOMPLETE
from comvint_hf.dataset.coreset_selection import take
from comvint_hf.evaluation.compare import Words, rounds_asked, truth_of
from comvint_hf.model_families import load_processor
from comvint_hf.sources.shapes import COLOURS, NUMBERS, SHAPES, SIZES
from comvint_hf.training.collator import L2TCollator
from comvint_hf.training.run import task_templates, trainable_rows

BATCH = 16
TRAINED_ON, ASKED_ABOUT = 31, 32
"""Seeds of the scenes; the demo's is 0, so none of them was seen before."""
WORDS = Words(SHAPES, (*NUMBERS, "none"), (*COLOURS, *SIZES))


@dataclass(frozen=True)
class Bench:
    """Where everything lies, and what is done there.

    `scripts` is the working copy whose builder and training scripts run, each with `threads` threads.
    """

    out: Path
    settings: Settings
    threads: int
    scripts: Path

    @property
    def questions(self) -> Path:
        return self.out / "held-out"

    def set_of(self, name: str) -> Path:
        """The training set of an arm."""
        return self.out / "sets" / name

    def runs_of(self, name: str) -> list[Path]:
        """Where the runs of an arm lie, one a seed; the model before has one."""
        folders = [BEFORE] if name == BEFORE else [f"{name}-{seed}" for seed in range(self.settings.seeds)]
        return [self.out / "runs" / folder for folder in folders]

    def build(self, name: str, arm: Arm) -> None:
        """Build the arm's training set, and count its tokens."""
        if not (self.set_of(name) / "tokens.json").exists():
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
        folder = self.set_of(name)
        scenes = f"shapes:{self.settings.scenes},level={self.settings.level}"
        flags = ("--scenes", scenes, "--seed", seed, "--split", 0, "--rounds", arm.rounds, "--formats", ",".join(arm.formats))
        self.do(name, "build.log", self.scripts / "builders" / "comvint.py", *flags, "--out", folder, fine=(0, INCOMPLETE))
        return folder

    def counted(self, folder: Path) -> Tokens:
        rows = rows_of(folder)
        collator = L2TCollator(load_processor(self.settings.base), templates=task_templates("mine", rows))
        return count_tokens(trainable_rows(rows), collator)

    def steps(self, name: str) -> int:
        """How many steps see the tokens that every run sees."""
        return steps_that_see(self.settings.tokens, self.tokens(name), BATCH)

    def tokens(self, name: str) -> Tokens:
        return Tokens(**json.loads((self.set_of(name) / "tokens.json").read_text()))

    def run(self, name: str, seed: int) -> None:
        """Tune on one arm with one seed, and ask the held-out questions."""
        folder = self.out / "runs" / f"{name}-{seed}"
        if (folder / "results.json").exists():
            return
        steps = self.steps(name)
        tuned = {
            "model_name_or_path": self.settings.base,
            "dataset_name": self.set_of(name),
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
        train = self.scripts / "train"
        flags = [part for flag, value in tuned.items() for part in (f"--{flag}", value)]
        self.do(f"{name}, seed {seed}", "tune.log", train / "sft.py", "--config", train / "demo.yaml", *flags)
        self.ask(f"{name}, seed {seed}", folder, folder)

    def ask_before(self) -> None:
        """Ask the model that no arm has tuned."""
        if not (self.out / "runs" / BEFORE / "results.json").exists():
            self.ask(BEFORE, Path(self.settings.base), self.out / "runs" / BEFORE)

    def ask(self, name: str, model: Path, folder: Path) -> None:
        flags = ("--model", model, "--dataset", self.questions, "--batch-size", 64, "--max-new-tokens", 96)
        self.do(name, "ask.log", self.scripts / "train" / "evaluate.py", *flags, "--out", folder / "results.json")

    def do(self, name: str, log: str, script: Path, *flags: object, fine: Sequence[int] = (0,)) -> None:
        path = self.out / "logs" / f"{name.replace(', seed ', '-').replace(' ', '-')}-{log}"
        jobs.run([sys.executable, script, *flags], path, name, click.echo, self.threads, fine)


def rows_of(folder: Path, split: str = "train") -> Any:
    return load_dataset(str(folder), split=split)


def cell_of(row: dict[str, Any]) -> str:
    """The format and the rounds of a question; empty where its truth cannot be read, so that it is not asked."""
    question, gold = (turn["content"] for turn in row["messages"])
    return f"{row['format']} {rounds_asked(row)}" if truth_of(row["format"], question, gold, WORDS) else ""


def log_every(steps: int) -> int:
    """About twenty logs a run, the last of them at its last step, because the logs tell the tokens seen."""
    return next(every for every in range(max(1, steps // 20), 0, -1) if steps % every == 0)
