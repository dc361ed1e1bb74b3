"""The steps of the experiment: build training sets, tune the arms, ask the questions. Each step leaves a file and runs once."""

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
from complication.token_counts import TokenCounts, compute_steps, count_tokens
from comvint_hf.cli.exit_codes import INCOMPLETE
from comvint_hf.dataset.coreset_selection import sample_limited
from comvint_hf.evaluation.compare import Vocabulary, count_rounds, reference_answer
from comvint_hf.model_families import load_processor
from comvint_hf.sources.shapes import COLOURS, NUMBERS, SHAPES, SIZES
from comvint_hf.training.collator import L2TCollator
from comvint_hf.training.data_loading import load_templates, select_columns

BATCH_SIZE = 16
TRAIN_SEED, TEST_SEED = 31, 32
"""Seeds of the scenes. The demo's is 0, so the base model has seen none of them."""
VOCABULARY = Vocabulary(SHAPES, (*NUMBERS, "none"), (*COLOURS, *SIZES))


@dataclass(frozen=True)
class Experiment:
    """The folders of an experiment and its steps.

    `repository` is the clone whose builder and training scripts run, each with `threads` threads.
    """

    out: Path
    settings: Settings
    threads: int
    repository: Path

    @property
    def questions_dir(self) -> Path:
        return self.out / "held-out"

    def dataset_dir(self, name: str) -> Path:
        """The folder of an arm's training set."""
        return self.out / "sets" / name

    def run_dirs(self, name: str) -> list[Path]:
        """The folders of an arm's runs, one per seed; the base model has one."""
        folders = [BEFORE] if name == BEFORE else [f"{name}-{seed}" for seed in range(self.settings.seeds)]
        return [self.out / "runs" / folder for folder in folders]

    def build_dataset(self, name: str, arm: Arm) -> None:
        """Build the arm's training set, and count its tokens."""
        path = self.dataset_dir(name) / "tokens.json"
        if not path.exists():
            path.write_text(json.dumps(self._count_tokens(self._run_builder(name, arm, TRAIN_SEED))._asdict()) + "\n")

    def select_questions(self) -> None:
        """Select questions from scenes of their own: equally many of each format and number of rounds, as far as there are."""
        path = self.questions_dir / "test-00000.parquet"
        if path.exists():
            return
        rows = load_rows(self._run_builder("asked", Arm(self.settings.rounds), TEST_SEED))
        groups = [question_group(row) for row in rows.remove_columns("images")]
        # Questions whose true answer cannot be read are in the group "", of which none is taken.
        selected = sample_limited(groups, dict.fromkeys(filter(None, groups), self.settings.asked) | {"": 0})
        self.questions_dir.mkdir(parents=True, exist_ok=True)
        rows.select(selected).to_parquet(path)

    def read_tokens(self, name: str) -> TokenCounts:
        return TokenCounts(**json.loads((self.dataset_dir(name) / "tokens.json").read_text()))

    def count_steps(self, name: str) -> int:
        """Count the steps in which a run on this arm sees as many tokens as every other run."""
        return compute_steps(self.settings.tokens, self.read_tokens(name), BATCH_SIZE)

    def train_and_evaluate(self, name: str, seed: int) -> None:
        """Tune on one arm with one seed, and ask the held-out questions."""
        folder = self.out / "runs" / f"{name}-{seed}"
        if (folder / "results.json").exists():
            return
        steps = self.count_steps(name)
        settings = {
            "model_name_or_path": self.settings.base,
            "dataset_name": self.dataset_dir(name),
            "output_dir": folder,
            "seed": seed,
            "max_steps": steps,
            "warmup_steps": max(1, steps // 10),
            # The last log holds the number of tokens seen.
            "logging_steps": choose_logging_steps(steps),
            "save_strategy": "steps",
            "save_steps": steps,
            "save_only_model": "true",
            "learning_rate": self.settings.learning_rate,
            "per_device_train_batch_size": BATCH_SIZE,
        }
        train = self.repository / "train"
        flags = [part for flag, value in settings.items() for part in (f"--{flag}", value)]
        self._run_script(f"{name}, seed {seed}", "tune.log", train / "sft.py", "--config", train / "demo.yaml", *flags)
        self._evaluate(f"{name}, seed {seed}", folder, folder)

    def evaluate_base(self) -> None:
        """Ask the base model the held-out questions."""
        folder = self.out / "runs" / BEFORE
        if not (folder / "results.json").exists():
            self._evaluate(BEFORE, Path(self.settings.base), folder)

    def _evaluate(self, name: str, model: Path, folder: Path) -> None:
        flags = ("--model", model, "--dataset", self.questions_dir, "--batch-size", 64, "--max-new-tokens", 96)
        script = self.repository / "train" / "evaluate.py"
        self._run_script(name, "ask.log", script, *flags, "--out", folder / "results.json")

    def _run_builder(self, name: str, arm: Arm, seed: int) -> Path:
        """Run the builder with every row in the split train. Offline, some samples can never be made."""
        folder = self.dataset_dir(name)
        scenes = f"shapes:{self.settings.scenes},level={self.settings.level}"
        flags = ("--scenes", scenes, "--seed", seed, "--split", 0, "--rounds", arm.rounds, "--formats", ",".join(arm.formats))
        script = self.repository / "builders" / "comvint.py"
        self._run_script(name, "build.log", script, *flags, "--out", folder, ok_codes=(0, INCOMPLETE))
        return folder

    def _count_tokens(self, folder: Path) -> TokenCounts:
        rows = load_rows(folder)
        collator = L2TCollator(load_processor(self.settings.base), templates=load_templates("mine", rows))
        return count_tokens(select_columns(rows), collator)

    def _run_script(self, name: str, log: str, script: Path, *flags: object, ok_codes: Sequence[int] = (0,)) -> None:
        path = self.out / "logs" / f"{name.replace(', seed ', '-').replace(' ', '-')}-{log}"
        jobs.run_command([sys.executable, script, *flags], path, name, click.echo, self.threads, ok_codes)


def load_rows(folder: Path, split: str = "train") -> Any:
    return load_dataset(str(folder), split=split)


def question_group(row: dict[str, Any]) -> str:
    """The format and the rounds of a question; empty where its true answer cannot be read, so that it is not asked."""
    question, gold = (message["content"] for message in row["messages"])
    return f"{row['format']} {count_rounds(row)}" if reference_answer(row["format"], question, gold, VOCABULARY) else ""


def choose_logging_steps(steps: int) -> int:
    """Choose an interval for about twenty logs, the last of them at the last step: the logs hold the tokens seen."""
    return next(interval for interval in range(max(1, steps // 20), 0, -1) if steps % interval == 0)
