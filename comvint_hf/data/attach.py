"""Give rows their photos: join a folder of photos, or a dataset's config `images`, to rows by `image_id`.

Rows get the photo's path, not another copy of its bytes. This file knows rows and photos; it knows no build.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

from comvint_hf.data.rows import Row
from comvint_hf.errors import RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    D = TypeVar("D", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

Find = Callable[[str], Path | None]
PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}


def attach_images(dataset: D, images: Path | str | Mapping[str, Path | str], *, missing: Literal["error", "drop"] = "error") -> D:
    """Add the column `images` to rows that name their photo by `image_id`; plain and streaming datasets alike.

    `images` is a folder of photos (named by the image's id, zero-padded or not, in any subfolder), a dataset folder or Hub
    repository with a config `images`, or a mapping from image ids to files. Rows of one image share one file. A row
    without an `image_id` is text-only and gets no photo. A photo that is not there raises `RowError`, at once or, when
    streaming, on reaching the row; `missing="drop"` leaves such rows out instead.
    """
    from datasets import Dataset, IterableDataset

    find = _finder(images)
    if isinstance(dataset, Dataset):
        return _attach_to_table(dataset, find, missing)
    if isinstance(dataset, IterableDataset):
        return _attach_to_stream(dataset, find, missing)
    attached = {split: attach_images(rows, _Found(find), missing=missing) for split, rows in dataset.items()}
    return type(dataset)(attached)


def _attach_to_table(dataset: Dataset, find: Find, missing: str) -> Dataset:
    from datasets import Image, List

    _refuse_second_column(dataset.column_names)
    ids = dataset.select_columns("image_id")["image_id"][:]
    paths = {image_id: find(image_id) for image_id in set(ids) if image_id}
    lost = sorted(image_id for image_id, path in paths.items() if path is None)
    if lost and missing == "error":
        raise _not_found(lost[0], len(lost), len(paths))
    if lost:
        dataset = dataset.select([place for place, image_id in enumerate(ids) if not image_id or paths[image_id] is not None])
        ids = [image_id for image_id in ids if not image_id or paths[image_id] is not None]
    column = [[{"path": str(paths[image_id]), "bytes": None}] if image_id else [] for image_id in ids]
    return dataset.add_column("images", column, feature=List(Image()))


def _attach_to_stream(dataset: IterableDataset, find: Find, missing: str) -> IterableDataset:
    from datasets import Features, Image, List

    _refuse_second_column(dataset.column_names or ())
    if missing == "drop":
        dataset = dataset.filter(lambda row: not row["image_id"] or find(row["image_id"]) is not None)

    def attach(row: Row) -> Row:
        path = find(row["image_id"]) if row["image_id"] else None
        if row["image_id"] and path is None:
            raise _not_found(row["image_id"], 1, None)
        return {"images": [{"path": str(path), "bytes": None}] if path else []}

    features = Features({**dataset._resolve_features().features, "images": List(Image())})
    return dataset.map(attach).cast(features)  # a cast decodes photos; the argument `features` of map would not


def _refuse_second_column(names: Any) -> None:
    if "images" in names:
        raise RowError("These rows have a column `images` already; drop it with remove_columns('images') to attach others.")


def _not_found(image_id: str, lost: int, whole: int | None) -> RowError:
    of = f"{lost:,} of {whole:,} images have no photo there, as" if whole else "No photo for"
    return RowError(f"{of} {image_id}; add the missing photos, or leave such rows out with missing='drop'.")


class _Found(Mapping[str, Path]):
    """A finder in a mapping's clothes, so that the splits of a dataset share one look at the disk."""

    def __init__(self, find: Find) -> None:
        self.find = find

    def __getitem__(self, image_id: str) -> Path:
        if (path := self.find(image_id)) is None:
            raise KeyError(image_id)
        return path

    def __iter__(self):
        raise TypeError("a finder answers for an id and lists none")

    def __len__(self) -> int:
        return 1


def _finder(images: Path | str | Mapping[str, Path | str]) -> Find:
    if isinstance(images, Mapping):
        return lambda image_id: Path(found) if (found := images.get(image_id)) is not None else None
    folder = Path(images)
    if folder.is_dir() and not (folder / "build.json").exists():
        return _in_folder(folder)
    return _in_folder(_unpacked(str(images)))


def _in_folder(folder: Path) -> Find:
    """Photos by their name's stem; COCO's zeros before a number do not matter."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PHOTOS:
            files.setdefault(path.stem, path.resolve())
            files.setdefault(path.stem.rpartition("_")[2].lstrip("0"), path.resolve())

    def find(image_id: str) -> Path | None:
        name = image_id.rpartition("/")[2]
        return files.get(quote(image_id, safe="")) or files.get(name) or files.get(name.lstrip("0"))

    return find


def _unpacked(dataset: str) -> Path:
    """Write the photos of a config `images` into datasets' cache, once for each version of it."""
    from datasets import Image, config, load_dataset

    rows = load_dataset(dataset, "images", split="train").cast_column("image", Image(decode=False))
    version = hashlib.sha256("\n".join(file["filename"] for file in rows.cache_files).encode()).hexdigest()[:16]
    folder = Path(config.HF_DATASETS_CACHE) / "comvint_images" / version
    done = folder / ".done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            path = folder / f"{quote(row['image_id'], safe='')}{_suffix(row['image']['bytes'])}"
            temporary = path.with_suffix(".partial")
            temporary.write_bytes(row["image"]["bytes"])
            os.replace(temporary, path)
        done.touch()
    return folder


def _suffix(encoded: bytes) -> str:
    return ".png" if encoded.startswith(b"\x89PNG") else ".webp" if encoded[8:12] == b"WEBP" else ".jpg"
