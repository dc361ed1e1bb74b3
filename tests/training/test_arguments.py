"""Flags and YAML files: read, refused in one sentence that says where the mistake stands, or told to change nothing."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
from trl import ModelConfig, ScriptArguments

from comvint_hf.errors import InputError
from comvint_hf.training.arguments import L2TArguments, L2TConfig, find_unused_flags, parse_args


@dataclass
class Settings:
    learn: Literal["instruction", "response"] = "response"
    evaluate: Literal["no", "steps"] = "steps"
    steps: int = 1
    rate: float | None = None
    alike: bool = False
    freeze: list[str] = field(default_factory=lambda: ["family"])
    more: dict | str | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError("steps is\nbelow 0")
        if self.steps > 99:
            raise ImportError("steps are counted by a library that is not here.")


FILES = {
    "list": "- a",
    "broken": "a: [",
    "typo": "lern: response",
    "word": "steps: many",
    "half": "steps: 1.5",
    "choice": "learn: all",
    "false": "learn: false",
    "rows": "steps: [1, 2]",
    "fine": "evaluate: no\nrate: 2e-5\nsteps: 7\nalike: true\nfreeze: tower\nmore: {a: [1]}",
}


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")

    def reading(*flags: str) -> Settings:
        monkeypatch.setattr("sys.argv", ["sft.py", *flags])
        return parse_args(Settings)[0]

    return reading


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--config", "missing.yaml"], r"The --config file missing.yaml cannot be read \(No such file or directory\)"),
        (["--config"], "--config names no file"),
        (["--config", "list.yaml"], "list.yaml must contain a YAML mapping"),
        (["--config", "broken.yaml"], "The --config file broken.yaml .*while parsing"),
        (["--config", "bytes.yaml"], "The --config file bytes.yaml cannot be read"),
        (["--config", "typo.yaml"], r"typo.yaml sets lern, which is no setting \(did you mean learn\?\)"),
        (["--config", "word.yaml"], "steps in word.yaml: invalid int value: 'many'"),
        (["--config=half.yaml"], "steps in half.yaml: invalid int value: '1.5'"),
        (["--config", "choice.yaml"], r"learn in choice.yaml: invalid choice: 'all' \(choose from 'instruction', 'response'\)"),
        (["--config", "false.yaml"], "learn in false.yaml: invalid choice: 'false'"),
        (["--config", "rows.yaml"], r"steps in rows.yaml: invalid int value: '\[1, 2\]'"),
        (["--lern", "response"], r"There is no flag --lern \(did you mean --learn\?\); --help lists all"),
        (["--step-s=3"], r"There is no flag --step-s \(did you mean --steps\?\)"),
        (["--step", "3"], r"There is no flag --step \(did you mean --steps\?\)"),
        (["--wholly-other"], r"There is no flag --wholly-other; --help"),
        (["stray"], "There is no flag stray"),
        (["--steps", "many"], "^--steps: invalid int value: 'many'; see --help for its values.$"),
        (["--steps"], "^--steps: expected one argument"),
        (["--learn", "all"], "^--learn: invalid choice: 'all'"),
        (["--alike", "perhaps"], "^--alike: Truthy value expected"),
        (
            ["--steps", "100"],
            r"The settings cannot be used \(steps are counted by a library that is not here\); correct the flag",
        ),
        (["--steps", "-1"], r"The settings cannot be used \(steps is below 0\); correct the flag"),
    ],
)
def test_settings_that_cannot_be_used_are_said_in_a_sentence(read, flags, said):
    with pytest.raises(InputError, match=said) as refusal:
        read(*flags)
    assert "\n" not in str(refusal.value)


def test_a_file_is_read_as_flags_are_and_flags_go_over_it(read):
    assert read("--config", "fine.yaml", "--steps", "3") == Settings(
        evaluate="no", rate=2e-5, steps=3, alike=True, freeze=["tower"], more={"a": [1]}
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What is said of the script's own settings, as they are or changed."""
    kinds = [ScriptArguments, L2TConfig, ModelConfig, L2TArguments]
    here = {"output_dir": str(tmp_path_factory.mktemp("out")), "use_cpu": True, "bf16": False}

    def say(**changed) -> list[str]:
        made = [kind(**{k: v for k, v in (here | changed).items() if k in kind.__dataclass_fields__}) for kind in kinds]
        return list(find_unused_flags(*made))

    return say


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"use_peft": True, "train_projector": True, "lora_r": 4, "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, []),
        ({"pack": "tree", "branches": 3, "eval_strategy": "steps", "eval_steps": 1, "dataset_test_split": "val"}, []),
        ({"train_projector": True}, ["--train_projector changes nothing, as a full run trains the projector anyway"]),
        ({"freeze": ["tower"], "use_peft": True}, ["--freeze changes nothing, as beside an adapter the whole model is frozen."]),
        ({"branches": 3}, ["--branches changes nothing, as there is no --pack tree."]),
        (
            {"dataset_test_split": "val", "use_bnb_nested_quant": True},
            ["--use_bnb_nested_quant changes", "--dataset_test_split c"],
        ),
        (
            {"alike": True, "train_sampling_strategy": "sequential"},
            ["--train_sampling_strategy changes nothing, as --alike decides"],
        ),
    ],
)
def test_flags_that_change_nothing_are_told(told, changed, said):
    found = told(**changed)
    assert len(found) == len(said) and all(one.startswith(start) for one, start in zip(found, said, strict=True))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"load_in_4bit": True},
            "--load_in_4bit cannot be used, as a quantised model is trained through an adapter: add --use_peft",
        ),
        ({"lora_r": 4, "use_dora": True}, "--lora_r, --use_dora cannot be used, as there is no adapter: add --use_peft"),
        ({"assistant_only_loss": True}, "--assistant_only_loss cannot be used, as --learn decides which tokens carry loss"),
        ({"model_init_kwargs": {"device_map": "auto"}}, "--model_init_kwargs cannot be used"),
        ({"per_device_train_batch_size": 0}, "--per_device_train_batch_size is 0: expected 1 or more."),
        ({"max_pixels": -1}, "--max_pixels is -1: expected 1 or more."),
        ({"trust_remote_code": True}, "--trust_remote_code cannot be used, as code from a model's repository is never run"),
    ],
)
def test_flags_that_cannot_have_what_they_are_for_are_refused(told, changed, said):
    with pytest.raises(InputError, match=said):
        told(**changed)
