"""The frame that is read off a processor's settings, against the pixels that the processor really makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from comvint_hf.image_geometry import find_frame, is_tiled
from comvint_hf.types import Box

pytest.importorskip("transformers")
SIDES = st.integers(40, 160)
PINPOINTS = [[32, 64], [64, 32], [64, 64]]


def whole(output: Any) -> np.ndarray:
    return np.asarray(output["pixel_values"][0])


def first(output: Any) -> np.ndarray:
    return np.asarray(output["pixel_values"][0][0])


def last(output: Any) -> np.ndarray:
    return np.asarray(output["pixel_values"][0][-1])


def last_of_all(output: Any) -> np.ndarray:
    return np.asarray(output["pixel_values"][-1])


def patches(output: Any) -> np.ndarray:
    """A picture put together again from Qwen's patches of 4 x 4 in groups of 2 x 2."""
    _, down, across = (int(number) for number in output["image_grid_thw"][0])
    grid = np.asarray(output["pixel_values"]).reshape(down // 2, across // 2, 2, 2, 3, 2, 4, 4)[..., 0, :, :]
    return grid.transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, down * 4, across * 4)


def made(module: str, name: str, **options: Any) -> Any:
    from importlib import import_module

    kind = getattr(import_module(f"transformers.models.{module}.image_processing_pil_{module}"), name)
    return kind(do_normalize=False, **options)


SQUARE = {"height": 32, "width": 32}
CLIP = {"size": {"shortest_edge": 32}, "crop_size": SQUARE}
QWEN = {"size": {"shortest_edge": 40 * 40, "longest_edge": 64 * 64}, "patch_size": 4}
SPLIT = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
PROCESSORS: dict[str, tuple[Callable[[], Any], Callable[[Any], np.ndarray]]] = {
    "stretched": (lambda: made("siglip", "SiglipImageProcessorPil", size=SQUARE), whole),
    "as it is": (lambda: made("siglip", "SiglipImageProcessorPil", do_resize=False), whole),
    "cropped": (lambda: made("clip", "CLIPImageProcessorPil", **CLIP), whole),
    "cropped beyond its border": (
        lambda: made("clip", "CLIPImageProcessorPil", size={"shortest_edge": 24}, crop_size={"height": 32, "width": 30}),
        whole,
    ),
    "padded to a square": (lambda: made("llava", "LlavaImageProcessorPil", do_pad=True, **CLIP), whole),
    "LLaVA's crop": (lambda: made("llava", "LlavaImageProcessorPil", do_pad=False, **CLIP), whole),
    "within pixels": (lambda: made("qwen2_vl", "Qwen2VLImageProcessorPil", **QWEN), patches),
    "Gemma's": (lambda: made("gemma3", "Gemma3ImageProcessorPil", size=SQUARE), whole),
    "tiles and a small whole first": (
        lambda: made("llava_next", "LlavaNextImageProcessorPil", image_grid_pinpoints=PINPOINTS, **CLIP),
        first,
    ),
    "OneVision's tiles": (
        lambda: made("llava_onevision", "LlavaOnevisionImageProcessorPil", image_grid_pinpoints=PINPOINTS, size=SQUARE),
        first,
    ),
    "tiles and a small whole last": (lambda: made("idefics3", "Idefics3ImageProcessorPil", **SPLIT), last),
    "SmolVLM's tiles": (lambda: made("smolvlm", "SmolVLMImageProcessorPil", **SPLIT), last),
    "InternVL's tiles": (
        lambda: made("got_ocr2", "GotOcr2ImageProcessorPil", size=SQUARE, crop_to_patches=True, max_patches=4),
        last_of_all,
    ),
}


def found(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """Where the bright rectangle lies, in fractions of the pixels' frame, borders between pixels judged by brightness."""
    blue = pixels[2] - pixels[0]
    down, across = blue.max(axis=1), blue.max(axis=0)

    def edges(line: np.ndarray) -> tuple[float, float]:
        bright = np.flatnonzero(line > line.max() / 2)
        return bright[0] / len(line), (bright[-1] + 1) / len(line)

    (top, bottom), (left, right) = edges(down), edges(across)
    return left, top, right, bottom


@pytest.mark.parametrize("name", PROCESSORS)
@settings(max_examples=25, deadline=None)
@given(width=SIDES, height=SIDES, data=st.data())
def test_a_rectangle_is_where_the_frame_says(name: str, width: int, height: int, data: Any) -> None:
    build, take = PROCESSORS[name]
    processor = build()
    left, top = data.draw(st.integers(0, width - 12)), data.draw(st.integers(0, height - 12))
    right, bottom = data.draw(st.integers(left + 12, width)), data.draw(st.integers(top + 12, height))
    picture = Image.new("RGB", (width, height))
    picture.paste((0, 0, 255), (left, top, right, bottom))
    box = Box(x1=left / width, y1=top / height, x2=right / width, y2=bottom / height)
    frame = find_frame(processor, (width, height))
    shown = frame.from_image(box)
    pixels = take(processor([picture], return_tensors="np"))
    if frame.size:
        assert pixels.shape[1:] == frame.size[::-1]
    across, down = pixels.shape[2], pixels.shape[1]
    if shown is None or (shown.x2 - shown.x1) * across < 3 or (shown.y2 - shown.y1) * down < 3:
        return  # nearly or wholly cropped away: too little is left to be found
    seen = found(pixels)
    for place, wanted, pixel in zip(seen, shown.xyxy, (across, down, across, down), strict=True):
        assert abs(place - wanted) * pixel <= 1.01, (seen, shown.xyxy)


@given(st.integers(30, 3000), st.integers(30, 3000))
@settings(max_examples=60, deadline=None)
def test_pixel_limits_give_the_processors_own_number_of_patches(width: int, height: int) -> None:
    processor = made("qwen2_vl", "Qwen2VLImageProcessorPil")
    wide, high = find_frame(processor, (width, height)).size
    assert (wide // 14) * (high // 14) == processor.get_number_of_image_patches(height, width)


def test_what_tiles() -> None:
    clip, padded, split = (PROCESSORS[name][0]() for name in ("cropped", "padded to a square", "tiles and a small whole last"))
    assert [is_tiled(clip), is_tiled(padded), is_tiled(split)] == [False, False, True]
