"""Parquet files: datasets' features inside, bounded row groups, small pushes after small changes."""

from __future__ import annotations

import hashlib
import json
import random

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, load_dataset

from comvint_hf.dataset import shards
from comvint_hf.dataset.schema import features
from comvint_hf.dataset.shards import IMAGES, WITHOUT_IMAGES, RowFile, Shard
from comvint_hf.errors import RowError


def row(number: int, photo: bytes = b"") -> dict:
    filled = {name: [] if "List" in str(kind) else "" if "string" in str(kind) else 0 for name, kind in features().items()}
    return {**filled, "id": f"row-{number}", "image_id": str(number // 10), "images": [{"bytes": photo, "path": None}]}


@pytest.mark.parametrize("folder", shards.FOLDERS)
def test_every_kind_of_file_carries_its_features(tmp_path, folder) -> None:
    file = RowFile(tmp_path / "a.parquet", shards.schema_of(folder))
    file.add({})
    file.close()
    assert Features.from_arrow_schema(pq.read_schema(tmp_path / "a.parquet")) == shards.schema_of(folder)
    assert load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), split="train").features == shards.schema_of(folder)


def test_row_groups_are_bounded_by_rows_and_by_bytes(tmp_path) -> None:
    file = RowFile(tmp_path / "rows.parquet", features())
    for number in range(2500):
        file.add(row(number))
    file.close()
    found = pq.ParquetFile(tmp_path / "rows.parquet").metadata
    assert [found.row_group(number).num_rows for number in range(found.num_row_groups)] == [1000, 1000, 500]
    file = RowFile(tmp_path / "bytes.parquet", features())
    for number in range(20):
        file.add(row(number, bytes(4 * 2**20)))
    file.close()
    found = pq.ParquetFile(tmp_path / "bytes.parquet").metadata
    assert [found.row_group(number).num_rows for number in range(found.num_row_groups)] == [8, 8, 4]


def test_photos_come_back_as_they_went_in_although_stored_once(tmp_path) -> None:
    photos = [random.Random(number).randbytes(50_000) for number in range(20)]
    file = RowFile(tmp_path / "a.parquet", features())
    for number in range(200):
        file.add(row(number, photos[number // 10]))
    file.close()
    assert (tmp_path / "a.parquet").stat().st_size < 1.2 * sum(map(len, photos))
    read = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert all(one["images"][0]["bytes"] == photos[number // 10] for number, one in enumerate(read))


def test_equal_rows_give_equal_bytes(tmp_path) -> None:
    for name in ("a", "b"):
        file = RowFile(tmp_path / name, features())
        for number in range(1500):
            file.add(row(number, bytes([number % 251]) * 100))
        file.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_shard_is_invisible_until_it_is_whole(tmp_path) -> None:
    shard = Shard(tmp_path, 3)
    shard.add("data", "conversation", "train", row(1))
    assert not list(tmp_path.glob("data/**/*")) and shards.read_marker(tmp_path, 3) is None
    shard.commit({"note": 1})
    name = "data/conversation/train-00003.parquet"
    content = (tmp_path / name).read_bytes()
    assert shards.read_marker(tmp_path, 3) == {
        "files": {name: 1},
        "bytes": {name: len(content)},
        "sha256": {name: hashlib.sha256(content).hexdigest()},
        "note": 1,
    }
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    assert shards.read_marker(tmp_path, 3) is None, "a marker whose file was cut does not count"
    (tmp_path / name).unlink()
    assert shards.read_marker(tmp_path, 3) is None, "a marker whose file is gone does not count"


def test_a_shard_done_again_leaves_no_file_of_its_first_time(tmp_path) -> None:
    for task in ("conversation", "vlit"):
        shard = Shard(tmp_path, 0)
        shard.add("data", task, "train", row(1))
        shard.commit({})
    assert [path.name for path in (tmp_path / "data").iterdir() if list(path.iterdir())] == ["vlit"]


def test_an_abandoned_shard_leaves_nothing(tmp_path) -> None:
    shard = Shard(tmp_path, 0)
    shard.add("data", "conversation", "train", row(1))
    shard.discard()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def chunks(data: bytes) -> set[bytes]:
    """Content-defined chunks of about 64 KiB, as deduplicating stores cut them."""
    import hashlib

    cuts, start, rolling = set(), 0, 0
    for place, byte in enumerate(data):
        rolling = ((rolling << 1) + byte * 2654435761) & 0xFFFFFFFF
        if place - start > 8192 and rolling >> 17 == 0 or place == len(data) - 1:
            cuts.add(hashlib.sha1(data[start : place + 1]).digest() + (place + 1 - start).to_bytes(4, "big"))
            start = place + 1
    return cuts


def test_inserting_rows_changes_few_bytes(tmp_path) -> None:
    dice = random.Random(0)
    photos = [dice.randbytes(4096) for _ in range(600)]
    whole = [row(number, photos[number // 10]) for number in range(6000)]
    changed = whole[:3000] + [row(100_000 + number, dice.randbytes(4096)) for number in range(30)] + whole[3000:]
    sizes = []
    for name, rows in (("before", whole), ("after", changed)):
        file = RowFile(tmp_path / name, features())
        for one in rows:
            file.add(one)
        file.close()
        sizes.append(chunks((tmp_path / name).read_bytes()))
    new = sum(int.from_bytes(chunk[-4:], "big") for chunk in sizes[1] - sizes[0])
    assert new < 0.35 * (tmp_path / "after").stat().st_size


def test_the_schema_is_the_one_that_datasets_itself_would_write(tmp_path) -> None:
    Dataset.from_list([row(1)], features=features()).to_parquet(tmp_path / "theirs.parquet")
    file = RowFile(tmp_path / "ours.parquet", features())
    file.add(row(1))
    file.close()
    theirs, ours = pq.read_schema(tmp_path / "theirs.parquet"), pq.read_schema(tmp_path / "ours.parquet")
    assert ours == theirs
    assert json.loads(ours.metadata[b"huggingface"]) == json.loads(theirs.metadata[b"huggingface"])


def test_photos_that_lie_once_cost_little_beside_themselves_and_the_text(tmp_path) -> None:
    """SVIT's layout: many rows over few photos that do not compress; text counts as the messages, uncompressed."""
    shard, photos, text = Shard(tmp_path, 0), 0, 0
    for image in range(20):
        data = random.Random(image).randbytes(50_000)
        photos += len(data)
        shard.add(IMAGES, "", "train", {"image_id": f"toy/{image}", "image": {"bytes": data, "path": None}})
        for number in range(39):
            said = [
                f"What is {number} steps from the door of house {image}?",
                f"A cup, <st>cup<ed>[0.100, 0.200, 0.{image:03}, 0.4{number:02}].",
            ]
            text += sum(map(len, said))
            turns = [{"role": role, "content": content} for role, content in zip(("user", "assistant"), said, strict=True)]
            shard.add(
                WITHOUT_IMAGES,
                "conversation",
                "train",
                {"id": f"{image}/{number}", "image_id": f"toy/{image}", "messages": turns},
            )
    shard.commit({})
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert photos < stored <= 1.1 * (photos + text)


@pytest.mark.parametrize("task", ["../../outside", "a/b", "..", "a\\b"])
def test_a_task_that_leads_out_of_the_folder_is_refused(tmp_path, task) -> None:
    shard = Shard(tmp_path / "set", 0)
    with pytest.raises(RowError, match="which cannot name a folder"):
        shard.add(WITHOUT_IMAGES, task, "train", {"id": "1"})
    shard.discard()
    assert not list(tmp_path.rglob("*.parquet"))
