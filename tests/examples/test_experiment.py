"""The steps of an experiment: what a run trains on and asks, and how often it logs."""

import json
from pathlib import Path

import pytest
from complication import jobs
from complication.experiment import Experiment, choose_logging_steps, question_group
from examples.test_arms import TOY


@pytest.mark.parametrize("steps", [1, 7, 19, 20, 21, 997, 1000, 1499])
def test_the_last_step_is_logged(steps: int) -> None:
    every = choose_logging_steps(steps)
    assert steps % every == 0 and every <= max(1, steps / 20)


def test_only_questions_whose_truth_can_be_read_are_asked() -> None:
    def cell(question: str, answer: str, format: str, topic: str = "colour") -> str:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return question_group({"messages": turns, "format": format, "topic": topic, "rounds": 2})

    assert cell("What colour is the star?", "It is red.", "open") == "open 2"
    assert cell("Which is higher, the star or the circle?", "The star is higher.", "open") == ""
    assert cell("Is the star red? Answer with yes or no.", "Yes", "bool") == "bool 2"
    assert cell("Is there a star? Answer with yes or no.", "No", "bool", "existence") == "bool 0"


def test_a_run_tunes_on_its_set_for_the_tokens_of_all_runs_and_asks_once(tmp_path, monkeypatch) -> None:
    ran = []

    def pretend(command, log, name, *_) -> None:
        ran.append((list(map(str, command))[1:], log.name, name))
        if "--out" in command:
            folder = command[command.index("--out") + 1].parent
            folder.mkdir(parents=True)
            (folder / "results.json").touch()

    monkeypatch.setattr(jobs, "run_command", pretend)
    experiment = Experiment(tmp_path, TOY, threads=1, repository=Path(__file__).parents[2])
    experiment.dataset_dir("rounds 1").mkdir(parents=True)
    (experiment.dataset_dir("rounds 1") / "tokens.json").write_text(json.dumps({"rows": 10, "seen": 5, "trained": 2}))
    for _ in range(2):
        experiment.train_and_evaluate("rounds 1", 0)
        experiment.evaluate_base()
    assert [(Path(command[0]).name, log) for command, log, _ in ran] == [
        ("sft.py", "rounds-1-0-tune.log"),
        ("evaluate.py", "rounds-1-0-ask.log"),
        ("evaluate.py", "before-ask.log"),
    ]
    assert all(Path(command[0]).is_file() for command, _, _ in ran)
    tuned = ran[0][0]
    assert tuned[tuned.index("--max_steps") + 1] == "125", "1,000 tokens at half a token a row, 16 rows a step"
    assert [path.parent for path in (*experiment.run_dirs("rounds 1"), *experiment.run_dirs("before"))] == [tmp_path / "runs"] * 2
