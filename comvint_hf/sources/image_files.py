"""Find the image file of a scene in the usual folders, and never outside them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from comvint_hf.images import is_inside

MISSING = "photos not found"
ESCAPING = "file names refused because they leave the image folder"


class ImageFolders:
    """The folders that may hold a corpus's images: `extra` first (with the same subfolders), then under `root`.

    Folders are looked up once; finding an image costs one access to the disk for each folder that exists.
    """

    def __init__(self, root: Path, extra: Path | None, subfolders: Iterable[str], counts: Counter[str]) -> None:
        names = tuple(subfolders)
        folders = [folder for base in (extra, root) if base is not None for folder in (base, *(base / name for name in names))]
        self._folders = [str(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]
        self._counts = counts

    def find(self, *names: str) -> Path | None:
        """Return the first of these file names that exists; `None`, counted, if there is none or a name is refused."""
        for name in filter(None, names):
            if not is_inside(name):
                self._counts[ESCAPING] += 1
                return None
            for folder in self._folders:
                if os.path.isfile(path := f"{folder}/{name}"):
                    return Path(path)
        self._counts[MISSING] += 1
        return None
