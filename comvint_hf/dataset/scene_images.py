"""Take a scene's photo for a row: encoded bytes that are known to decode, or the reason why there are none.

This file knows scenes and pictures; it knows no row and no file of a dataset.
"""

from __future__ import annotations

import io

from comvint_hf.errors import InputError
from comvint_hf.types import Scene

ASPECT_SLACK = 0.02
"""How far the photo's width to height may differ from the annotation's; a rotated photo differs by far more."""
ORIENTATION = 0x0112
"""The EXIF tag that turns a photo; datasets turns it too, and from 5 on width and height change places."""
NO_PHOTO = "images without a photo"
ROTTEN = "photos that cannot be decoded"
ANOTHER_SHAPE = "photos of another shape than annotated"


def photo_bytes(scene: Scene) -> tuple[bytes | None, str | None]:
    """The photo as it is stored, or `None` and why: there is none, it does not decode, or its boxes could not fit it.

    A rendered picture is encoded and not checked. A file is decoded at an eighth of its size where its format allows,
    which finds a truncated one at a fraction of the price.
    """
    if scene.image is None:
        return None, NO_PHOTO
    try:
        data = scene.image_bytes()
        return (data, None) if callable(scene.image) else _checked(data, scene)
    except FileNotFoundError:
        return None, NO_PHOTO
    except (InputError, OSError):
        return None, ROTTEN


def _checked(data: bytes, scene: Scene) -> tuple[bytes | None, str | None]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            wide, high = picture.size
            if picture.getexif().get(ORIENTATION, 1) >= 5:
                wide, high = high, wide
            picture.draft("L", (max(wide // 8, 1), max(high // 8, 1)))
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None, ROTTEN
    fits = abs(wide * scene.height - high * scene.width) <= ASPECT_SLACK * wide * scene.height
    return (data, None) if fits else (None, ANOTHER_SHAPE)
