"""Settings, rows, checkpoints and templates: what a tuning run needs beside TRL."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from datasets import Dataset

from comvint_hf.errors import InputError, ModelError, RowError
from comvint_hf.tuning import run


def rows_of_lengths(lengths):
    return Dataset.from_list(
        [{"id": str(n), "messages": [{"role": "user", "content": "x" * length}]} for n, length in enumerate(lengths)]
    )


def test_rows_without_messages_or_pictures_are_refused():
    with pytest.raises(RowError, match="no column `messages`"):
        run.trainable_rows(Dataset.from_list([{"text": "a"}]))
    blind = Dataset.from_list([{"image_id": "a", "messages": []}])
    with pytest.raises(RowError, match="--images"):
        run.trainable_rows(blind)
    assert run.trainable_rows(blind, text_only=True).column_names == ["image_id", "messages"]


def test_templates_come_from_a_file_or_nowhere(tmp_path):
    file = tmp_path / "templates.txt"
    file.write_text("Answer with one word.\n\n  Be brief. \n")
    rows = rows_of_lengths([1])
    assert run.task_templates(str(file), rows) == ["Answer with one word.", "Be brief."]
    assert run.task_templates("none", rows) == []
    with pytest.raises(InputError, match="expected mine, none, or a file"):
        run.task_templates(str(tmp_path / "lost"), rows)


def test_weights_come_from_the_checkpoint_of_a_full_run_only(tmp_path):
    whole, adapter = tmp_path / "whole", tmp_path / "adapter"
    for folder, files in ((whole, ["config.json"]), (adapter, ["adapter_config.json"])):
        folder.mkdir()
        for name in files:
            (folder / name).write_text("{}")
    assert run.weights_of("base", None) == "base"
    assert run.weights_of("base", str(whole)) == str(whole)
    assert run.weights_of("base", str(adapter)) == "base"


@dataclass
class Settings:
    learn: str = "response"
    steps: int = 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--config", "missing.yaml"], r"No such file or directory: 'missing.yaml'"),
        (["--config"], "--config names no file"),
        (["--config", "list.yaml"], "must contain a YAML mapping"),
        (["--config", "broken.yaml"], "while parsing"),
        (["--config", "typo.yaml"], "lern"),
        (["--lern", "response"], "--lern"),
    ],
)
def test_settings_that_cannot_be_used_are_said_in_a_sentence(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("- a")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "typo.yaml").write_text("lern: response")
    monkeypatch.setattr("sys.argv", ["sft.py", *flags])
    with pytest.raises(InputError, match=said) as refusal:
        run.read_settings(Settings)
    assert "\n" not in str(refusal.value)


def script(name, **given):
    plain = {"dataset_config": None, "dataset_streaming": False, "dataset_train_split": "train", "dataset_test_split": "test"}
    return SimpleNamespace(**(plain | {"dataset_name": name} | given))


def test_datasets_that_cannot_be_loaded_are_said_in_a_sentence(tmp_path):
    rows_of_lengths([1]).to_parquet(tmp_path / "train-0.parquet")
    train, test = run.load_rows(script(str(tmp_path)), evaluate=False)
    assert len(train) == 1 and test is None
    with pytest.raises(InputError, match="no split 'test' but train; say which with --dataset_test_split"):
        run.load_rows(script(str(tmp_path)), evaluate=True)
    with pytest.raises(InputError, match="no split 'all' but train; say which with --dataset_train_split"):
        run.load_rows(script(str(tmp_path), dataset_train_split="all"), evaluate=False)
    with pytest.raises(InputError, match=r"The dataset .*nothing cannot be loaded"):
        run.load_rows(script(str(tmp_path / "nothing")), evaluate=False)
    with pytest.raises(InputError, match="No dataset is named"):
        run.load_rows(script(None), evaluate=False)


def test_models_that_cannot_be_loaded_are_said_in_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="No model is named"):
        run.load_processor(SimpleNamespace(model_name_or_path=None, model_revision="main"))
    with pytest.raises(ModelError, match=r"The model .*nothing cannot be loaded") as refusal:
        run.load_processor(SimpleNamespace(model_name_or_path=str(tmp_path / "nothing"), model_revision="main"))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match="too few"), run.loading("a"):
        raise ModelError("too few")


def test_a_row_that_cannot_be_trained_on_is_found_before_the_model_is_loaded():
    def refusing(rows):
        raise RowError(f"{rows[0]['id']} is empty")

    refusing.max_length, refusing.may_lose_boxes = None, False
    with pytest.raises(RowError, match="0 is empty"):
        run.fitting(rows_of_lengths([1, 2]), refusing)
