"""The picture of a scene as a model that sees is given it: a data URL, resized to a bound on its pixels.

This file knows scenes and pictures; it knows no endpoint.
"""

from __future__ import annotations

import base64
import hashlib
import io

from comvint_hf.errors import InputError, ReplyError
from comvint_hf.types import Scene

PIXELS = 1_048_576
"""Most pixels (width times height) of an attached picture unless told: what 1024 by 1024 has."""


def picture_hash(scene: Scene) -> bytes:
    """A hash of the picture as it is stored.

    Raises `ReplyError` for a scene without one and for a broken file: a photo that is not here costs its samples, which are
    published as rejected, and not the build.
    """
    if scene.image is None:
        raise ReplyError(f"no picture to see: give the folder of {scene.source}'s with --images, or leave --see out")
    return hashlib.blake2b(_stored(scene), digest_size=16).digest()


def data_url(scene: Scene, pixels: int = PIXELS) -> str:
    """The picture as a JPEG data URL of at most `pixels` pixels. Raises `ReplyError` for a broken file."""
    try:
        picture = scene.open()
    except InputError as error:
        raise ReplyError(str(error)) from error
    shrink = (pixels / (picture.width * picture.height)) ** 0.5
    if shrink < 1:
        picture = picture.resize((max(1, int(picture.width * shrink)), max(1, int(picture.height * shrink))))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _stored(scene: Scene) -> bytes:
    try:
        return scene.image_bytes()
    except (InputError, OSError) as error:
        raise ReplyError(f"{scene.id}: the picture cannot be read ({error}); replace the file or leave it out.") from error
