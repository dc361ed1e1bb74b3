"""The papers' recipes: each is read by the training script's own parser, and takes a step on the tiny twin of its family."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
from trl import ModelConfig, ScriptArguments

from comvint_hf.conventions import Conventions
from comvint_hf.training.arguments import L2TArguments, L2TConfig, parse_args

TRAIN = Path(__file__).parents[2] / "train"
RECIPES = sorted((TRAIN / "papers").glob("*.yaml"))
TWINS = {
    "svit_v1.5_full": "LLaVA-1.5, CLIP",
    "svit_v1.5_lora": "LLaVA-1.5, CLIP",
    "l2t_tinyllava": "LLaVA-1.5, SigLIP",
    "l2t_llava_1.5": "LLaVA-1.5, CLIP",
    "comvint_llava": "LLaVA-1.5, CLIP",
    "comvint_blip2": "BLIP-2",
    "comvint_instructblip": "InstructBLIP",
    "vlit_llava": "LLaVA-1.5, CLIP",
    "vlit_blip2": "BLIP-2",
    "qlora_24gb": "LLaVA-1.5, CLIP",
    "qlora_qwen2.5_vl_7b": "Qwen2.5-VL",
}
HERE = ["--use_cpu", "--bf16", "false", "--report_to", "none", "--save_strategy", "no", "--dataloader_num_workers", "0"]
SMALL = ["--max_steps", "1", "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "1"]
EACH = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


def test_every_recipe_has_a_twin() -> None:
    assert {path.stem for path in RECIPES} == set(TWINS)


@pytest.fixture
def settings(monkeypatch):
    """Read a recipe as the training script does."""

    def read(recipe: Path, *flags: str):
        monkeypatch.setattr(sys, "argv", ["sft.py", "--config", str(recipe), *HERE, *flags])
        return parse_args(ScriptArguments, L2TConfig, ModelConfig, L2TArguments)

    return read


@EACH
def test_a_recipe_says_what_it_sets(recipe, settings) -> None:
    """Its batch is the one its comment adds up to, its source is named, and it sets every number that is learnt with."""
    text = recipe.read_text()
    script, training, model, ours = settings(recipe)
    gpus, size, accumulated, batch = map(int, re.search(r"# batch: (\d+) GPUs? x (\d+) x (\d+) = (\d+)", text).groups())
    assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (size, accumulated)
    assert gpus * size * accumulated == batch
    assert re.search(r"arXiv \d{4}\.\d{5}", text) and f"train/papers/{recipe.name}" in text
    assert model.model_name_or_path.count("/") == 1 and script.dataset_name.startswith("build/")
    assert training.output_dir == f"build/{Path(training.output_dir).name}" and training.num_train_epochs == 1
    for name in ("learning_rate", "lr_scheduler_type", "learn", "templates"):
        assert re.search(rf"^{name}: ", text, re.MULTILINE), name
    assert ours.learn == ("instruction+response" if "L2T (loss" in text or "learn: instruction" in text else "response")


def test_the_numbers_are_those_of_the_papers(settings) -> None:
    for name, rate in (("svit_v1.5_full", 2e-5), ("svit_v1.5_lora", 2e-4), ("l2t_llava_1.5", 2e-5), ("vlit_llava", 2e-5)):
        training = settings(TRAIN / "papers" / f"{name}.yaml")[1]
        assert (training.learning_rate, training.lr_scheduler_type, training.warmup_steps) == (rate, "cosine", 0.03)
    assert training.max_length == 2048 and training.weight_decay == 0
    model = settings(TRAIN / "papers" / "qlora_24gb.yaml")[2]
    assert model.load_in_4bit and model.use_bnb_nested_quant and (model.lora_r, model.lora_alpha) == (64, 16)


@pytest.fixture(scope="session")
def twin(tmp_path_factory):
    """The folder of a family's tiny model with its processor."""
    from training.tiny.families import TINY, processor_of

    made = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("twin")
            processor_of(name).save_pretrained(made[name])
            TINY[name].model(processor_of(name)).save_pretrained(made[name])
        return made[name]

    return make


@EACH
def test_a_recipe_takes_a_step_on_its_tiny_twin(recipe, twin, dataset, tmp_path, monkeypatch, capsys) -> None:
    """The same command as for the real model, only model, rows and the number of steps are others."""
    own = ["--model_name_or_path", str(twin(TWINS[recipe.stem])), "--dataset_name", str(dataset), "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sft.py", "--config", str(recipe), *own, *HERE, *SMALL])
    runpy.run_path(str(TRAIN / "sft.py"), run_name="__main__")
    trained = {
        line.split("  ")[0]: line.split()[-1]
        for line in capsys.readouterr().out.splitlines()
        if "float" in line or "-bit" in line
    }
    frozen = {name for name, count in trained.items() if count == "0"}
    assert trained and any("vis" in name for name in frozen) and frozen < set(trained)
    assert json.loads((tmp_path / "train_results.json").read_text())["train_loss"] > 0
    agreed = Conventions.read(tmp_path)
    assert agreed.learn == ("instruction+response" if "learn: instruction" in recipe.read_text() else "response")
    assert (agreed.quantization is not None) == recipe.stem.startswith("qlora")
