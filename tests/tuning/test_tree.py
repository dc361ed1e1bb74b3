"""Message trees: one sequence an image, with the loss and the gradients of separate rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comvint_hf import L2TCollator
from comvint_hf.errors import ModelError, RowError
from comvint_hf.tuning.tree import TokenRow, lay_out, require_tree_attention, shared_length, split, tree_mask


def llava(decoder: str, processor):
    """A random LLaVA: SigLIP of one layer on 32-pixel pictures, a decoder of two layers."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, Qwen2Config, SiglipVisionConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {"llama": LlamaConfig, "qwen2": Qwen2Config}[decoder](
        vocab_size=len(processor.tokenizer), num_key_value_heads=2, max_position_embeddings=512, **sizes
    )
    vision = SiglipVisionConfig(image_size=32, patch_size=16, vision_use_head=False, **{**sizes, "num_hidden_layers": 1})
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return LlavaForConditionalGeneration(config)


def row_of(*texts: str, **more) -> dict:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)], **more}


def loss_and_gradients(model, batch) -> tuple[float, int, torch.Tensor]:
    """The summed loss, the number of labels it is summed over, and all gradients as one vector."""
    model.zero_grad()
    loss = model(**batch, num_items_in_batch=1).loss
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return loss.item(), int((batch["labels"][:, 1:] != -100).sum()), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.fixture
def rows(picture) -> list[dict]:
    """Three rows of one picture, one of several turns, then two of another; some begin alike."""
    other = picture.rotate(90)
    return [
        row_of("What colour is the car?", "It is red.", images=[picture], image_id="a"),
        row_of(
            "What colour is the tree? Answer with yes or no.",
            "no",
            "Sure?",
            "yes, it stands there",
            images=[picture],
            image_id="a",
        ),
        row_of("Is there a dog?", "yes", images=[picture], image_id="a"),
        row_of("Is there a dog?", "no", images=[other], image_id="b"),
        row_of("How many people do you see?", "three", images=[other], image_id="b"),
    ]


@pytest.mark.parametrize(
    ("style", "learn"),
    [("llava", "instruction+response"), ("llava", "response"), ("chatml", "response"), ("mistral", "response")],
)
@pytest.mark.parametrize("decoder", ["llama", "qwen2"])
@pytest.mark.parametrize("max_length", [None, 60])
def test_loss_and_gradients_are_those_of_separate_rows(decoder, style, learn, max_length, rows, processor_of) -> None:
    processor = processor_of(style)
    model = llava(decoder, processor).double()
    options = {"learn": learn, "templates": ["Answer with yes or no."], "max_length": max_length}
    single = L2TCollator(processor, **options)
    tree = L2TCollator(processor, pack="tree", **options)(rows)
    assert len(tree["input_ids"]) > 2 if max_length else len(tree["input_ids"]) == len(tree["pixel_values"]) == 2
    results = [loss_and_gradients(model, single([row])) for row in rows]
    loss, labels, gradient = loss_and_gradients(model, tree)
    assert labels == sum(result[1] for result in results)
    assert loss == pytest.approx(sum(result[0] for result in results), rel=1e-6)
    separate = sum(result[2] for result in results)
    assert (gradient - separate).norm() / separate.norm() < 1e-6


def test_it_is_shorter_than_its_rows(rows, processor_of) -> None:
    batch = L2TCollator(processor_of("llava"), pack="tree")(rows[:3])
    single = L2TCollator(processor_of("llava"))(rows[:3])
    assert batch["input_ids"].shape[1] < int(single["attention_mask"].sum())
    assert batch["attention_mask"].dtype == torch.bool
    assert batch["attention_mask"].shape == (1, 1, batch["input_ids"].shape[1], batch["input_ids"].shape[1])
    assert batch["position_ids"].max() < single["input_ids"].shape[1]


