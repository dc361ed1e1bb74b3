"""Rows in batches of like length, steps, checkpoints and templates: what a tuning run needs beside TRL."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from comvint_hf.errors import InputError, RowError
from comvint_hf.tuning import run


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
    order = [int(name) for name in run.alike(rows, batch, batches, seed)["id"]]
    assert len(order) == batch * batches
    epoch = len(lengths) // batch * batch
    for start in range(0, len(order), epoch):
        part = order[start : start + epoch]
        assert len(set(part)) == len(part)
    assert order == [int(name) for name in run.alike(rows, batch, batches, seed)["id"]]


def test_batches_are_alike_inside_and_not_in_order_outside():
    lengths = [length for length in range(200) for _ in range(2)]
    told = lengths_in(run.alike(rows_of_lengths(lengths), 4, 100))
    batches = [told[start : start + 4] for start in range(0, len(told), 4)]
    spread = [max(batch) - min(batch) for batch in batches]
    assert sum(spread) / len(spread) < 10, "rows of a batch differ as much as random ones would"
    means = [sum(batch) for batch in batches]
    rising = sum(later > earlier for earlier, later in pairwise(means)) / (len(means) - 1)
    assert 0.3 < rising < 0.7, "batches come sorted"


def test_a_batch_of_more_rows_than_there_are_is_refused():
    with pytest.raises(InputError, match="a batch takes 8"):
        run.alike(rows_of_lengths([1, 2]), 8, 1)


def training(**given):
    plain = {"max_steps": -1, "num_train_epochs": 3.0, "train_batch_size": 4, "gradient_accumulation_steps": 2, "world_size": 1}
    return SimpleNamespace(**(plain | given))


def test_epochs_become_steps_and_streams_are_refused():
    rows = rows_of_lengths([1] * 80)
    assert run.steps(training(), rows) == 30 and run.steps(training(max_steps=7), rows) == 7
    with pytest.raises(InputError, match="--dataset_streaming"):
        run.steps(training(max_steps=7), rows.to_iterable_dataset())


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
