"""Decode, check, resize and encode images: the one module through which the package reads pixels."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from comvint_hf.errors import ImageError, InputError, RowError
from comvint_hf.image_paths import is_inside as is_inside  # noqa: PLC0414  (the old import path)
from comvint_hf.image_paths import resolve_inside as resolve_inside  # noqa: PLC0414
from comvint_hf.read_counts import ReadCounts, as_counts
from comvint_hf.strict_reader import LIMITS, open_regular, read_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from comvint_hf.types import Box, Scene

ImageLike: TypeAlias = "Image | bytes | str | Path | Mapping[str, Any]"
"""A PIL image, an encoded image, the path of a file, or an undecoded image of datasets: {"bytes": ..., "path": ...}."""
ASPECT_SLACK = 0.02
"""How far the image's width to height may differ from the annotation's; a rotated image differs by far more."""
ORIENTATION = 0x0112
"""The EXIF tag that turns an image; datasets turns it too, and from 5 on width and height change places."""
MISSING = "images without a file"
NOT_READABLE = "rows left out: their image cannot be read"
OUTSIDE = "rows left out: their image is a file outside the dataset"
TURNED = "images turned upright, as their EXIF tag says"
DEEP = "images of 16 bits scaled to 8"
TRANSPARENT = "transparent images put on white"
PRINT_COLOURS = "images in CMYK read as RGB"
FIRST_FRAME = "animated images of which the first frame is taken"
NOTES = frozenset({TURNED, DEEP, TRANSPARENT, PRINT_COLOURS, FIRST_FRAME})
"""What is done to images, as `decode_image` and `prepare_image` count it."""
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is opened; other formats of Pillow run programs of their own or are no photos."""
UNDECODABLE = "image files that cannot be decoded"
ANOTHER_SHAPE = "image files of another shape than annotated"


def decode_image(image: ImageLike, name: str | None = None, *, counts: Counter[str] | None = None) -> Image:
    """Decode a whole image to upright 8-bit RGB, so that a broken file raises here and not later.

    An image is turned as its EXIF tag says, as datasets and annotation tools do; 16 bits are scaled to 8, what is transparent becomes
    white, and of an animation the first frame is taken.

    Args:
        image: The image. A file is read only if it is a regular one.
        name: How the error calls it, by default "The image" and its path.
        counts: Counts what was done to the image.

    Raises:
        ImageError: If the file cannot be decoded, is none of `FORMATS` or beyond `LIMITS`, or `image` is not an image.
    """
    opened: Any = image
    name = name or f"The image {image if isinstance(image, str | Path) else ''}".strip()
    try:
        if isinstance(opened, Mapping):
            opened = opened["path"] if opened.get("bytes") is None else opened["bytes"]
        if isinstance(opened, str | Path):
            os.stat(opened)  # its error names a file that is not there
            opened = read_file(opened, what="the file", max_bytes=LIMITS.image_bytes)
        if isinstance(opened, bytes | bytearray | memoryview):
            opened = _open_checked(bytes(opened))
        if not hasattr(opened, "getexif"):
            raise ImageError(f"{name} is of type {type(opened).__name__}: expected a PIL image, its bytes or the path of a file.")
        return _to_rgb(opened, ReadCounts() if counts is None else as_counts(counts), name)
    except ImageError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise ImageError(
            f"{name} cannot be decoded ({str(error).rstrip('.')}): expected a whole image file, such as PNG or JPEG."
        ) from error


def _open_checked(encoded: bytes) -> Image:
    """Open an encoded image by its header. Raises `ValueError` for one that would take long, or much memory, to decode."""
    from PIL import Image, UnidentifiedImageError

    if len(encoded) > LIMITS.image_bytes:
        raise ValueError(f"it has more than {LIMITS.image_bytes:,} bytes")
    try:
        opened = Image.open(io.BytesIO(encoded), formats=_formats())
    except UnidentifiedImageError as error:
        raise ValueError("it is no image of a format that is read") from error
    _check_pixels(opened.size)
    # A JPEG may have any number of passes, each as slow as the whole image.
    if opened.format in ("JPEG", "MPO") and encoded.count(b"\xff\xda") > LIMITS.image_passes:
        raise ValueError(f"it has more than {LIMITS.image_passes:,} passes")
    return opened


