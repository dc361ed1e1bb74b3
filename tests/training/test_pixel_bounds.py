"""Pixel bounds: what the collator shows the model in training, serving shows it too, boxes included."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from training.tiny.families import SENTENCE, TINY, collator_of, model_of, processor_of, talk

from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError, RowError
from comvint_hf.image_geometry import has_dynamic_resolution
from comvint_hf.serving.local import LocalChat

FREE = [name for name in TINY if has_dynamic_resolution(processor_of(name))]
LEAST, MOST = 600, 800
TEXTS = (SENTENCE, "yes")


def test_families_of_free_resolution_are_known() -> None:
    assert set(FREE) == {"LLaVA-NeXT", "LLaVA-OneVision", "Idefics3", "SmolVLM", "Qwen2-VL", "Qwen2.5-VL", "Qwen3-VL", "InternVL"}


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("size", [(400, 100), (20, 15), (30, 25)])
def test_training_and_serving_show_the_same_image(name, size) -> None:
    image = Image.effect_noise(size, 60).convert("RGB")
    row = {"images": [image], "messages": talk(*TEXTS)}
    collator = collator_of(name, boxes="family", min_pixels=LEAST, max_pixels=MOST)
    trained = collator([row])
    bounds = Conventions(learn=collator.learn, box_dialect=collator.boxes, min_pixels=LEAST, max_pixels=MOST)
    chat = LocalChat(model_of(name), processor_of(name), bounds)
    asked = chat._encode_batch([chat._prepare(talk(TEXTS[0]), image)[:2]])
    length = asked["input_ids"].shape[1]
    assert torch.equal(asked["input_ids"], trained["input_ids"][:, :length])
    assert torch.equal(asked["pixel_values"], trained["pixel_values"])
    free = collator_of(name, boxes="family")([row])["pixel_values"]
    within = LEAST <= size[0] * size[1] <= MOST
    assert (free.shape == trained["pixel_values"].shape and torch.equal(free, trained["pixel_values"])) == within


def test_bounds_that_make_no_sense_are_refused() -> None:
    for bounds in ((0, -5), (900, 100)):
        with pytest.raises(InputError, match="min_pixels is .* expected numbers above 0, the smaller one first"):
            collator_of("Qwen2-VL", min_pixels=bounds[0], max_pixels=bounds[1])
    tensor = torch.zeros(3, 30, 40, dtype=torch.uint8)
    with pytest.raises(RowError, match="has a Tensor as an image: expected a PIL image, as pixel bounds are set"):
        collator_of("Qwen2-VL", max_pixels=MOST)([{"images": [tensor], "messages": talk("a", "b")}])
