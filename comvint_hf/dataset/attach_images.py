"""Give rows their photos: join a folder of photos, or a dataset's config `images`, to rows by `image_id`.

A table's rows get the photo's path, not another copy of its bytes; a stream's rows get the bytes as they pass. Memory does
not grow with the rows or the photos. This file knows rows and photos; it knows no build.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from comvint_hf.dataset.image_table import ImageTable
from comvint_hf.dataset.schema import Row
from comvint_hf.errors import RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    D = TypeVar("D", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

Find = Callable[[str], Path | None]
Missing = Literal["error", "drop"]
PHOTOS = {".jpg", ".jpeg", ".png", ".webp"}


class Photos(Protocol):
    """Where photos come from."""

    def files(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """The files of these photos, those apart that are not there."""

    def photo(self, image_id: str) -> Row:
        """A photo as datasets takes it: {"path", "bytes"}."""

    def __contains__(self, image_id: str) -> bool: ...


def attach_images(dataset: D, images: Path | str | Mapping[str, Path | str], *, missing: Missing = "error") -> D:
    """Add the column `images` to rows that name their photo by `image_id`; plain and streaming datasets alike.

    `images` is a folder of photos (named by the image's id, zero-padded or not, in any subfolder), a dataset folder or Hub
    repository with a config `images`, of which only the photos of these rows are read, or a mapping from image ids to
    files. Rows of one image share one file; `push_to_hub` and `save_to_disk` take its bytes along, `to_parquet` does not. A
    row without an `image_id` is text-only and gets no photo. A photo that is not there raises `RowError`, at once or, when
    streaming, on reaching the row; `missing="drop"` leaves such rows out instead and warns how many they are, of a stream how
    many so far at the 1st, 10th, 100th and so on. Raises `InputError` if `images` is nothing of that.
    """
    return _attached(dataset, _photos(images), missing)


def _attached(dataset: D, photos: Photos, missing: Missing) -> D:
    from datasets import Dataset, IterableDataset

    if isinstance(dataset, Dataset):
        return _attach_to_table(dataset, photos, missing)
    if isinstance(dataset, IterableDataset):
        return _attach_to_stream(dataset, photos, missing)
    return type(dataset)({split: _attached(rows, photos, missing) for split, rows in dataset.items()})


def _attach_to_table(dataset: Dataset, photos: Photos, missing: Missing) -> Dataset:
    from datasets import Features, Image, List, concatenate_datasets

    _refuse_second_column(dataset.column_names)
    named = [image_id for image_id in dataset.select_columns("image_id").unique("image_id") if image_id]
    paths = photos.files(named)
    lost = sorted(set(named) - paths.keys())
    if lost and missing == "error":
        raise _not_found(lost[0], len(lost), len(named))
    if lost:
        before = len(dataset)
        dataset = dataset.filter(lambda ids: [not id or id in paths for id in ids], input_columns="image_id", batched=True)
        _warn(before - len(dataset), f"{len(lost):,} of {len(named):,} images have no photo there, as {lost[0]}")

    def pictures(ids: list[str]) -> dict[str, list[list[Row]]]:
        return {"images": [[{"path": str(paths[id]), "bytes": None}] if id else [] for id in ids]}

    feature = List(Image())
    if not len(dataset):
        return dataset.add_column("images", [], feature=feature)
    column = dataset.select_columns("image_id").map(
        pictures,
        input_columns="image_id",
        batched=True,
        remove_columns="image_id",
        features=Features({"images": feature}),
        desc="Attaching photos",
    )
    return concatenate_datasets([dataset, column], split=dataset.split, axis=1)


def _attach_to_stream(dataset: IterableDataset, photos: Photos, missing: Missing) -> IterableDataset:
    from datasets import Features, Image, List

    _refuse_second_column(dataset.column_names or ())
    if missing == "drop":
        dataset = dataset.filter(_Dropping(photos))

    def attach(row: Row) -> Row:
        image_id = row["image_id"]
        if image_id and image_id not in photos:
            raise _not_found(image_id, 1, None)
        return {"images": [photos.photo(image_id)] if image_id else []}

    features = Features({**dataset._resolve_features().features, "images": List(Image())})
    return dataset.map(attach).cast(features)  # a cast decodes photos; the argument `features` of map would not


@dataclass
class _Dropping:
    """Lets rows of a stream pass whose photo is there, and says now and then how many it did not."""

    photos: Photos
    dropped: int = 0

    def __call__(self, row: Row) -> bool:
        image_id = row["image_id"]
        if not image_id or image_id in self.photos:
            return True
        self.dropped += 1
        if str(self.dropped).strip("0") == "1":
            _warn(self.dropped, f"no photo for {image_id}", " so far")
        return False


def _warn(rows: int, why: str, until: str = "") -> None:
    warnings.warn(f"{rows:,} {'row is' if rows == 1 else 'rows are'} left out{until}: {why}.", stacklevel=2)


def _refuse_second_column(names: Any) -> None:
    if "images" in names:
        raise RowError("These rows have a column `images` already; drop it with remove_columns('images') to attach others.")


def _not_found(image_id: str, lost: int, whole: int | None) -> RowError:
    of = f"{lost:,} of {whole:,} images have no photo there, as" if whole else "No photo for"
    return RowError(f"{of} {image_id}; add the missing photos, or leave such rows out with missing='drop'.")


@dataclass(frozen=True)
class _Files:
    """Photos that are files already."""

    find: Find

    def __contains__(self, image_id: str) -> bool:
        return self.find(image_id) is not None

    def files(self, image_ids: Iterable[str]) -> dict[str, Path]:
        found = {image_id: self.find(image_id) for image_id in image_ids}
        return {image_id: path for image_id, path in found.items() if path is not None}

    def photo(self, image_id: str) -> Row:
        return {"path": str(self.find(image_id)), "bytes": None}


def _photos(images: Path | str | Mapping[str, Path | str]) -> Photos:
    if isinstance(images, Mapping):
        return _Files(lambda image_id: Path(found) if (found := images.get(image_id)) is not None else None)
    folder = Path(images)
    if folder.is_dir() and not (folder / "build.json").exists():
        return _Files(_in_folder(folder))
    return ImageTable(str(images))


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
