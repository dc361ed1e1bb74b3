"""Uploaded images: which files a session may name, and how they are decoded. Every other file of the server stays unread."""

import io
import os
import secrets
import stat
from abc import ABCMeta
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder
from PIL import Image, ImageOps

from comvint_hf.errors import ImageError
from comvint_hf.serving.demo.limits import Limits

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
NOT_AN_IMAGE = "This file is not a whole PNG, JPEG, WebP or GIF image. Choose another one."
NOT_UPLOADED = "This image was not uploaded here. Upload it again."
_MOST_UPLOADS = 10_000
# A large image takes hundreds of megabytes while it is decoded.
_DECODING = Lock()


class Uploads:
    """The uploads of an app: one upload may be used by one session, the first that names it."""

    def __init__(self) -> None:
        self._unclaimed: Counter[str] = Counter()
        self._owners: dict[str, set[str]] = {}

    def add(self, path: str) -> None:
        """Record an upload. Equal files of two visitors have one path, and may be claimed twice."""
        self._unclaimed[path] += 1
        self._owners.setdefault(path, set())
        if len(self._owners) > _MOST_UPLOADS:
            oldest = next(iter(self._owners))
            del self._owners[oldest], self._unclaimed[oldest]

    def __contains__(self, path: object) -> bool:
        return path in self._owners

    def claim(self, path: object, session: str | None) -> bool:
        """Claim an upload for a session; whether the session may use it. A call without a session claims for itself."""
        if not isinstance(path, str) or path not in self._owners:
            return False
        session = session or secrets.token_hex()
        if session not in self._owners[path]:
            if not self._unclaimed[path]:
                return False
            self._unclaimed[path] -= 1
            self._owners[path].add(session)
        return True


class _WithoutStub(type(gr.Image)):  # type: ignore[misc]  # the metaclass of every component
    """Gradio's metaclass without its stub file, which it would write next to this module."""

    def __new__(mcs, name: str, bases: tuple[type, ...], attributes: dict[str, Any]) -> Any:
        return ABCMeta.__new__(mcs, name, bases, attributes)


class UploadedImage(gr.Image, metaclass=_WithoutStub):
    """An image component that hands on the path of an upload, and refuses every other file and every URL.

    `gr.Image` opens any path that a request names: its data model lacks the check of uploads.
    """

    def get_block_name(self) -> str:
        return "image"

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> str | None:
        # Gradio calls this for the output, which is a file of its cache, and for a path or URL of a request.
        if not is_in_upload_folder(url_or_file_path):
            raise gr.Error(NOT_UPLOADED, print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

    def preprocess(self, payload: ImageData | None) -> str | None:  # type: ignore[override]
        if payload is None:
            return None
        if not is_in_upload_folder(payload.path):
            raise gr.Error(NOT_UPLOADED, print_exception=False)
        return payload.path


def make_upload_folder() -> None:
    """Make a folder for the uploads of this process, unless `GRADIO_TEMP_DIR` names one: Gradio's own is shared by all its apps."""
    import atexit
    import shutil
    import tempfile

    if not os.environ.get("GRADIO_TEMP_DIR"):
        folder = os.path.realpath(tempfile.mkdtemp(prefix="comvint-uploads-"))
        os.environ["GRADIO_TEMP_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def is_in_upload_folder(path: object) -> bool:
    """Whether a path is an absolute one of a regular file, not a link, in the upload folder."""
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        return False
    try:
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(get_upload_folder()))
        return inside and stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_upload(path: str, limits: Limits) -> Image.Image:
    """Decode an uploaded image: upright, in RGB, and no larger than a session keeps.

    Raises:
        ImageError: If it is not an image of the upload folder within the limits, in a sentence without its path.
    """
    encoded = _read_file(path, limits)
    try:
        with _DECODING, Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
            _check_header(opened, encoded, limits)
            side = (limits.image_side, limits.image_side)
            if opened.mode == "RGB":
                opened.thumbnail(side)  # decodes a JPEG at a fraction of its size
            image = ImageOps.exif_transpose(opened).convert("RGB")
            image.thumbnail(side)
            return image
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(_too_many_pixels(limits)) from error
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        raise ImageError(NOT_AN_IMAGE) from error


def _read_file(path: str, limits: Limits) -> bytes:
    if not is_in_upload_folder(path):
        raise ImageError(NOT_UPLOADED)
    try:
        # The file may have been replaced since the check: neither follow a link nor wait for a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ImageError(NOT_UPLOADED)
            encoded = file.read(limits.upload_bytes + 1)
    except OSError as error:
        raise ImageError(NOT_UPLOADED) from error
    if len(encoded) > limits.upload_bytes:
        raise ImageError(f"This file is larger than {limits.upload_bytes // 1024**2} MB. Choose a smaller one.")
    return encoded


def _check_header(opened: Image.Image, encoded: bytes, limits: Limits) -> None:
    """Raise `ImageError` for an image that would take long to decode, or loses its colours in 8 bits."""
    if opened.width * opened.height > limits.upload_pixels:
        raise ImageError(_too_many_pixels(limits))
    if opened.mode not in MODES:
        raise ImageError("This image has more than 8 bits a channel. Save it with 8 bits, as PNG or JPEG.")
    # A JPEG may have any number of passes, and Pillow walks through a GIF to count its frames: count their marks first.
    passes = encoded.count(b"\xff\xda") if opened.format in ("JPEG", "MPO") else 0
    descriptors = encoded.count(b"\0,") // 4 if opened.format == "GIF" else 0
    if max(passes, descriptors) > limits.upload_frames or getattr(opened, "n_frames", 1) > limits.upload_frames:
        raise ImageError(f"This image has more than {limits.upload_frames:,} frames. Choose a shorter one.")


def _too_many_pixels(limits: Limits) -> str:
    return f"This image has more than {limits.upload_pixels // 1_000_000} million pixels. Choose a smaller one."
