"""Find the files of images below a folder by their `image_id`, and refuse to guess between two.

An id is a source and what the source calls the image: "coco/9", "llava_v1_5_mix665k/coco/train2017/000000000009.jpg". Its path is tried
first, then its file name, then its number with or without leading zeros. Where corpora share a folder, as in LLaVA's layout
(coco/train2017, vg/VG_100K), the same number names a photo in each: folders that belong to a source hold its images only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from comvint_hf.errors import RowError
from comvint_hf.image_paths import named_roots
from comvint_hf.images import hash_image
from comvint_hf.strict_reader import is_valid_text

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
SOURCE_FOLDERS = {
    "coco": {"coco", "mscoco", "train2014", "val2014", "test2014", "train2017", "val2017", "test2017", "test2015"},
    "visual_genome": {"visual_genome", "visualgenome", "vg", "vg_100k", "vg_100k_2"},
    "flickr30k": {"flickr30k", "flickr30k-images", "flickr30k_images", "flickr30k_entities"},
    "gqa": {"gqa"},
    "textvqa": {"textvqa", "train_images"},
    "ocr_vqa": {"ocr_vqa"},
    "shapes": {"shapes"},
}
"""Folders, in lower case, whose images are of one source."""


class ImageIndex:
    """The image files below a folder. Links are followed where they stay inside it.

    Memory is three entries an image, which hold the file's path once.
    """

    def __init__(self, folder: Path) -> None:
        self._root, self._roots = folder.resolve(), named_roots(folder)
        self._paths: dict[str, str] = {}
        self._stems: dict[str, list[str]] = {}
        self._numbers: dict[str, list[str]] = {}
        for path in sorted(self._list(folder)):
            whole = _without_suffix(path)
            stem = whole.rpartition("/")[2]
            self._paths[whole] = path
            self._stems.setdefault(stem, []).append(path)
            number = stem.rpartition("_")[2].lstrip("0")
            if number and number != stem:
                self._numbers.setdefault(number, []).append(path)

    def _list(self, folder: Path) -> Iterable[str]:
        """The files, relative to the folder."""
        for parent, _, names in os.walk(folder):
            for name in names:
                if os.path.splitext(name)[1].lower() in SUFFIXES and is_valid_text(name):
                    yield Path(parent, name).relative_to(folder).as_posix()

    def find(self, image_id: str) -> Path | None:
        """Return the file of an image. Raises `RowError` if several files, of different content, could be it."""
        source, _, name = image_id.partition("/")
        stem = _without_suffix(name)
        found = [[exact] for key in (stem, _without_suffix(image_id)) if (exact := self._paths.get(key)) is not None]
        found.append(self._stems.get(quote(image_id, safe=""), []))
        if "/" in name:  # a path: its last part alone may be another photo
            same = self._stems.get(stem.rpartition("/")[2], ())
            found.append([known for known in same if _without_suffix(f"/{known}").endswith(f"/{stem}")])
        else:
            number = stem.lstrip("0")
            found += [self._stems.get(stem, []), self._numbers.get(number, []), self._stems.get(number, [])]
        return next((path for paths in found if (path := self._choose(paths, source, image_id))), None)

    def _choose(self, found: Iterable[str], source: str, image_id: str) -> Path | None:
        ours, others = SOURCE_FOLDERS.get(source, {source.lower()}), _other_folders(source)
        named = [(path, {part.lower() for part in path.split("/")[:-1]}) for path in found]
        # A folder of the source decides; without one, a folder of another source rules a file out.
        named = [one for one in named if one[1] & ours] or [one for one in named if not one[1] & others]
        paths = {path: resolved for path, _ in named if (resolved := self._resolve(path)) is not None}
        if len(paths) > 1 and not _are_equal(paths.values()):
            listed = " and ".join(sorted(paths)[:2])
            raise RowError(
                f"Several files could be the image {image_id}: {listed}. Give the folder of {source} alone, or a mapping from ids to files."
            )
        return next(iter(paths.values()), None)

    def _resolve(self, path: str) -> Path | None:
        resolved = (self._root / path).resolve()
        return resolved if any(resolved.is_relative_to(root) for root in self._roots) and resolved.is_file() else None


def _without_suffix(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in SUFFIXES else path


def _other_folders(source: str) -> set[str]:
    """The folders of other sources; of a source that is not known, none."""
    if source not in SOURCE_FOLDERS:
        return set()
    return {name for other, names in SOURCE_FOLDERS.items() if other != source for name in names} - SOURCE_FOLDERS.get(
        source, set()
    )


def _are_equal(paths: Iterable[Path]) -> bool:
    """Whether files hold the same bytes."""
    found = list(paths)
    return len({path.stat().st_size for path in found}) == 1 and len({hash_image(path.read_bytes()) for path in found}) == 1
