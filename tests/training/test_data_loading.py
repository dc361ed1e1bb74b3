"""Rows of a run: loaded, checked before the model is loaded, and their task templates."""

from types import SimpleNamespace

import pytest
from datasets import Dataset

from comvint_hf.errors import InputError, RowError
from comvint_hf.training import data_loading


def rows_of_lengths(lengths):
    return Dataset.from_list(
        [{"id": str(n), "messages": [{"role": "user", "content": "x" * length}]} for n, length in enumerate(lengths)]
    )


def test_rows_without_messages_or_images_are_refused():
    with pytest.raises(RowError, match="no column `messages`"):
        data_loading.select_columns(Dataset.from_list([{"text": "a"}]))
    blind = Dataset.from_list([{"image_id": "a", "messages": []}])
    with pytest.raises(RowError, match="--images"):
        data_loading.select_columns(blind)
    assert data_loading.select_columns(blind, text_only=True).column_names == ["image_id", "messages"]


def test_templates_come_from_a_file_or_nowhere(tmp_path):
    file = tmp_path / "templates.txt"
    file.write_text("Answer with one word.\n\n  Be brief. \n")
    rows = rows_of_lengths([1])
    assert data_loading.load_templates(str(file), rows) == ["Answer with one word.", "Be brief."]
    assert data_loading.load_templates("none", rows) == []
    with pytest.raises(InputError, match="expected mine, none, or a file"):
        data_loading.load_templates(str(tmp_path / "lost"), rows)


def script(name, **given):
    plain = {"dataset_config": None, "dataset_streaming": False, "dataset_train_split": "train", "dataset_test_split": "test"}
    return SimpleNamespace(**(plain | {"dataset_name": name} | given))


def test_datasets_that_cannot_be_loaded_are_said_in_a_sentence(tmp_path):
    rows_of_lengths([1]).to_parquet(tmp_path / "train-0.parquet")
    train, test = data_loading.load_rows(script(str(tmp_path)), evaluate=False)
    assert len(train) == 1 and test is None
    with pytest.raises(InputError, match="no split 'test' but train; name another one with --dataset_test_split"):
        data_loading.load_rows(script(str(tmp_path)), evaluate=True)
    with pytest.raises(InputError, match="no split 'all' but train; name another one with --dataset_train_split"):
        data_loading.load_rows(script(str(tmp_path), dataset_train_split="all"), evaluate=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"The dataset .*empty cannot be loaded"):
        data_loading.load_rows(script(str(tmp_path / "empty")), evaluate=False)
    with pytest.raises(InputError, match=r"There is no folder .*nothing; expected the folder of a dataset"):
        data_loading.load_rows(script(str(tmp_path / "nothing")), evaluate=False)
    with pytest.raises(InputError, match="No dataset is named"):
        data_loading.load_rows(script(None), evaluate=False)


class Refusing:
    """A collator that takes rows of the named ids only."""

    def __init__(self, *fine: str, skip_bad: bool = True) -> None:
        self.fine, self.skip_bad = fine, skip_bad

    def __call__(self, rows):
        if refused := [row["id"] for row in rows if row["id"] not in self.fine]:
            raise RowError(f"{refused[0]} is empty")

    collate = __call__


def test_a_row_that_cannot_be_trained_on_is_found_before_the_model_is_loaded():
    rows = rows_of_lengths([1] * 30)
    with pytest.raises(RowError, match="0 is empty"):
        data_loading.check_first_rows(rows, Refusing("1", skip_bad=False))
    with pytest.raises(RowError, match="None of the first 20 rows can be trained on; the error of the first: 0 is empty"):
        data_loading.check_first_rows(rows, Refusing("25"))
    data_loading.check_first_rows(rows, Refusing("7"))
    with pytest.raises(RowError, match="no rows"):
        data_loading.check_first_rows(rows.select([]), Refusing())


def test_images_stay_files_and_no_table_is_copied(tmp_path, image):
    from datasets import Image, List, load_dataset

    rows = Dataset.from_list([{"id": "a", "images": [image], "messages": []}]).cast_column("images", List(Image()))
    rows.to_parquet(tmp_path / "train-0.parquet")
    for streaming in (False, True):
        loaded = load_dataset(str(tmp_path), split="train", streaming=streaming)
        files = set(tmp_path.rglob("*"))
        plain = data_loading.select_columns(loaded, decode=False)
        assert set(next(iter(plain))["images"][0]) == {"bytes", "path"} and next(iter(loaded))["images"][0].size == (40, 30)
        assert set(tmp_path.rglob("*")) == files
        if not streaming:
            assert plain.cache_files == loaded.cache_files
