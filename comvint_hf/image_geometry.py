"""The part of an image that a processor shows to its model, and its size in pixels, by the image processor's settings.

The settings that transformers' image processors share (`do_pad`, `size`, `do_center_crop`, ...) decide, not model names; tests
compare each with what the processor does. No image is opened and no heavy library is imported here.
"""

from __future__ import annotations

import math
from typing import Any

from comvint_hf.box_formats import Frame

_TILING = ("do_image_splitting", "crop_to_patches", "image_grid_pinpoints", "do_pan_and_scan")
"""Settings under which the model gets a small copy of the image and tiles of it; boxes then count in the whole image."""


def find_frame(processor: Any, size: tuple[int, int]) -> Frame:
    """Compute the frame in which a model sees an image of `size` (width, height) pixels."""
    image_processor = getattr(processor, "image_processor", processor)
    width, height = size
    if is_tiled(processor):
        return Frame()  # the model also sees the whole image, and boxes count in it
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if getattr(image_processor, "do_pad", False) and hasattr(image_processor, "pad_to_square"):
        side = max(size)
        left, top = -((side - width) // 2), -((side - height) // 2)
        right, bottom = left + side, top + side
    wide, high = compute_resize(image_processor, (round(right - left), round(bottom - top)))
    if getattr(image_processor, "do_center_crop", False):
        across, down = (right - left) / wide, (bottom - top) / high
        crop = _read_size(image_processor.crop_size)
        cut_left, cut_top = (wide - crop["width"]) // 2, (high - crop["height"]) // 2
        left, top = left + cut_left * across, top + cut_top * down
        right, bottom = left + crop["width"] * across, top + crop["height"] * down
        wide, high = crop["width"], crop["height"]
    return Frame((left / width, top / height, right / width, bottom / height), (wide, high))


def is_tiled(processor: Any) -> bool:
    """Whether images are cut into tiles, by the image processor's settings or those that the processor always passes to it."""
    image_processor = getattr(processor, "image_processor", processor)
    passed = getattr(processor, "images_kwargs", None) or {}
    return any(passed.get(setting) or getattr(image_processor, setting, False) for setting in _TILING)


def has_dynamic_resolution(processor: Any) -> bool:
    """Whether a larger image takes more of the model's input tokens."""
    return is_tiled(processor) or has_pixel_bounds(getattr(processor, "image_processor", processor))


def has_pixel_bounds(image_processor: Any) -> bool:
    """Whether an image processor's size bounds the number of pixels (Qwen-VL), not the sides."""
    return bool(getattr(image_processor, "merge_size", None))


def compute_resize(image_processor: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Compute the (width, height) after the resize of an image processor, before any crop."""
    width, height = size
    if not getattr(image_processor, "do_resize", True):
        return size
    target = _read_size(image_processor.size)
    if has_pixel_bounds(image_processor):
        return _fit_pixels(
            size, image_processor.patch_size * image_processor.merge_size, target["shortest_edge"], target["longest_edge"]
        )
    if "shortest_edge" in target:
        shortest = target["shortest_edge"]
        if width <= height:
            return shortest, int(shortest * height / width)
        return int(shortest * width / height), shortest
    if "height" in target:
        return target["width"], target["height"]
    longest = target["longest_edge"]
    return (longest, int(longest * height / width)) if width >= height else (int(longest * width / height), longest)


def _fit_pixels(size: tuple[int, int], factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Sides that are multiples of `factor`, of about the same shape, their product within the bounds."""
    width, height = (round(side / factor) * factor for side in size)
    if width * height > max_pixels:
        shrink = math.sqrt(size[0] * size[1] / max_pixels)
        width, height = (max(factor, math.floor(side / shrink / factor) * factor) for side in size)
    elif width * height < min_pixels:
        grow = math.sqrt(min_pixels / (size[0] * size[1]))
        width, height = (math.ceil(side * grow / factor) * factor for side in size)
    return width, height


def _read_size(size: Any) -> dict[str, int]:
    """An image processor's size as a dict, from a dict or an object (versions differ)."""
    names = ("height", "width", "shortest_edge", "longest_edge")
    if isinstance(size, dict):
        return {name: size[name] for name in names if size.get(name)}
    return {name: getattr(size, name) for name in names if getattr(size, name, None)}
