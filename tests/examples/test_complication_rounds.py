"""The experiment on rounds and formats: what it refuses, and (slow) the whole way in its smallest size, twice."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "experiments" / "complication_rounds.py"


@pytest.fixture
def experiment(monkeypatch):
    def run(*flags: object) -> None:
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        if ended.value.code:
            raise RuntimeError(f"ended with {ended.value.code}")

    return run


def test_what_cannot_be_done_is_said_calmly(experiment, model, tmp_path, capsys) -> None:
    with pytest.raises(RuntimeError):
        experiment("--base", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert "run `make demo SERVE=0` first" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        experiment("--base", model, "--format-rounds", 2, "--rounds", 1, "--out", tmp_path / "out")
    assert "the mixed set would be missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_whole_way_and_again(experiment, model, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    experiment("--quick", "--base", model, "--out", out)
    results = json.loads((out / "results.json").read_text())
    assert list(results["accuracy"]) == ["before", "rounds 0", "rounds 1", "open only", "bool only", "choice only"]
    asked = results["questions"]["format and rounds"]
    assert set(asked) == {f"{kind} {n}" for kind in ("bool", "choice", "open") for n in (0, 1)}, "each has a few in 40 scenes"
    assert max(asked.values()) == 5, "and none more than were asked for"
    trained = results["training"]
    assert set(trained["rounds 0"]["rows by rounds"]) == {"0"} and "1" in trained["rounds 1"]["rows by rounds"]
    assert trained["bool only"]["steps"] > trained["choice only"]["steps"], "shorter rows, more steps"
    for arm in trained.values():
        expected = arm["tokens a row"] * arm["steps"] * 16
        assert all(expected / 2 < seen < expected * 2 for seen in arm["tokens seen"]), "a few batches; long runs come within 1 %"
    assert all((out / name).stat().st_size > 10_000 for name in ("rounds.png", "formats.png"))
    assert "never looking" in capsys.readouterr().out

    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("results.json")}
    experiment("--quick", "--base", model, "--out", out)
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("results.json")} == before and len(before) == 6
    assert json.loads((out / "results.json").read_text()) == results
