"""Rows of two images, and whether a message tree learns from them what the rows teach one at a time."""

from __future__ import annotations

from typing import Any

import torch
from training.tiny.families import SAMPLE_IMAGE, TALK, collator_of, talk

from comvint_hf.training.packing.masks import AttentionSettings, read_attention

QUESTIONS = (
    TALK,
    ("Is it there? Answer with yes or no.", "no"),
    ("Is it red?", "yes, very much so"),
    ("What colour is the tree?", "green"),
    ("Is it there?", "maybe"),
)


def rows_of_images() -> list[dict[str, Any]]:
    """Three rows of one image, one of several turns, and two of another that is higher than wide; some begin alike."""
    images = [SAMPLE_IMAGE, SAMPLE_IMAGE.rotate(90, expand=True)]
    return [
        {"image_id": str(place // 3), "images": [images[place // 3]], "messages": talk(*texts)}
        for place, texts in enumerate(QUESTIONS)
    ]


def doubled(batch: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.double() if torch.is_tensor(value) and value.is_floating_point() else value for key, value in batch.items()
    }


def loss_and_gradients(model: Any, batch: dict[str, Any]) -> tuple[float, int, torch.Tensor]:
    """The summed loss, the number of labels it is summed over, and all gradients as one vector."""
    model.zero_grad()
    loss = model(**batch, num_items_in_batch=1).loss
    loss.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return loss.item(), int((batch["labels"][:, 1:] != -100).sum()), torch.cat([gradient.flatten() for gradient in gradients])


def tree_of(name: str, rows: list[Any], attention: AttentionSettings | None = None, **options: Any) -> dict[str, Any]:
    return collator_of(name, pack="tree", attention=attention, **options)(rows)


def learns_as_rows(name: str, model: Any, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Assert that the tree of rows has their loss, their labels and their gradients; gives the tree.

    In double precision and without dropout, which would draw other numbers for other shapes.
    """
    model = model.double().eval()
    tree = doubled(tree_of(name, rows, read_attention(model), **options))
    single = collator_of(name, **options)
    results = [loss_and_gradients(model, doubled(single([row]))) for row in rows]
    loss, labels, gradient = loss_and_gradients(model, tree)
    assert labels == sum(result[1] for result in results) > 0
    wanted = sum(result[0] for result in results)
    assert abs(loss - wanted) < 1e-6 * wanted
    separate = sum(result[2] for result in results)
    assert (gradient - separate).norm() / separate.norm() < 1e-6
    return tree
