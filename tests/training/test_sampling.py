"""Rows in batches of like length, and rows of one image together: the order in which rows are trained on."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from comvint_hf.errors import InputError
from comvint_hf.training import sampling


def rows_of_lengths(lengths):
    return Dataset.from_list(
        [{"id": str(n), "messages": [{"role": "user", "content": "x" * length}]} for n, length in enumerate(lengths)]
    )


def lengths_in(rows):
    return [len(row["messages"][0]["content"]) for row in rows]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=4, max_size=60), st.integers(1, 4), st.integers(1, 40), st.integers(0, 9))
def test_rows_come_whole_epochs_before_any_comes_again(lengths, batch, batches, seed):
    rows = rows_of_lengths(lengths)
    order = [int(name) for name in sampling.group_by_length(rows, batch, batches, seed)["id"]]
    assert len(order) == batch * batches
    epoch = len(lengths) // batch * batch
    for start in range(0, len(order), epoch):
        part = order[start : start + epoch]
        assert len(set(part)) == len(part)
    assert order == [int(name) for name in sampling.group_by_length(rows, batch, batches, seed)["id"]]


def test_batches_are_alike_inside_and_not_in_order_outside():
    lengths = [length for length in range(200) for _ in range(2)]
    told = lengths_in(sampling.group_by_length(rows_of_lengths(lengths), 4, 100))
    batches = [told[start : start + 4] for start in range(0, len(told), 4)]
    spread = [max(batch) - min(batch) for batch in batches]
    assert sum(spread) / len(spread) < 10, "rows of a batch differ as much as random ones would"
    means = [sum(batch) for batch in batches]
    rising = sum(later > earlier for earlier, later in pairwise(means)) / (len(means) - 1)
    assert 0.3 < rising < 0.7, "batches come sorted"


def test_a_batch_of_more_rows_than_there_are_is_refused():
    with pytest.raises(InputError, match="a batch takes 8"):
        sampling.group_by_length(rows_of_lengths([1, 2]), 8, 1)


def training(**given):
    plain = {"max_steps": -1, "num_train_epochs": 3.0, "train_batch_size": 4, "gradient_accumulation_steps": 2, "world_size": 1}
    return SimpleNamespace(**(plain | {"seed": 0, "remove_unused_columns": True} | given))


def test_epochs_become_steps_and_streams_are_refused():
    rows = rows_of_lengths([1] * 80)
    assert sampling.count_steps(training(), rows) == 30 and sampling.count_steps(training(max_steps=7), rows) == 7
    with pytest.raises(InputError, match="--dataset_streaming"):
        sampling.count_steps(training(max_steps=7), rows.to_iterable_dataset())


def test_two_processes_get_batches_that_are_alike_and_not_the_same():
    """Processes are dealt whole batches in turn, as accelerate shards a sampler; each step pairs batches that were drawn apart."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    lengths = [length for length in range(100) for _ in range(4)]
    settings = training(world_size=2, num_train_epochs=2.0)
    rows = sampling.order_rows(rows_of_lengths(lengths), settings, by_length=True)
    assert settings.max_steps == 50 and len(rows) == 50 * 2 * 2 * 4
    whole = BatchSampler(SequentialSampler(rows), batch_size=4, drop_last=False)
    shards = [list(BatchSamplerShard(whole, num_processes=2, process_index=index)) for index in range(2)]
    assert [len(shard) for shard in shards] == [100, 100]
    told = lengths_in(rows)
    spread = [max(told[place] for place in batch) - min(told[place] for place in batch) for shard in shards for batch in shard]
    assert sum(spread) / len(spread) < 10
    epoch = [rows["id"][place] for pair in list(zip(*shards, strict=True))[:50] for batch in pair for place in batch]
    assert sorted(epoch) == sorted(str(number) for number in range(400)), "an epoch does not hold every row once"


@pytest.fixture
def rows_of_images():
    """Nine rows of image a, two of b, one of c and two of none, in no order; each image has its own image."""
    from datasets import Features, Image, List, Value
    from PIL import Image as Pictures

    ids = ["a", "b", "a", "", "a", "a", "c", "a", "a", "b", "a", "", "a", "a"]
    shades = {"a": 10, "b": 20, "c": 30, "": 0}
    turn = {"role": Value("string"), "content": Value("string")}
    return Dataset.from_list(
        [
            {
                "id": str(number),
                "image_id": name,
                "images": [Pictures.new("L", (2, 2), shades[name])] if name else [],
                "messages": [{"role": "user", "content": "x" * number}, {"role": "assistant", "content": "y"}],
            }
            for number, name in enumerate(ids)
        ],
        features=Features({"id": Value("string"), "image_id": Value("string"), "images": List(Image()), "messages": List(turn)}),
    )


def test_a_tree_has_the_rows_of_one_image_and_its_image_once(rows_of_images):
    trees = list(sampling.group_by_image(rows_of_images))
    names = [[row["id"] for row in tree["rows"]] for tree in trees]
    assert names == [["0", "2", "4", "5", "7", "8", "10", "12", "13"], ["1", "9"], ["3"], ["6"], ["11"]]
    for tree in trees:
        assert all(row["images"] is tree["images"] for row in tree["rows"])
        assert {row["image_id"] for row in tree["rows"]} == {tree["rows"][0]["image_id"]}
        assert tree["rows"][0]["messages"][0]["content"] == "x" * int(tree["rows"][0]["id"])
    assert [[image.getpixel((0, 0)) for image in tree["images"]] for tree in trees] == [[10], [20], [], [30], []]


def test_an_image_with_many_rows_is_dealt_out_evenly(rows_of_images):
    trees = list(sampling.group_by_image(rows_of_images, max_rows=4))
    assert [len(tree["rows"]) for tree in trees] == [3, 3, 3, 2, 1, 1, 1]
    assert sorted(row["id"] for tree in trees for row in tree["rows"]) == sorted(rows_of_images["id"])


def test_trees_can_be_alike_and_survive_worker_processes(rows_of_images):
    import pickle

    settings = training(max_steps=2, train_batch_size=2, gradient_accumulation_steps=1)
    trees = sampling.order_rows(rows_of_images, settings, by_length=True, pack="tree", branches=4)
    assert settings.train_sampling_strategy == "sequential" and settings.remove_unused_columns is False
    sizes = [sum(len(turn["content"]) for row in tree["rows"] for turn in row["messages"]) for tree in trees]
    assert len(sizes) == 4 and sizes == sampling.compute_lengths(trees).tolist()
    assert [len(tree["rows"]) for tree in pickle.loads(pickle.dumps(trees))] == [len(tree["rows"]) for tree in trees]


def test_rows_are_evaluated_once_each_the_short_first(rows_of_images):
    ordered = sampling.order_eval_rows(rows_of_images.shuffle(seed=1), by_length=True)
    assert ordered["id"] == [str(number) for number in range(14)]
    trees = sampling.order_eval_rows(rows_of_images, by_length=True, pack="tree")
    assert [tree["rows"][0]["id"] for tree in trees] == ["3", "6", "1", "11", "0"]
    assert sampling.order_eval_rows(rows_of_images) is rows_of_images


def test_rows_that_name_no_image_are_not_packed(rows_of_images):
    for missing in ("image_id", "images"):
        with pytest.raises(InputError, match="--pack tree lays out the rows of one image"):
            sampling.group_by_image(rows_of_images.remove_columns(missing))
    with pytest.raises(InputError, match="--branches is 0"):
        sampling.group_by_image(rows_of_images, max_rows=0)
    stream = rows_of_images.to_iterable_dataset()
    assert sampling.order_rows(stream, training(), pack="tree") is stream
