"""Benchmarks in their official formats, one a file. Each reads questions, writes answers and scores answer files.

`BENCHMARKS` names them for the command line; which files each needs is written in its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import chair, mme, pope, refcoco, seed, textvqa
from comvint_hf.evaluation.benchmarks.files import Question


@dataclass(frozen=True)
class Files:
    """What a user gives: the model's `answers`, the `questions`, the true answers (`gold`), and what some formats need."""

    answers: Path
    questions: Path | None = None
    gold: Path | None = None
    images: Path | None = None
    synonyms: Path | None = None
    category: str | None = None
    boxes: str = "text"

    def need(self, name: str, what: str) -> Path:
        """The file of this name. Raises `InputError` saying what it should be."""
        path = getattr(self, name)
        if path is None:
            raise InputError(f"--{name} is missing: expected {what}.")
        return path


class Benchmark(NamedTuple):
    """How one benchmark is asked, how its answers are written, and how they are scored."""

    questions: Callable[[Files], list[Question]]
    write: Callable[[Sequence[Question], Sequence[str], Path], None]
    score: Callable[[Files], dict[str, Any]]


def _labels(files: Files) -> Path:
    return files.gold or files.need("questions", "POPE's question file with labels, coco_pope_random.json")


def _chairs(files: Files) -> tuple[Path, Path]:
    """CHAIR's two files, asked for together: what the score needs is missed before a model is asked."""
    gold = files.need("gold", "image ids and their COCO objects as JSON")
    return gold, files.need("synonyms", "CHAIR's synonyms.txt")


BENCHMARKS = {
    "mme": Benchmark(
        lambda files: mme.questions(files.need("questions", "the folder Your_Results of MME's eval tool")),
        mme.write,
        lambda files: mme.score(files.answers),
    ),
    "pope": Benchmark(
        lambda files: pope.questions(files.need("questions", "POPE's question file, coco_pope_random.json")),
        pope.write,
        lambda files: pope.score(files.answers, _labels(files), files.questions, files.category),
    ),
    "seed": Benchmark(
        lambda files: seed.questions(files.need("questions", "SEED-Bench.json")),
        seed.write,
        lambda files: seed.score(files.answers, files.questions),
    ),
    "chair": Benchmark(
        lambda files: chair.questions(_chairs(files)[0], files.need("images", "the photos")),
        chair.write,
        lambda files: chair.score(files.answers, *_chairs(files)),
    ),
    "refcoco": Benchmark(
        lambda files: refcoco.questions(
            files.need("questions", "expressions with gt_box as [x, y, width, height]"), "Where is the {}?"
        ),
        refcoco.write,
        lambda files: refcoco.score(
            files.answers, files.gold or files.need("questions", "expressions with gt_box"), files.boxes, files.images
        ),
    ),
    "textvqa": Benchmark(
        lambda files: textvqa.questions(files.need("questions", "TextVQA's questions, LLaVA's .jsonl or the official .json")),
        textvqa.write,
        lambda files: textvqa.score(
            files.answers, files.gold or files.need("questions", "TextVQA's .json with ten answers each")
        ),
    ),
}
