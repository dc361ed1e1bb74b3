"""Pretrain the tiny model's vision tower to recognise objects, patch by patch, before any language is learnt.

Labels come from scenes: the patch with an object's centre has the words that are true of it (name, attributes, written text) and its
box. This module knows scenes and SigLIP towers; it knows no corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from comvint_hf.errors import InputError
from comvint_hf.types import Box, Scene

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor


class PatchBatch(NamedTuple):
    """A batch of images with the labels of each patch.

    `pixels` [B, 3, H, W]; `words` [B, P, W], 1 where a word is true; `boxes` [B, P, 4] fractions; `has_object` [B, P] bool.
    """

    pixels: Tensor
    words: Tensor
    boxes: Tensor
    has_object: Tensor


def pretrain_vision_tower(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    scenes: Iterable[Scene],
    *,
    batch_size: int = 32,
    learning_rate: float = 4e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Train the tower over `scenes` once, with heads that are discarded.

    Returns the word accuracy (`words`) and box error (`box_error`) of the last batches. Raises `InputError` when the scenes hold no
    object with a box.
    """
    torch.manual_seed(seed)
    tower = model.model.vision_tower
    side = tower.config.image_size // tower.config.patch_size
    scenes = [_drop_texts(scene) for scene in scenes]
    words = sorted({word for scene in scenes for _, labels in _list_labels(scene) for word in labels})
    if not words:
        raise InputError("The scenes hold no object with a box, so there is nothing to train the vision tower on.")
    word_head, box_head = nn.Linear(tower.config.hidden_size, len(words)), nn.Linear(tower.config.hidden_size, 4)
    parameters = [*tower.parameters(), *word_head.parameters(), *box_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    steps = -(-len(scenes) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    history = []
    for batch in _make_batches(scenes, words, side, processor, batch_size):
        features = tower(batch.pixels, output_hidden_states=True).hidden_states[-1]
        logits, boxes = word_head(features), box_head(features)
        box_error = functional.l1_loss(boxes[batch.has_object], batch.boxes[batch.has_object])
        loss = functional.binary_cross_entropy_with_logits(logits, batch.words) * len(words) / 4 + 5 * box_error
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        exact = ((logits > 0) == (batch.words > 0.5)).all(-1)[batch.has_object].float().mean()
        history.append((exact.item(), box_error.item()))
        if progress:
            progress(len(history), steps)
    # A single batch is too noisy to report.
    accuracies, errors = zip(*history[-20:], strict=True)
    return {"words": sum(accuracies) / len(accuracies), "box_error": sum(errors) / len(errors)}


def _drop_texts(scene: Scene) -> Scene:
    """Drop a scene's sentences, so that thousands of scenes fit into memory."""
    return scene.model_copy(update={"captions": (), "regions": (), "relations": (), "questions": ()})


def _list_labels(scene: Scene) -> Iterator[tuple[Box, tuple[str, ...]]]:
    """Yield each box with its words; "red circle" binds an attribute to its name."""
    for item in scene.objects:
        labels = (item.name, *item.attributes, *(f"{attribute} {item.name}" for attribute in item.attributes))
        for box in item.boxes:
            yield box, labels
    for text in scene.texts:
        if text.box:
            yield text.box, (text.text,)


def _make_batches(
    scenes: Iterable[Scene], words: list[str], side: int, processor: LlavaProcessor, batch_size: int
) -> Iterator[PatchBatch]:
    index = {word: number for number, word in enumerate(words)}
    rest = iter(scenes)
    while group := list(islice(rest, batch_size)):
        images = processor.image_processor(images=[scene.open() for scene in group], return_tensors="pt")
        targets = torch.zeros(len(group), side * side, len(words))
        boxes = torch.zeros(len(group), side * side, 4)
        for row, scene in enumerate(group):
            for box, labels in _list_labels(scene):
                x, y = (min(int(value * side), side - 1) for value in box.centre)
                targets[row, y * side + x, [index[word] for word in labels]] = 1
                boxes[row, y * side + x] = torch.tensor(box.xyxy)
        yield PatchBatch(images["pixel_values"], targets, boxes, targets.any(-1))
