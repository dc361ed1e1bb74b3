"""Rows, checkpoints and templates: what a tuning run needs beside TRL."""

from types import SimpleNamespace

import pytest
from datasets import Dataset

from comvint_hf.errors import InputError, ModelError, RowError
from comvint_hf.training import run
from comvint_hf.training.error_messages import loading


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
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"The dataset .*empty cannot be loaded"):
        run.load_rows(script(str(tmp_path / "empty")), evaluate=False)
    with pytest.raises(InputError, match=r"There is no folder .*nothing; expected the folder of a dataset"):
        run.load_rows(script(str(tmp_path / "nothing")), evaluate=False)
    with pytest.raises(InputError, match="No dataset is named"):
        run.load_rows(script(None), evaluate=False)


def test_models_that_cannot_be_loaded_are_said_in_a_sentence(tmp_path):
    with pytest.raises(ModelError, match="No model is named"):
        run.load_processor(SimpleNamespace(model_name_or_path=None, model_revision="main"))
    with pytest.raises(ModelError, match=r"There is no folder .*nothing; expected the folder of a model"):
        run.load_processor(SimpleNamespace(model_name_or_path=str(tmp_path / "nothing"), model_revision="main"))
    with pytest.raises(ModelError, match=r"The model .* cannot be loaded") as refusal:
        run.load_processor(SimpleNamespace(model_name_or_path=str(tmp_path), model_revision="main"))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match="too few"), loading("a"):
        raise ModelError("too few")


class Refusing:
    """A collator that takes rows of the named ids only."""

    def __init__(self, *fine: str, skip_bad: bool = True) -> None:
        self.fine, self.skip_bad = fine, skip_bad

    def __call__(self, rows):
        if refused := [row["id"] for row in rows if row["id"] not in self.fine]:
            raise RowError(f"{refused[0]} is empty")

    batch = __call__


def test_a_row_that_cannot_be_trained_on_is_found_before_the_model_is_loaded():
    rows = rows_of_lengths([1] * 30)
    with pytest.raises(RowError, match="0 is empty"):
        run.try_first_rows(rows, Refusing("1", skip_bad=False))
    with pytest.raises(RowError, match="None of the first 20 rows can be trained on; the first was refused so: 0 is empty"):
        run.try_first_rows(rows, Refusing("25"))
    run.try_first_rows(rows, Refusing("7"))
    with pytest.raises(RowError, match="no rows"):
        run.try_first_rows(rows.select([]), Refusing())


def test_pictures_stay_files_and_no_table_is_copied(tmp_path, picture):
    from datasets import Image, List, load_dataset

    rows = Dataset.from_list([{"id": "a", "images": [picture], "messages": []}]).cast_column("images", List(Image()))
    rows.to_parquet(tmp_path / "train-0.parquet")
    for streaming in (False, True):
        loaded = load_dataset(str(tmp_path), split="train", streaming=streaming)
        files = set(tmp_path.rglob("*"))
        plain = run.trainable_rows(loaded, decode=False)
        assert set(next(iter(plain))["images"][0]) == {"bytes", "path"} and next(iter(loaded))["images"][0].size == (40, 30)
        assert set(tmp_path.rglob("*")) == files
        if not streaming:
            assert plain.cache_files == loaded.cache_files


def test_bounds_that_the_processor_would_undo_are_refused():
    class Looks(SimpleNamespace):
        pass

    one_size = SimpleNamespace(image_processor=Looks(size={"height": 336, "width": 336}))
    with pytest.raises(InputError, match="makes all pictures of one size"):
        run.refuse_idle_bounds(one_size, None, 1000)
    run.refuse_idle_bounds(one_size, None, None)
    free = SimpleNamespace(image_processor=Looks(size={"shortest_edge": 100, "longest_edge": 900}, merge_size=2))
    run.refuse_idle_bounds(free, 200, 800)
    for bounds in ((50, None), (None, 1000)):
        with pytest.raises(InputError, match="between 100 and 900 pixels"):
            run.refuse_idle_bounds(free, *bounds)
