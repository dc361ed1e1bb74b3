"""An experiment's figures as tables and pictures."""

import io

from complication.drawing import plot, tables
from rich.console import Console

ARMS = ("before", "rounds 0", "rounds 1", "open only", "bool only", "choice only")
GUESS = {"format": {"bool": 0.5, "open": 0.25}, "rounds": {"0": 0.25, "1": 0.125}, "task": {"cross_modal": 0.375}}


def toy() -> dict:
    def estimate(value: float) -> dict:
        return {"n": 8, "value": value, "low": value - 0.125, "high": value + 0.125, "runs": [value]}

    def figures(value: float) -> dict:
        return {kind: dict.fromkeys(parts, estimate(value)) for kind, parts in {"all": {"all": 0.0}, **GUESS}.items()}

    return {
        "settings": {"tokens": 1000, "seeds": 1, "rounds": 1, "format_rounds": 1},
        "questions": {"all": {"all": 8}},
        "never looking": {"all": {"all": 0.375}, **GUESS},
        "training": {name: {"tokens seen": [1000, 1010], "steps": 70} for name in ARMS[1:]},
        "accuracy": {name: figures(0.5 + number / 100) for number, name in enumerate(ARMS)},
        "difference": {"rounds 1": {"to": "rounds 0", **estimate(-0.25)}},
    }


def test_the_tables_have_a_line_for_every_arm_and_one_for_who_never_looks() -> None:
    console = Console(file=io.StringIO(), width=150)
    console.print(*tables(toy()))
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "rounds 0 1,005 70 0.510 0.510 0.510 0.510 0.510" in lines
    assert "never looking 0.375 0.500 0.250 0.250 0.125" in lines
    assert "rounds 1 rounds 0 -0.250 -0.375 to -0.125 -0.250" in lines


def test_the_pictures_are_drawn(tmp_path) -> None:
    plot(toy(), tmp_path)
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("rounds.png", "formats.png"))
