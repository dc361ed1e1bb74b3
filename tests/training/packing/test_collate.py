"""Batches of message trees: how rows come together, what is refused, and that templates without a line break are exact too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.tiny.families import TINY
from training.tiny.trees import learns_as_rows, rows_of_images

from comvint_hf import L2TCollator
from comvint_hf.errors import RowError
from comvint_hf.model_families import Family
from comvint_hf.training.packing.collate import compute_attention_blocks, compute_position_ids
from comvint_hf.training.packing.masks import count_mask_tokens


def row_of(*texts: str, **more) -> dict:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)], **more}


@pytest.fixture
def rows(image) -> list[dict]:
    """Three rows of one image, one of several turns, then two of another; some begin alike."""
    other = image.rotate(90)
    return [
        row_of("What colour is the car?", "It is red.", images=[image], image_id="a"),
        row_of(
            "What colour is the tree? Answer with yes or no.",
            "no",
            "Sure?",
            "yes, it stands there",
            images=[image],
            image_id="a",
        ),
        row_of("Is there a dog?", "yes", images=[image], image_id="a"),
        row_of("Is there a dog?", "no", images=[other], image_id="b"),
        row_of("How many people do you see?", "three", images=[other], image_id="b"),
    ]


def test_it_is_shorter_than_its_rows(rows, processor_of) -> None:
    batch = L2TCollator(processor_of("llava"), pack="tree")(rows[:3])
    single = L2TCollator(processor_of("llava"))(rows[:3])
    assert batch["input_ids"].shape[1] < int(single["attention_mask"].sum())
    assert batch["attention_mask"].dtype == torch.bool
    assert batch["attention_mask"].shape == (1, 1, batch["input_ids"].shape[1], batch["input_ids"].shape[1])
    assert batch["position_ids"].max() < single["input_ids"].shape[1]


def test_groups_come_as_rows_as_lists_or_under_a_key(rows, processor_of) -> None:
    """Rows that share an `image_id`, rows that share an image, lists as `by_image` gives them, and one column `rows`."""
    from comvint_hf import by_image

    collate = L2TCollator(processor_of("llava"), pack="tree")
    plain = [{key: value for key, value in row.items() if key != "image_id"} for row in rows]
    groups = list(by_image(rows))
    wanted = collate(rows)
    for other in (plain, groups, [{"rows": group} for group in groups], [rows[0], rows[3], rows[1], rows[4], rows[2]]):
        batch = collate(other)
        assert all(torch.equal(batch[key], wanted[key]) for key in wanted)


def test_a_lone_row_and_text_only_rows_are_trees_too(rows, processor_of) -> None:
    processor = processor_of("llava")
    batch = L2TCollator(processor, pack="tree")([rows[0], row_of("Who?", "me"), row_of("Why?", "so")])
    single = L2TCollator(processor)([rows[0], row_of("Who?", "me"), row_of("Why?", "so")])
    assert torch.equal(batch["input_ids"], single["input_ids"])
    assert torch.equal(batch["labels"], single["labels"])


def test_a_question_right_behind_the_image_is_refused(rows, processor_of) -> None:
    """The style writes no token between the two, and the first word of each question is learnt from the last image token."""
    with pytest.raises(RowError, match="cannot share their image"):
        L2TCollator(processor_of("chatml"), pack="tree")(rows)


def test_a_question_right_behind_the_image_is_no_matter_where_answers_are_learnt() -> None:
    name = "LLaVA-1.5, SigLIP"
    processor = TINY[name].processor()
    processor.chat_template = processor.chat_template.replace(r"<image>\n", "<image>")
    learns_as_rows(name, TINY[name].model(processor), rows_of_images(), learn="response", processor=processor)


def test_rows_of_an_image_with_other_system_prompts_are_other_trees(image, processor_of) -> None:
    collate = L2TCollator(processor_of("chatml"), learn="response", pack="tree")
    rows = [row_of("Is there a dog?", answer, images=[image], image_id="a") for answer in ("yes", "no", "perhaps")]
    rows[1]["messages"].insert(0, {"role": "system", "content": "You look at pictures."})
    batch = collate(rows)
    assert len(batch["input_ids"]) == len(batch["pixel_values"]) == 2
    for tree, alone in zip(batch["labels"], (collate([rows[0], rows[2]]), collate([rows[1]])), strict=True):
        assert tree[: alone["labels"].shape[1]].tolist() == alone["labels"][0].tolist()


def test_the_tokens_of_trees_are_counted(rows, processor_of) -> None:
    collate = L2TCollator(processor_of("llava"), pack="tree")
    batch = collate(rows)
    padding = collate.processor.tokenizer.pad_token_id
    assert count_mask_tokens(batch["attention_mask"]) == (batch["input_ids"] != padding).sum()


def test_rows_with_other_images_are_refused(rows, image, processor_of) -> None:
    with pytest.raises(RowError, match="has 2 images and"):
        L2TCollator(processor_of("llava"), pack="tree")([rows[0], {**rows[1], "images": [image, image]}])


def test_a_row_longer_than_a_tree_may_be_is_refused(rows, processor_of) -> None:
    with pytest.raises(RowError, match="max_length is 12"):
        L2TCollator(processor_of("llava"), pack="tree", max_length=12)(rows)


PLAIN, GRID = Family("plain"), Family("grid", uses_mrope=True)


def row(*lengths: int) -> np.ndarray:
    """Tokens of text, of an image, of text, and so on."""
    return np.concatenate([np.full(length, place % 2 == 1) for place, length in enumerate(lengths)] or [np.zeros(0, bool)])


def test_text_is_counted_on_from_an_images_longer_side() -> None:
    found = compute_position_ids(GRID, row(2, 6, 3), [(1, 2, 3)])
    assert found[0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7]
    assert found[1].tolist() == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7]
    assert found[2].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7]


@given(st.lists(st.integers(0, 5), max_size=6))
def test_without_images_of_a_grid_tokens_are_counted(lengths) -> None:
    is_image = row(*lengths)
    assert compute_position_ids(PLAIN, is_image, []).tolist() == [list(range(len(is_image)))]
    assert compute_position_ids(GRID, np.zeros_like(is_image), []).tolist() == [list(range(len(is_image)))] * 3


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        (PLAIN, [-1, -1, -1, -1, -1, -1, -1]),
        (Family("prefix", bidirectional_prefix=True), [0, 0, 0, 0, 0, -1, -1]),
        (Family("whole", bidirectional_image=True), [-1, 0, 0, -1, 1, -1, -1]),
    ],
)
def test_blocks_see_all_of_themselves(family, wanted) -> None:
    assert compute_attention_blocks(family, row(1, 2, 1, 1, 2)).tolist() == wanted
