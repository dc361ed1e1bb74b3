"""Teach the tiny model's vision tower what lies where, patch by patch, before any language is learnt.

Labels come from scenes: for the patch in which an object's centre lies, the words that are true of it (name, attributes,
writing) and its box. This file knows scenes and SigLIP towers; it knows no corpus.
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


class Patches(NamedTuple):
    """A batch of pictures and what is true of each patch.

    `pixels` [B, 3, H, W]; `words` [B, P, W] one where a word is true; `boxes` [B, P, 4] fractions; `filled` [B, P] bool.
    """

    pixels: Tensor
    words: Tensor
    boxes: Tensor
    filled: Tensor


def teach_tower(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    scenes: Iterable[Scene],
    *,
    batch: int = 32,
    rate: float = 4e-3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Train the tower over `scenes` once; returns the last batches' word accuracy and box error. The heads are thrown away.

    Raises `InputError` when the scenes hold no boxed object.
    """
    torch.manual_seed(seed)
    tower = model.model.vision_tower
    across = tower.config.image_size // tower.config.patch_size
    scenes = [_slim(scene) for scene in scenes]
    words = sorted({word for scene in scenes for _, said in _facts(scene) for word in said})
    if not words:
        raise InputError("The scenes hold no object with a box: the vision tower has nothing to learn from.")
    says, points = nn.Linear(tower.config.hidden_size, len(words)), nn.Linear(tower.config.hidden_size, 4)
    trained = [*tower.parameters(), *says.parameters(), *points.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    steps = -(-len(scenes) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    seen = []
    for patches in _batches(scenes, words, across, processor, batch):
        features = tower(patches.pixels, output_hidden_states=True).hidden_states[-1]
        told, boxes = says(features), points(features)
        box_error = functional.l1_loss(boxes[patches.filled], patches.boxes[patches.filled])
        loss = functional.binary_cross_entropy_with_logits(told, patches.words) * len(words) / 4 + 5 * box_error
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        exact = ((told > 0) == (patches.words > 0.5)).all(-1)[patches.filled].float().mean()
        seen.append((exact.item(), box_error.item()))
        if progress:
            progress(len(seen), steps)
    last = seen[-20:]
    return {"words": sum(exact for exact, _ in last) / len(last), "box_error": sum(error for _, error in last) / len(last)}


def _slim(scene: Scene) -> Scene:
    """The scene without its sentences, so that thousands fit into memory."""
    return scene.model_copy(update={"captions": (), "regions": (), "relations": (), "questions": ()})


def _facts(scene: Scene) -> Iterator[tuple[Box, tuple[str, ...]]]:
    """Each thing that has a box, the words that are true of it, and the pairs that bind an attribute to its name."""
    for item in scene.objects:
        said = (item.name, *item.attributes, *(f"{attribute} {item.name}" for attribute in item.attributes))
        for box in item.boxes:
            yield box, said
    for text in scene.texts:
        if text.box:
            yield text.box, (text.text,)


def _batches(scenes: Iterable[Scene], words: list[str], across: int, processor: LlavaProcessor, batch: int) -> Iterator[Patches]:
    index = {word: number for number, word in enumerate(words)}
    rest = iter(scenes)
    while group := list(islice(rest, batch)):
        pictures = processor.image_processor(images=[scene.open() for scene in group], return_tensors="pt")
        said = torch.zeros(len(group), across * across, len(words))
        boxes = torch.zeros(len(group), across * across, 4)
        for row, scene in enumerate(group):
            for box, true_words in _facts(scene):
                x, y = (min(int(value * across), across - 1) for value in box.centre)
                said[row, y * across + x, [index[word] for word in true_words]] = 1
                boxes[row, y * across + x] = torch.tensor(box.xyxy)
        yield Patches(pictures["pixel_values"], said, boxes, said.any(-1))