@cache
def _formats() -> tuple[str, ...]:
    """The `FORMATS` that this Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_pixels(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > LIMITS.image_pixels or max(size) > LIMITS.image_side or min(size) < 1:
        raise ValueError(f"it has {width:,} x {height:,} pixels, and at most {LIMITS.image_pixels:,} are decoded")


def _to_rgb(opened: Image, counts: ReadCounts, name: str) -> Image:
    """Decode an opened image to upright 8-bit RGB; an RGB image that needs nothing is returned itself."""
    from PIL import ImageOps

    _check_pixels(opened.size)
    if opened.format in ("GIF", "WEBP", "PNG") and getattr(opened, "is_animated", False):
        counts.note(FIRST_FRAME, name)
    opened.load()
    if _is_turned(opened):
        counts.note(TURNED, name)
        opened = ImageOps.exif_transpose(opened)
    if opened.mode.startswith(("I", "F")):
        counts.note(DEEP, name)
        return _to_8_bits(opened).convert("RGB")
    if opened.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in opened.info:
        return _on_white(opened.convert("RGBA"), counts, name)
    if opened.mode == "CMYK":
        counts.note(PRINT_COLOURS, name)
    return opened if opened.mode == "RGB" else opened.convert("RGB")


def _is_turned(opened: Image) -> bool:
    try:
        return opened.getexif().get(ORIENTATION, 1) in range(2, 9)
    except Exception:  # noqa: BLE001  (a broken tag turns nothing)
        return False


def _to_8_bits(image: Image) -> Image:
    """Scale 16 bits to 8. Raises `ValueError` for values whose range is not known."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    extrema: Any = image.getextrema()
    low, high = extrema
    if image.mode == "F" and 0 <= low <= high <= 1:
        return image.point(lambda value: value * 255.0).convert("L")
    if 0 <= low <= high <= 255:
        return image.convert("L")
    if image.mode == "I" and 0 <= low <= high <= 65535:
        return image.point(lambda value: value * (1 / 257)).convert("L")
    raise ValueError(f"its values reach from {low} to {high}, and no range of them is known")


def _on_white(image: Image, counts: ReadCounts, name: str) -> Image:
    from PIL import Image

    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    counts.note(TRANSPARENT, name)
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def read_encoded(image: bytes | str | Path | Callable[[], Image]) -> bytes:
    """Return the encoded file as it is stored; an image that a function renders becomes PNG.

    Raises:
        OSError: For a file that is not there.
        ImageError: For one that is no regular file or too large.
    """
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str | Path):
        return encode_image(image(), "PNG")
    os.stat(image)
    try:
        return read_file(image, max_bytes=LIMITS.image_bytes)
    except InputError as error:
        raise ImageError(str(error)) from error


def read_row_image(image: Mapping[str, Any], folder: Path | None, where: str) -> bytes:
    """Return the bytes of a row's undecoded image, which are in the row or in a file of the dataset's own `folder`.

    Rows of others may name any file of this machine, so no other file is read, also not through links.

    Raises:
        RowError: With the reason `OUTSIDE` for a file elsewhere, and with another for a missing file and for one that is no image.
    """
    if (encoded := image.get("bytes")) is not None:
        if read_size(encoded) is None:
            raise RowError(f"{where}: its image cannot be read; replace it or leave the row out.", NOT_READABLE)
        return encoded
    name = str(image.get("path") or "")
    path = None if folder is None else resolve_inside(folder, name)
    if path is None:
        raise RowError(f"{where} names the image file {name!r}, which is not in the dataset's own folder.", OUTSIDE)
    try:
        encoded = read_file(path, max_bytes=LIMITS.image_bytes)
    except InputError as error:
        raise RowError(
            f"{where}: its image {name!r} cannot be read: expected an image file in {folder}.", NOT_READABLE
        ) from error
    if read_size(encoded) is None:
        raise RowError(f"{where}: its image cannot be read; replace the file or leave the record out.", NOT_READABLE)
    return encoded


