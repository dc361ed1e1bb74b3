"""The blind probe of builds: in stats.json, in the card, as a warning, and as a command."""

import json

import pytest
from click.testing import CliRunner

from comvint_hf.cli import main
from comvint_hf.quality.measure import describe_dataset


def ask(question: str, answer: str, image: int) -> dict:
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"id": f"{image}/{question}", "image": f"{image}.jpg", "conversations": turns}


@pytest.fixture
def biased(tmp_path):
    """A LLaVA file in which pianos are never there."""
    records = [
        ask(f"Is there a {thing} in the picture?", answer, image)
        for image in range(150)
        for thing, answer in (("piano", "No."), ("man", "Yes."))
    ]
    file = tmp_path / "biased.json"
    file.write_text(json.dumps(records))
    return file


def test_the_command_warns_of_questions_that_tell_their_answer(biased):
    run = CliRunner().invoke(main, ["quality", str(biased), "--measure", "yes_bias"])
    assert run.exit_code == 0, run.output
    assert "Warning: The yes/no questions" in run.output
    told = json.loads(CliRunner().invoke(main, ["quality", str(biased), "--json", "--measure", "yes_bias"]).stdout)
    assert told["blind_probe"][0]["accuracy"] == 1.0
    assert told["yes_bias"]


def test_a_build_puts_the_probe_into_its_card_and_statistics(tmp_path):
    out = tmp_path / "built"
    command = ["build", "--recipe", "svit", "--tasks", "conversation", "--scenes", "shapes:120", "--out", str(out)]
    assert CliRunner().invoke(main, command).exit_code == 0
    (result,) = json.loads((out / "stats.json").read_text())["blind_probe"]
    assert (result["task"], result["format"]) == ("conversation", "bool")
    assert result["low"] <= result["accuracy"] <= result["high"]
    assert "Answered without the image" in (out / "README.md").read_text()
    if result["warning"]:
        assert result["warning"] in describe_dataset(out).warnings


def test_a_tiny_build_is_not_probed(tmp_path):
    out = tmp_path / "built"
    assert CliRunner().invoke(main, ["build", "--recipe", "svit", "--scenes", "shapes:2", "--out", str(out)]).exit_code == 0
    assert json.loads((out / "stats.json").read_text())["blind_probe"] == []
    assert "Answered without the image" not in (out / "README.md").read_text()