def test_groups_come_as_rows_as_lists_or_under_a_key(rows, processor_of) -> None:
    """Rows that share an `image_id`, rows that share a picture, lists as `by_image` gives them, and one column `rows`."""
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


def test_a_question_right_behind_the_picture_is_refused(rows, processor_of) -> None:
    """The style writes no token between the two, and the first word of each question is learnt from the last image token."""
    with pytest.raises(RowError, match="cannot share their image"):
        L2TCollator(processor_of("chatml"), pack="tree")(rows)


def test_rows_with_other_pictures_are_refused(rows, picture, processor_of) -> None:
    with pytest.raises(RowError, match="has 2 pictures and"):
        L2TCollator(processor_of("llava"), pack="tree")([rows[0], {**rows[1], "images": [picture, picture]}])


def test_a_row_longer_than_a_tree_may_be_is_refused(rows, processor_of) -> None:
    with pytest.raises(RowError, match="max_length is 12"):
        L2TCollator(processor_of("llava"), pack="tree", max_length=12)(rows)


def test_eager_attention_is_refused(processor_of) -> None:
    model = llava("llama", processor_of("llava"))
    require_tree_attention(model)
    model.set_attn_implementation("eager")
    with pytest.raises(ModelError, match="needs SDPA attention: the model uses 'eager'"):
        require_tree_attention(model)


def token_rows(draw) -> list[TokenRow]:
    """Rows of few different tokens, so that they begin alike; loss begins somewhere."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        ids = np.array(draw(st.lists(st.integers(0, 2), min_size=1, max_size=7)))
        start = draw(st.integers(0, len(ids)))
        rows.append(TokenRow(ids, np.where(np.arange(len(ids)) >= start, ids, -100)))
    return rows


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_each_branch_sees_exactly_its_row(data) -> None:
    """For every learnt label of a tree: what its predictor sees, in order of position, is what it sees in the row."""
    rows = token_rows(data.draw)
    tree = lay_out(rows)
    mask = tree_mask(tree.branch[None], tree.open[None])[0]
    got = []
    for place in np.flatnonzero(tree.labels != -100):
        if place == 0:
            continue
        seen = np.flatnonzero(mask[place - 1])
        assert tree.positions[seen].tolist() == list(range(len(seen)))
        got.append((tree.input_ids[seen].tolist(), int(tree.labels[place])))
    wanted = [
        (row.input_ids[:place].tolist(), int(row.labels[place]))
        for row in rows
        for place in range(1, len(row.labels))
        if row.labels[place] != -100
    ]
    assert sorted(got) == sorted(wanted)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_splitting_keeps_every_row_and_the_limit(data) -> None:
    rows = token_rows(data.draw)
    limit = data.draw(st.integers(max(len(row.labels) for row in rows) + 1, 20))
    trees = split(rows, limit)
    assert [place for tree in trees for place in tree] == list(range(len(rows)))
    assert all(len(lay_out([rows[place] for place in tree]).labels) <= limit for tree in trees)
    assert split(rows, None) == [list(range(len(rows)))]


def test_nothing_learnt_is_shared() -> None:
    rows = [
        TokenRow(np.array([1, 2, 3, 4]), np.array([-100, -100, 3, 4])),
        TokenRow(np.array([1, 2, 3, 5]), np.array([-100, -100, 3, 5])),
    ]
    assert shared_length(rows) == 2
    assert lay_out(rows).input_ids.tolist() == [1, 2, 2, 3, 4, 2, 3, 5]
    assert lay_out(rows).positions.tolist() == [0, 1, 1, 2, 3, 1, 2, 3]
    assert lay_out(rows).labels.tolist() == [-100, -100, -100, 3, 4, -100, 3, 5]


def test_padding_sees_itself_and_nothing_sees_padding() -> None:
    mask = tree_mask(np.array([[0, 1, -1, -1]]), np.array([[True, False, False, False]]))[0]
    assert mask.diagonal().all()
    assert not mask[:2, 2:].any() and not mask[2:, :2].any()
