"""Laying rows out as message trees: what each token sees, and how rows are dealt out to trees."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comvint_hf.training.packing.masks import MaskFields, make_dense_mask
from comvint_hf.training.packing.trees import TokenRow, build_tree, count_shared_tokens, split_rows, stack_mask_fields

IMAGE_TOKEN = 9


def token_row(ids: list[int], labels: list[int]) -> TokenRow:
    size = len(ids)
    return TokenRow(np.array(ids), np.array(labels), np.arange(size)[None], np.full(size, -1))


def of(tree, name: str) -> np.ndarray:
    return tree.mask_fields[MaskFields._fields.index(name)]


def token_rows(draw) -> list[TokenRow]:
    """Rows of few different tokens, so that they begin alike; loss begins somewhere."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        ids = draw(st.lists(st.integers(0, 2), min_size=1, max_size=7))
        start = draw(st.integers(0, len(ids)))
        rows.append(token_row(ids, [-100] * start + ids[start:]))
    return rows


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_each_branch_sees_exactly_its_row(data) -> None:
    """For every learnt label of a tree: what its predictor sees, in order of position, is what it sees in the row."""
    rows = token_rows(data.draw)
    tree = build_tree(rows)
    mask = make_dense_mask(torch.from_numpy(stack_mask_fields([tree])))[0, 0].numpy()
    got = []
    for place in np.flatnonzero(tree.labels != -100):
        if place == 0:
            continue
        seen = np.flatnonzero(mask[place - 1])
        assert tree.position_ids[0, seen].tolist() == list(range(len(seen)))
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
    trees = split_rows(rows, limit)
    assert [place for tree in trees for place in tree] == list(range(len(rows)))
    assert all(len(build_tree([rows[place] for place in tree]).labels) <= limit for tree in trees)
    assert split_rows(rows, None) == [list(range(len(rows)))]


def test_nothing_learnt_is_shared() -> None:
    rows = [token_row([1, 2, 3, 4], [-100, -100, 3, 4]), token_row([1, 2, 3, 5], [-100, -100, 3, 5])]
    assert count_shared_tokens(rows) == 2
    tree = build_tree(rows)
    assert tree.input_ids.tolist() == [1, 2, 2, 3, 4, 2, 3, 5]
    assert (
        tree.position_ids.tolist() == [[0, 1, 1, 2, 3, 1, 2, 3]]
        and of(tree, "position").tolist() == tree.position_ids[0].tolist()
    )
    assert tree.labels.tolist() == [-100, -100, -100, 3, 4, -100, 3, 5]
    assert of(tree, "branch").tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert of(tree, "shared").tolist() == [1, 0, 0, 0, 0, 0, 0, 0], "what is copied is not seen twice"


def test_rows_that_differ_before_their_image_are_different_trees() -> None:
    """By a system prompt, or because what is learnt begins before the image."""
    rows = [token_row([start, IMAGE_TOKEN, 3, 4], [-100, -100, 3, 4]) for start in (1, 2, 1)]
    assert split_rows(rows, None, [IMAGE_TOKEN]) == [[0, 2], [1]]
    assert split_rows(rows, 6, [IMAGE_TOKEN]) == [[0], [2], [1]]
    assert split_rows(rows, None) == [[0, 1, 2]]
