"""Find the image file of a scene in the usual folders, and never outside them."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from comvint_hf.images import is_inside

MISSING = "image files not found"
ESCAPING = "file names refused because they leave the image folder"
LINKED = "image files refused because links lead out of the named folders (name theirs with --images)"
NOT_REGULAR = "image files refused because they are no regular files"


class ImageFolders:
    """The folders that may hold a corpus's images: `extra` first (with the same subfolders), then under `root`.

    Folders are looked up once; finding an image costs one access to the disk for each folder that exists.
    """

    def __init__(self, root: Path, extra: Path | None, subfolders: Iterable[str], counts: Counter[str]) -> None:
        names = tuple(subfolders)
        folders = [folder for base in (extra, root) if base is not None for folder in (base, *(base / name for name in names))]
        self._folders = [str(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]
        # A folder that is named through a link is meant; a link within it may come with the corpus.
        self._allowed = tuple(f"{os.path.realpath(base).rstrip(os.sep)}{os.sep}" for base in (extra, root) if base is not None)
        self._counts = counts

    def find(self, *names: str) -> Path | None:
        """Return the first of these file names that exists; `None`, counted, if there is none or a name is refused."""
        for name in filter(None, names):
            if not is_inside(name):
                self._counts[ESCAPING] += 1
                return None
            for folder in self._folders:
                reason = self._check(path := f"{folder}/{name}")
                if reason == "":
                    return Path(path)
                if reason:
                    self._counts[reason] += 1
                    return None
        self._counts[MISSING] += 1
        return None

    def _check(self, path: str) -> str | None:
        """Return why an existing file is refused, "" for a good one; `None` where there is no file."""
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return None
        if stat.S_ISDIR(mode):
            return None
        if not os.path.realpath(path).startswith(self._allowed):
            return LINKED
        return "" if stat.S_ISREG(mode) else NOT_REGULAR
