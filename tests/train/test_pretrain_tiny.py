"""The demo's base model: what cannot be used is said before anything is made; a folder that loads comes out."""

import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "train" / "pretrain_tiny.py"


def called(*arguments: object):
    return CliRunner().invoke(runpy.run_path(str(SCRIPT))["main"], list(map(str, arguments)))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dataset", "/nope"], "/nope has no split train with messages"),
        (["--dataset", "/nope", "--scenes", "drawings:3"], "drawings"),
        (["--dataset", "/nope", "--pixels", "8"], "Invalid value for '--pixels'"),
    ],
)
def test_wrong_use_ends_with_two_and_makes_nothing(tmp_path, flags, said) -> None:
    done = called(*flags, "--out", tmp_path / "base")
    assert done.exit_code == 2 and said in " ".join(done.output.split()) and not (tmp_path / "base").exists()


def test_a_model_with_its_processor_comes_out(tmp_path, dataset) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    done = called("--dataset", dataset, "--out", tmp_path / "base", "--scenes", "shapes:8", "--texts", 20)
    assert done.exit_code == 0 and "holds the tiny LLaVA" in done.output
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "base")
    assert len(AutoProcessor.from_pretrained(tmp_path / "base").tokenizer) == model.config.text_config.vocab_size
