"""What an experiment asks, and how often a run tells how far it is."""

import pytest

from comvint_hf.experiments.bench import cell_of, log_every


@pytest.mark.parametrize("steps", [1, 7, 19, 20, 21, 997, 1000, 1499])
def test_the_last_step_is_logged(steps: int) -> None:
    every = log_every(steps)
    assert steps % every == 0 and every <= max(1, steps / 20)


def test_only_questions_whose_truth_can_be_read_are_asked() -> None:
    def cell(question: str, answer: str, format: str, topic: str = "colour") -> str:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return cell_of({"messages": turns, "format": format, "topic": topic, "rounds": 2})

    assert cell("What colour is the star?", "It is red.", "open") == "open 2"
    assert cell("Which is higher, the star or the circle?", "The star is higher.", "open") == ""
    assert cell("Is the star red? Answer with yes or no.", "Yes", "bool") == "bool 2"
    assert cell("Is there a star? Answer with yes or no.", "No", "bool", "existence") == "bool 0"
