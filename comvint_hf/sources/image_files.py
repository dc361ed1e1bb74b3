"""Find the image file of a scene in the usual folders, and never outside them.

Annotations name files as their machine did: with backslashes, absolute, behind a URL or an upload's prefix. Such a name is looked for by
its last parts, within the named folders only, and not where two names of the corpus would lead to one file.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from comvint_hf.image_paths import named_roots, split_name
from comvint_hf.read_counts import as_counts

MISSING = "image files not found"
ESCAPING = "file names refused because they leave the image folder"
LINKED = "image files refused because links lead out of the named folders (name theirs with --images)"
NOT_REGULAR = "image files refused because they are no regular files"
RENAMED = "image files found by the last parts of their names"
MOST_PARTS = 6
REFUSED = Path()
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")


def _other_names(name: str) -> list[str]:
    """The names under which a file may lie here if it does not lie under its own: its last parts, without an upload's prefix."""
    parts, inside = split_name(name)
    last = parts[-MOST_PARTS:]
    found = [] if inside else ["/".join(last[start:]) for start in range(len(last))]
    if parts and (prefix := _UPLOAD_PREFIX.match(parts[-1])):
        found.append(parts[-1][prefix.end() :])
    return found


class ImageFolders:
    """The folders that may hold a corpus's images: `extra` first (with the same subfolders), then under `root`.

    Folders are looked up once; finding an image costs one access to the disk for each folder that exists.
    """

    def __init__(
        self, root: Path, extra: Path | None, subfolders: Iterable[str], counts: Counter[str], ambiguous: Iterable[str] = ()
    ) -> None:
        names = tuple(subfolders)
        folders = [folder for base in (extra, root) if base is not None for folder in (base, *(base / name for name in names))]
        self._folders = [str(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]
        # A folder that is named through a link is meant; a link within it may come with the corpus.
        roots = (folder for base in (extra, root) if base is not None for folder in named_roots(base))
        self._allowed = tuple(f"{str(folder).rstrip(os.sep)}{os.sep}" for folder in roots)
        self._counts = as_counts(counts)
        self._ambiguous = frozenset(ambiguous)

    def find(self, *names: str) -> Path | None:
        """Return the first of these file names that exists; `None`, counted, if there is none or a name is refused."""
        for name in filter(None, names):
            parts, inside = split_name(name)
            if inside and parts and (found := self._look("/".join(parts))) is not None:
                return None if found is REFUSED else found
            for other in _other_names(name):
                if other not in self._ambiguous and (found := self._look(other)) is not None:
                    if found is not REFUSED:
                        self._counts.note(RENAMED, f"{name} as {other}")
                    return None if found is REFUSED else found
            if not parts or (not inside and ".." in re.split(r"[/\\]", name)):
                self._counts.skip(ESCAPING, name)
                return None
        self._counts.skip(MISSING, next(filter(None, names), ""))
        return None

    def _look(self, name: str) -> Path | None:
        """The file of a name within the folders; `REFUSED`, counted, for one that is refused, and `None` where there is none."""
        for folder in self._folders:
            reason = self._check(path := f"{folder}/{name}")
            if reason == "":
                return Path(path)
            if reason:
                self._counts.skip(reason, name)
                return REFUSED
        return None

    def _check(self, path: str) -> str | None:
        """Return why an existing file is refused, "" for a good one; `None` where there is no file."""
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            return None
        if stat.S_ISDIR(mode):
            return None
        if not os.path.realpath(path).startswith(self._allowed):
            return LINKED
        return "" if stat.S_ISREG(mode) else NOT_REGULAR


def find_ambiguous_names(names: Iterable[str]) -> set[str]:
    """The names to which several of a corpus's file names would lead (see the module)."""
    others = Counter(other for name in dict.fromkeys(names) for other in set(_other_names(name)))
    return {name for name, count in others.items() if count > 1}
