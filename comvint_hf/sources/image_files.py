"""Find the photo of an image in the usual places, never outside them. This file opens photos only to learn their size."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

MISSING = "photos not found"
ESCAPING = "file names refused because they leave the image folder"
EXTENSIONS = (".jpg", ".jpeg", ".png")


class Photos:
    """The folders that may hold a corpus's photos: `extra` first (with the same subfolders), then under `root`.

    Folders are looked up once; finding a photo costs one look at the disk in each folder that exists.
    """

    def __init__(self, root: Path, extra: Path | None, folders: Iterable[str], counts: Counter[str]) -> None:
        subfolders = tuple(folders)
        places = [place for base in (extra, root) if base is not None for place in (base, *(base / name for name in subfolders))]
        self._folders = [str(place) for place in dict.fromkeys(places) if place.is_dir()]
        self._counts = counts

    def find(self, *names: str) -> Path | None:
        """The first of these file names that exists; `None`, counted, where there is none or where a name is refused."""
        for name in filter(None, names):
            if not stays_inside(name):
                self._counts[ESCAPING] += 1
                return None
            for folder in self._folders:
                if os.path.isfile(path := f"{folder}/{name}"):
                    return Path(path)
        self._counts[MISSING] += 1
        return None


def stays_inside(name: str) -> bool:
    """Whether a file name from an annotation points into its folder.

    >>> stays_inside("val2017/1.jpg"), stays_inside("../../etc/passwd"), stays_inside("/etc/passwd")
    (True, False, False)
    """
    return bool(name) and name[0] != "/" and ".." not in name.split("/") and not any(bad in name for bad in ("\\", "\0", ":"))


def photo_size(path: Path) -> tuple[int, int] | None:
    """Read (width, height) in pixels from a photo's header; `None` if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