def read_size(image: bytes | Path) -> tuple[int, int] | None:
    """Read (width, height) in pixels, as the image is shown, from a file's header; `None` if it cannot be read."""
    try:
        if isinstance(image, bytes):
            return _shown_size(_open_checked(image))
        from PIL import Image

        with open_regular(image, what=str(image)) as file, Image.open(file, formats=_formats()) as opened:
            _check_pixels(opened.size)
            return _shown_size(opened)
    except Exception:  # noqa: BLE001  (Pillow's readers raise whatever a broken file leads them to)
        return None


def _shown_size(opened: Image) -> tuple[int, int]:
    width, height = opened.size
    try:
        across = opened.getexif().get(ORIENTATION, 1) in range(5, 9)
    except Exception:  # noqa: BLE001  (a broken tag turns nothing)
        across = False
    return (height, width) if across else (width, height)


def read_checked(scene: Scene, counts: Counter[str] | None = None) -> tuple[bytes | None, str | None]:
    """Return a scene's image as it is stored (see `prepare_image`), or `None` and the reason: missing, not decodable, or of another
    shape than its boxes. A rendered image is not checked.
    """
    if scene.image is None:
        return None, MISSING
    try:
        encoded = scene.image_bytes()
    except FileNotFoundError:
        return None, MISSING
    except (ImageError, OSError):
        return None, UNDECODABLE
    if callable(scene.image):
        return encoded, None
    try:
        stored, (wide, high) = prepare_image(encoded, scene.id, counts)
    except ImageError:
        return None, UNDECODABLE
    same_shape = abs(wide * scene.height - high * scene.width) <= ASPECT_SLACK * wide * scene.height
    return (stored, None) if same_shape else (None, ANOTHER_SHAPE)


def prepare_image(encoded: bytes, name: str, counts: Counter[str] | None = None) -> tuple[bytes, tuple[int, int]]:
    """Check a whole encoded image; return what is stored of it, and (width, height) as it is shown.

    A JPEG is decoded at an eighth of its size, which finds a truncated file in a fraction of the time. An image that other readers would
    show otherwise (16 bits, transparency) becomes the PNG of what `decode_image` shows; `counts` counts it.

    Raises:
        ImageError: If the image cannot be decoded.
    """
    try:
        with _open_checked(encoded) as opened:
            wide, high = _shown_size(opened)
            is_plain = opened.mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr") and "transparency" not in opened.info
            if is_plain:
                opened.draft("L", (max(wide // 8, 1), max(high // 8, 1)))  # other formats than JPEG ignore it
                opened.load()
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise ImageError(
            f"The image of {name} cannot be decoded ({error}): expected a whole image file, such as PNG or JPEG."
        ) from error
    return (encoded if is_plain else encode_image(decode_image(encoded, name, counts=counts), "PNG")), (wide, high)


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


def outline_boxes(encoded: bytes, boxes: Iterable[Box]) -> bytes:
    """Draw the outlines of boxes (fractions of the image) in red on an encoded image; a JPEG stays one, all else becomes PNG."""
    from PIL import ImageDraw

    image = decode_image(encoded).copy()
    pen, width = ImageDraw.Draw(image), max(2, max(image.size) // 200)
    for box in boxes:
        left, top, right, bottom = box.xyxy
        corners = (left * image.width, top * image.height, right * image.width - 1, bottom * image.height - 1)
        pen.rectangle((*corners[:2], max(corners[0], corners[2]), max(corners[1], corners[3])), outline=(255, 0, 0), width=width)
    is_jpeg = encoded[:2] == b"\xff\xd8"
    return encode_image(image, "JPEG", quality=95) if is_jpeg else encode_image(image, "PNG")


def to_data_url(image: Image, format: str = "JPEG", **settings: Any) -> str:
    """Encode an image as a `data:` URL, for a chat request or an HTML page."""
    return f"data:image/{format.lower()};base64,{base64.b64encode(encode_image(image, format, **settings)).decode()}"


def hash_image(encoded: bytes) -> bytes:
    """Hash an encoded image; 16 bytes, which reply caches store in their keys."""
    return hashlib.blake2b(encoded, digest_size=16).digest()
