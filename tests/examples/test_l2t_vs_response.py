"""The experiment on L2T: a training and an evaluation for each arm and seed, and none twice."""

import json
import runpy
from pathlib import Path

from click.testing import CliRunner
from complication import jobs

SCRIPT = Path(__file__).parents[2] / "examples" / "experiments" / "l2t_vs_response.py"


def test_each_arm_and_seed_is_tuned_and_scored_once(tmp_path, monkeypatch) -> None:
    ran = []
    script = runpy.run_path(str(SCRIPT))

    def pretend(command, log, name, say) -> None:
        words = list(map(str, command))
        ran.append((Path(words[1]).name, words, log.name))
        if "--out" in words:
            results = Path(words[words.index("--out") + 1])
            results.parent.mkdir()
            results.write_text(json.dumps({**dict.fromkeys(script["METRICS"], 0.5), "train_minutes": 1}))

    monkeypatch.setattr(jobs, "run_command", pretend)
    for folder in ("dataset", "base"):
        (tmp_path / folder).mkdir()
    places = ["--dataset", tmp_path / "dataset", "--base", tmp_path / "base", "--out", tmp_path / "out"]
    for _ in range(2):
        told = CliRunner().invoke(script["main"], [*map(str, places), "--steps", "7", "--seeds", "2"])
        assert told.exit_code == 0 and "0.500 (0.500, 0.500)" in told.output
    assert [name for name, _, _ in ran] == ["sft.py", "evaluate.py"] * 4
    learnt = [words[words.index("--learn") + 1] for name, words, _ in ran if name == "sft.py"]
    assert learnt == ["instruction+response"] * 2 + ["response"] * 2
    assert {log for _, _, log in ran} == {f"{arm}-7-{seed}.log" for arm in ("L2T", "response-only") for seed in (0, 1)}
    assert (
        json.loads((tmp_path / "out" / "experiment.json").read_text())["arms"]["L2T"]
        == [dict.fromkeys(script["METRICS"], 0.5)] * 2
    )


def test_a_demo_that_was_not_made_is_asked_for(tmp_path) -> None:
    script = runpy.run_path(str(SCRIPT))
    told = CliRunner().invoke(script["main"], ["--dataset", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert told.exit_code == 2 and "run `make demo SERVE=0` first" in " ".join(told.output.split())
