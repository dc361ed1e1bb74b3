"""Benchmarks in their official formats, one a file; `@benchmark("name")` registers a `Benchmark`.

An own benchmark needs no change here: `train/evaluate.py --benchmark my_file:my_benchmark` reads it from `my_file.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, Literal

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks.files import write_records
from comvint_hf.registry import benchmarks

BoxNotation = Literal["text", "xywh", "xyxy"]
"""How answers hold boxes: in the model's text, as fractions of the image, or as four pixel numbers in a field `box`."""


@dataclass(frozen=True)
class BenchmarkQuestion:
    """A question of a benchmark.

    Args:
        id: The benchmark's own id.
        image: The image file, relative to the folder of images.
        text: The question.
        group: The benchmark's task or category.
        gold: The true answer, if the question file holds it.
    """

    id: str | int
    image: str
    text: str
    group: str = ""
    gold: str = ""


@dataclass(frozen=True)
class BenchmarkFiles:
    """The files and options of one run, as the flags of train/evaluate.py name them."""

    answers: Path = Path("answers.jsonl")
    questions: Path | None = None
    gold: Path | None = None
    images: Path | None = None
    synonyms: Path | None = None
    category: str | None = None
    boxes: BoxNotation = "text"

    def require(self, name: str, expected: str) -> Path:
        """Return the file of this name. Raises `InputError` that describes what is `expected` if it is missing."""
        path = getattr(self, name)
        if path is None:
            raise InputError(f"--{name} is missing: expected {expected}.")
        return path


WriteAnswers = Callable[[Sequence[BenchmarkQuestion], Sequence[str], Path], None]


def json_lines_writer(to_record: Callable[[BenchmarkQuestion, str], dict[str, Any]]) -> WriteAnswers:
    """Make a function that writes one JSON record for each question and its reply."""
    return lambda questions, replies, path: write_records(path, starmap(to_record, zip(questions, replies, strict=True)))


write_answers = json_lines_writer(lambda item, reply: {"question_id": item.id, "question": item.text, "answer": reply})


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark is asked and scored.

    Args:
        read_questions: Reads the questions.
        score: Scores the answer file: numbers, and dictionaries of numbers for groups, in the order of the table.
        write_answers: Writes the replies to the questions as the answer file, by default as JSON Lines with `question_id`,
            `question` and `answer`.
        flags: The flags of train/evaluate.py that only some benchmarks use: "synonyms", "category", "boxes", and "images" if the
            score needs the images.
    """

    read_questions: Callable[[BenchmarkFiles], list[BenchmarkQuestion]]
    score: Callable[[BenchmarkFiles], dict[str, Any]]
    write_answers: WriteAnswers = write_answers
    flags: tuple[str, ...] = ()


def load_benchmark(name: str) -> Benchmark:
    """Load a benchmark by its name, or as `MODULE:NAME` from a module of the working directory.

    Raises:
        InputError: If there is none, or it is something else.
    """
    entry = benchmarks.get(name)
    found = entry() if callable(entry) else entry
    if not isinstance(found, Benchmark):
        raise InputError(f"{name} is a {type(found).__name__}; expected a Benchmark, or a function that returns one.")
    return found
