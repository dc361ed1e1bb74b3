"""Which part of a picture a processor shows to its model, and at how many pixels: read off the image processor's settings.

The steps are told apart by the settings that transformers' image processors share (`do_pad`, `size`, `do_center_crop`, ...), not by
model names; the tests hold each to what the processor really does. No picture is opened and no heavy library imported here.
"""

from __future__ import annotations

import math
from typing import Any

from comvint_hf.box_formats import Frame

_TILES = ("do_image_splitting", "crop_to_patches", "image_grid_pinpoints", "do_pan_and_scan")
"""Settings under which a picture goes to the model as a small whole and as tiles: boxes then count in the whole."""


def frame_of(processor: Any, size: tuple[int, int]) -> Frame:
    """The frame in which a model behind `processor` sees a picture of `size` (width, height) pixels."""
    looks = getattr(processor, "image_processor", processor)
    width, height = size
    if is_tiled(processor):
        return Frame()
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if getattr(looks, "do_pad", False) and hasattr(looks, "pad_to_square"):
        side = max(size)
        left, top = -((side - width) // 2), -((side - height) // 2)
        right, bottom = left + side, top + side
    wide, high = resized(looks, (round(right - left), round(bottom - top)))
    if getattr(looks, "do_center_crop", False):
        across, down = (right - left) / wide, (bottom - top) / high
        crop = _sides(looks.crop_size)
        cut_left, cut_top = (wide - crop["width"]) // 2, (high - crop["height"]) // 2
        left, top = left + cut_left * across, top + cut_top * down
        right, bottom = left + crop["width"] * across, top + crop["height"] * down
        wide, high = crop["width"], crop["height"]
    return Frame((left / width, top / height, right / width, bottom / height), (wide, high))


def is_tiled(processor: Any) -> bool:
    """Whether pictures are cut into tiles. What a processor always asks of its image processor counts too."""
    looks = getattr(processor, "image_processor", processor)
    asked = getattr(processor, "images_kwargs", None) or {}
    return any(asked.get(setting) or getattr(looks, setting, False) for setting in _TILES)


def keeps_resolution(processor: Any) -> bool:
    """Whether a larger picture becomes more of the model's input, not just a sharper picture of the same size."""
    return is_tiled(processor) or within_pixels(getattr(processor, "image_processor", processor))


def within_pixels(looks: Any) -> bool:
    """Whether an image processor's size bounds the number of pixels (Qwen-VL), not the sides."""
    return bool(getattr(looks, "merge_size", None))


def resized(looks: Any, size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) after the resize of an image processor, before any crop."""
    width, height = size
    if not getattr(looks, "do_resize", True):
        return size
    wanted = _sides(looks.size)
    if within_pixels(looks):
        return _within_pixels(size, looks.patch_size * looks.merge_size, wanted["shortest_edge"], wanted["longest_edge"])
    if "shortest_edge" in wanted:
        shortest = wanted["shortest_edge"]
        if width <= height:
            return shortest, int(shortest * height / width)
        return int(shortest * width / height), shortest
    if "height" in wanted:
        return wanted["width"], wanted["height"]
    longest = wanted["longest_edge"]
    return (longest, int(longest * height / width)) if width >= height else (int(longest * width / height), longest)


def _within_pixels(size: tuple[int, int], factor: int, least: int, most: int) -> tuple[int, int]:
    """Sides that are multiples of `factor`, of about the same shape, their product between `least` and `most`."""
    width, height = (round(side / factor) * factor for side in size)
    if width * height > most:
        shrink = math.sqrt(size[0] * size[1] / most)
        width, height = (max(factor, math.floor(side / shrink / factor) * factor) for side in size)
    elif width * height < least:
        grow = math.sqrt(least / (size[0] * size[1]))
        width, height = (math.ceil(side * grow / factor) * factor for side in size)
    return width, height


def _sides(size: Any) -> dict[str, int]:
    """An image processor's size as a dict, whichever way its version keeps it."""
    names = ("height", "width", "shortest_edge", "longest_edge")
    if isinstance(size, dict):
        return {name: size[name] for name in names if size.get(name)}
    return {name: getattr(size, name) for name in names if getattr(size, name, None)}
