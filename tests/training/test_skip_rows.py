"""Rows that cannot be trained on are left out of their batch, counted by reason, and never the whole batch for one of them."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path

import pytest
import torch
from training.tiny.families import FAMILY, SAMPLE_IMAGE, TALK, collator_of, processor_of, row_of, talk

import comvint_hf.training
from comvint_hf import L2TCollator
from comvint_hf.errors import ModelError, RowError
from comvint_hf.training.skip_counts import MAX_EMPTY_BATCHES, REASONS, SKIPPED, SkipCountingCollator

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NAME = "LLaVA-1.5, SigLIP"
GOOD, OTHER = row_of(*TALK), row_of("Is it?", "no")


def encoded(cut: int | None = None) -> dict:
    file = io.BytesIO()
    SAMPLE_IMAGE.save(file, "PNG")
    return {"bytes": file.getvalue()[:cut], "path": None}


BAD = {
    "image not readable": {**GOOD, "images": [encoded(cut=200)]},
    "no image": {"image_id": "a", "messages": talk("a", "b")},
    "too long": row_of("a " * 200, "b"),
    "not usable": row_of("a <image>", "b"),
}


def skipping(**options) -> L2TCollator:
    return collator_of(NAME, skip_bad=True, max_length=100, **options)


@pytest.mark.parametrize("reason", BAD)
def test_the_rest_of_the_batch_is_as_if_the_row_had_not_been_there(reason) -> None:
    collate = skipping()
    with pytest.warns(UserWarning, match=rf"The row is left out of its batch; later ones are only counted \({reason}\)"):
        batch = collate([GOOD, BAD[reason], OTHER])
    wanted = skipping()([GOOD, OTHER])
    assert all(torch.equal(batch[key], wanted[key]) for key in wanted) and batch.keys() == wanted.keys()
    assert collate.skipped == {reason: 1}
    with pytest.raises(RowError):
        collator_of(NAME, max_length=100)([GOOD, BAD[reason], OTHER])


def test_each_reason_is_warned_of_once_and_counted_always(recwarn) -> None:
    collate = skipping()
    for _ in range(3):
        collate([GOOD, BAD["too long"], BAD["no image"], BAD["too long"]])
    assert collate.skipped == {"too long": 6, "no image": 3}
    assert len([one for one in recwarn if "left out" in str(one.message)]) == 2


def test_what_a_processor_itself_cannot_take_is_a_bad_row_and_a_wrong_model_is_none() -> None:
    """Qwen-VL's processor refuses images more than 200 times as wide as high, with a plain ValueError."""
    narrow = {**GOOD, "images": [SAMPLE_IMAGE.resize((4000, 8))]}
    collate = collator_of("Qwen2-VL", skip_bad=True)
    assert len(collate([GOOD, narrow])["input_ids"]) == 1 and collate.skipped == {"not usable": 1}
    untold = processor_of("InternVL").tokenizer
    with pytest.raises(ModelError, match="has no chat template"):
        L2TCollator(untold, skip_bad=True)([GOOD])


def test_a_batch_of_which_nothing_is_left_is_refused_and_a_trainer_that_is_told_goes_on() -> None:
    rows = [BAD["too long"], BAD["no image"]]
    with pytest.raises(RowError, match="No row of this batch can be trained on; the first: Row 0 of the batch is .* tokens long"):
        skipping()(rows)
    telling = pickle.loads(pickle.dumps(SkipCountingCollator(skipping())))
    batch = telling(rows)
    assert (batch["labels"] == -100).all() and dict(zip(REASONS, batch[SKIPPED].sum(0).tolist(), strict=True)) == {
        **dict.fromkeys(REASONS, 0),
        "too long": 1,
        "no image": 1,
    }
    assert telling([GOOD, OTHER])[SKIPPED].tolist() == [[0] * len(REASONS)] * 2
    for _ in range(MAX_EMPTY_BATCHES - 1):
        telling(rows)
    with pytest.raises(RowError, match="batches in a row had nothing to train on"):
        telling(rows)


@FAMILY
def test_a_batch_that_learns_nothing_can_be_made_for_every_family(name) -> None:
    batch = collator_of(name, max_length=3, skip_bad=True).make_empty_batch()
    assert (batch["labels"] == -100).all() and "pixel_values" in batch


def test_trees_lose_rows_and_whole_images() -> None:
    collate = skipping(pack="tree")
    whole = encoded()
    tree = {"rows": [{**row, "images": [whole]} for row in (GOOD, OTHER, BAD["not usable"])]}
    rotten = {"rows": [{**row, "images": [encoded(cut=200)]} for row in (GOOD, OTHER)]}
    batch = collate([tree, rotten])
    wanted = collator_of(NAME, pack="tree")([{"rows": [GOOD, OTHER]}])
    assert all(torch.equal(batch[key], wanted[key]) for key in wanted)
    assert collate.skipped == {"not usable": 1, "image not readable": 2}


def test_rows_of_a_tree_decode_their_image_once(monkeypatch) -> None:
    from comvint_hf.training import skip_rows as module

    opened, decode = [], module.load_images
    monkeypatch.setattr(module, "load_images", lambda row, name: opened.append(name) or decode(row, name))
    files = [encoded()]
    skipping(pack="tree")([{"rows": [{**row, "images": files} for row in (GOOD, OTHER, GOOD)]}])
    assert len(opened) == 1


def test_every_reason_that_a_row_error_gives_is_counted() -> None:
    folder = Path(comvint_hf.training.__file__).parent
    given = {reason for path in folder.glob("*.py") for reason in re.findall(r'reason="([^"]+)"', path.read_text())}
    assert given | {"image not readable", "not usable"} == set(REASONS)
