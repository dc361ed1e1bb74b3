"""Decode, check, resize and encode images: the one module through which the package reads pixels."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from comvint_hf.errors import ImageError, InputError, RowError
from comvint_hf.strict_reader import read_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from comvint_hf.types import Scene

ImageLike: TypeAlias = "Image | bytes | str | Path | Mapping[str, Any]"
"""A PIL image, an encoded image, the path of a file, or an undecoded image of datasets: {"bytes": ..., "path": ...}."""
ASPECT_SLACK = 0.02
"""How far the image's width to height may differ from the annotation's; a rotated image differs by far more."""
ORIENTATION = 0x0112
"""The EXIF tag that turns an image; datasets turns it too, and from 5 on width and height change places."""
MISSING = "images without a file"
OUTSIDE = "rows left out: their image is a file outside the dataset"
UNDECODABLE = "image files that cannot be decoded"
ANOTHER_SHAPE = "image files of another shape than annotated"


def decode_image(image: ImageLike, name: str | None = None, *, upright: bool = False) -> Image:
    """Decode a whole image to RGB, so that a broken file raises here and not later.

    Args:
        image: The image.
        name: How the error calls it, by default "The image" and its path.
        upright: Turn the image as its EXIF orientation says.

    Raises:
        ImageError: If the file cannot be decoded, or `image` is not an image.
    """
    from PIL import Image, ImageOps

    opened: Any = image
    name = name or f"The image {image if isinstance(image, str | Path) else ''}".strip()
    try:
        if isinstance(opened, Mapping):
            opened = opened["path"] if opened.get("bytes") is None else opened["bytes"]
        if isinstance(opened, bytes):
            opened = io.BytesIO(opened)
        if isinstance(opened, str | Path | io.BytesIO):
            opened = Image.open(opened)
        if upright:
            opened = ImageOps.exif_transpose(opened)
        if opened.mode != "RGB":
            return opened.convert("RGB")
        opened.load()
        return opened
    except (OSError, SyntaxError, KeyError, TypeError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} cannot be decoded ({error}): expected a whole image file, such as PNG or JPEG.") from error
    except AttributeError as error:
        raise ImageError(
            f"{name} is of type {type(opened).__name__}: expected a PIL image, its bytes or the path of a file."
        ) from error


def read_encoded(image: bytes | str | Path | Callable[[], Image]) -> bytes:
    """Return the encoded file as it is stored; an image that a function renders becomes PNG. Raises `OSError`."""
    if isinstance(image, bytes):
        return image
    return Path(image).read_bytes() if isinstance(image, str | Path) else encode_image(image(), "PNG")


def read_row_image(image: Mapping[str, Any], folder: Path | None, where: str) -> bytes:
    """Return the bytes of a row's undecoded image, which are in the row or in a file of the dataset's own `folder`.

    Rows of others may name any file of this machine, so no other file is read, also not through links.

    Raises:
        RowError: With the reason `OUTSIDE` for a file elsewhere, and with another for a missing file and for one that is no image.
    """
    if image.get("bytes") is not None:
        return image["bytes"]
    name = str(image.get("path") or "")
    path = None if folder is None else resolve_inside(folder, name)
    if path is None:
        raise RowError(f"{where} names the image file {name!r}, which is not in the dataset's own folder.", OUTSIDE)
    try:
        encoded = read_file(path)
    except InputError as error:
        raise RowError(f"{where}: its image {name!r} cannot be read: expected an image file in {folder}.") from error
    if read_size(encoded) is None:
        raise RowError(f"{where}: its image cannot be read; replace the file or leave the record out.")
    return encoded


def resolve_inside(folder: Path | str, name: str) -> Path | None:
    """Follow all links of a file's name below a folder; `None` if it leads out of the folder or is no name."""
    try:
        path = Path(folder, name).resolve()
        return path if name and "://" not in name and path.is_relative_to(Path(folder).resolve()) else None
    except (OSError, ValueError, RuntimeError):  # a loop of links, a null byte
        return None


def read_size(image: bytes | Path) -> tuple[int, int] | None:
    """Read (width, height) in pixels from a file's header; `None` if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            return opened.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read_checked(scene: Scene) -> tuple[bytes | None, str | None]:
    """Return a scene's encoded image, or `None` and the reason: missing, not decodable, or of another shape than its boxes.

    A rendered image is not checked. A file is decoded at an eighth of its size where its format allows, which finds a truncated
    file in a fraction of the time.
    """
    if scene.image is None:
        return None, MISSING
    try:
        encoded = scene.image_bytes()
    except FileNotFoundError:
        return None, MISSING
    except (ImageError, OSError):
        return None, UNDECODABLE
    problem = None if callable(scene.image) else _find_problem(encoded, scene.width, scene.height)
    return (encoded, None) if problem is None else (None, problem)


def _find_problem(encoded: bytes, width: int, height: int) -> str | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            wide, high = opened.size
            if opened.getexif().get(ORIENTATION, 1) >= 5:
                wide, high = high, wide
            opened.draft("L", (max(wide // 8, 1), max(high // 8, 1)))  # JPEG decodes at an eighth; other formats ignore it
            opened.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return UNDECODABLE
    return None if abs(wide * height - high * width) <= ASPECT_SLACK * wide * height else ANOTHER_SHAPE


def fit_pixels(image: Image, min_pixels: int | None = None, max_pixels: int | None = None) -> Image:
    """Resize an image so that width x height lies within the bounds, its shape kept; unchanged if it does."""
    pixels = image.width * image.height
    wanted = max(min(pixels, max_pixels or pixels), min_pixels or 0)
    if wanted == pixels:
        return image
    scale = math.sqrt(wanted / pixels)
    # Rounding down keeps the upper bound, rounding up the lower one.
    side = math.floor if scale < 1 else math.ceil
    return image.resize((max(1, side(image.width * scale)), max(1, side(image.height * scale))))


def encode_image(image: Image, format: str, **settings: Any) -> bytes:
    """Encode an image as `format` ("PNG", "JPEG"), with the settings of PIL's `save`."""
    buffer = io.BytesIO()
    image.save(buffer, format=format, **settings)
    return buffer.getvalue()


def to_data_url(image: Image, format: str = "JPEG", **settings: Any) -> str:
    """Encode an image as a `data:` URL, for a chat request or an HTML page."""
    return f"data:image/{format.lower()};base64,{base64.b64encode(encode_image(image, format, **settings)).decode()}"


def hash_image(encoded: bytes) -> bytes:
    """Hash an encoded image; 16 bytes, which reply caches store in their keys."""
    return hashlib.blake2b(encoded, digest_size=16).digest()


def is_inside(name: str) -> bool:
    """Whether a file name from an annotation file points into its folder.

    >>> is_inside("val2017/1.jpg"), is_inside("../../etc/passwd"), is_inside("/etc/passwd")
    (True, False, False)
    """
    return bool(name) and name[0] != "/" and ".." not in name.split("/") and not any(bad in name for bad in ("\\", "\0", ":"))
