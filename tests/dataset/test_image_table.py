"""Photos of a config `images`: read by id, only what is needed, a few row groups in memory."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow
import pytest
from datasets import Dataset, Image, List

from comvint_hf import attach_images
from comvint_hf.dataset import image_table, shards
from comvint_hf.dataset.image_table import MAX_GROUPS, ImageTable
from comvint_hf.errors import InputError, RowError

PHOTOS, BYTES, A_GROUP = 120, 50_000, 10
CARD = "---\nconfigs:\n- config_name: images\n  data_files: images/*.parquet\n---\n"


def photo(number: int) -> bytes:
    return b"\xff\xd8" + bytes([number]) * BYTES


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """A dataset folder of 120 photos of 50 kB in three files of four row groups each."""
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", A_GROUP)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "table"
    for start in range(0, PHOTOS, PHOTOS // 3):
        file = shards.RowFile(folder / "images" / f"train-{start:05d}.parquet", shards.image_features())
        for number in range(start, start + PHOTOS // 3):
            file.add({"image_id": f"toy/{number}", "image": {"bytes": photo(number), "path": None}})
        file.close()
    (folder / "README.md").write_text(CARD)
    (folder / "build.json").write_text("{}")
    return folder


@pytest.fixture
def held(monkeypatch) -> list[int]:
    """Arrow's memory in bytes, above what it was, each time that a photo is read."""
    before, seen, read = pyarrow.total_allocated_bytes(), [], ImageTable.load

    def watched(self: ImageTable, image_id: str):
        found = read(self, image_id)
        seen.append(pyarrow.total_allocated_bytes() - before)
        return found

    monkeypatch.setattr(ImageTable, "load", watched)
    return seen


def rows(numbers) -> Dataset:
    return Dataset.from_dict({"image_id": [f"toy/{number}" for number in numbers]})


@pytest.mark.parametrize("streaming", [False, True])
def test_memory_holds_a_few_row_groups_however_many_photos_there_are(table, held, streaming) -> None:
    numbers = [number for number in range(PHOTOS) for _ in range(3)]
    asked = rows(numbers).to_iterable_dataset() if streaming else rows(numbers)
    attached = attach_images(asked, str(table)).cast_column("images", List(Image(decode=False)))
    for number, row in zip(numbers, attached, strict=True):
        (found,) = row["images"]
        assert (found["bytes"] or Path(found["path"]).read_bytes()) == photo(number)
    assert len(held) == (len(numbers) if streaming else PHOTOS)
    assert max(held) < (MAX_GROUPS + 1) * A_GROUP * BYTES * 1.5 < PHOTOS * BYTES / 2


def test_only_the_photos_that_rows_name_are_read_and_none_twice(table, held, tmp_path) -> None:
    attach_images(rows([3, 57, 3]), str(table))
    written = list((tmp_path / "cache" / "comvint_images").rglob("*.jpg"))
    assert sorted(path.name for path in written) == ["toy%2F3.jpg", "toy%2F57.jpg"] and len(held) == 2
    attach_images(rows([57, 58]), str(table))
    assert len(held) == 3


def test_another_version_of_the_photos_is_unpacked_anew(table) -> None:
    first = ImageTable(str(table)).find_files(["toy/0"])["toy/0"]
    path = next((table / "images").glob("train-00000*"))
    path.write_bytes(path.read_bytes())
    image_file = shards.RowFile(path, shards.image_features())
    image_file.add({"image_id": "toy/0", "image": {"bytes": photo(9), "path": None}})
    image_file.close()
    second = ImageTable(str(table)).find_files(["toy/0"])["toy/0"]
    assert (first.read_bytes(), second.read_bytes()) == (photo(0), photo(9))


def test_a_table_goes_to_workers_without_its_memory(table) -> None:
    whole = ImageTable(str(table))
    assert whole.load("toy/7")["bytes"] == photo(7) and "toy/8" in whole and "toy/x" not in whole
    sent = pickle.dumps(whole)
    assert len(sent) < BYTES and pickle.loads(sent).load("toy/8")["bytes"] == photo(8)


def test_what_a_forked_worker_inherits_is_read_anew(table, monkeypatch) -> None:
    whole = ImageTable(str(table))
    whole.load("toy/7")
    inherited = next(iter(whole._groups.values()))
    monkeypatch.setattr(image_table.os, "getpid", lambda: -1)
    whole.load("toy/7")
    assert next(iter(whole._groups.values())) is not inherited


def test_a_photo_that_is_not_there_is_named(table) -> None:
    with pytest.raises(RowError, match="1 of 2 images are missing there, such as toy/999"):
        attach_images(rows([1, 999]), str(table))
    with pytest.warns(UserWarning, match="1 row is left out"):
        assert attach_images(rows([1, 999, 2]), str(table), missing="drop")["image_id"][:] == ["toy/1", "toy/2"]


@pytest.mark.parametrize("there", [True, False])
def test_a_dataset_without_photos_is_told_from_one_with(tmp_path, there) -> None:
    folder = tmp_path / "text"
    if there:
        (folder / "images").mkdir(parents=True)
        (folder / "build.json").write_text("{}")
    with pytest.raises(InputError, match="expected a folder of images, or a dataset with the config `images`"):
        attach_images(rows([1]), str(folder))
