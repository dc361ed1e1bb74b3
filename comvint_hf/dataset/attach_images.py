"""Join images to rows by `image_id`, from a folder, a mapping, or a dataset's config `images`.

The rows of a table get the image's path instead of another copy of its bytes; the rows of a stream get the bytes one by one. Memory
does not grow with the number of rows or images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from comvint_hf.dataset.image_index import ImageIndex
from comvint_hf.dataset.image_table import ImageTable
from comvint_hf.dataset.schema import Row
from comvint_hf.errors import RowError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

    D = TypeVar("D", Dataset, DatasetDict, IterableDataset, IterableDatasetDict)

Missing = Literal["error", "drop"]


class ImageStore(Protocol):
    """Images by their `image_id`."""

    def find_files(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Return the file of each image that exists."""

    def load(self, image_id: str) -> Row:
        """Return an image in the form that datasets takes: {"path", "bytes"}."""

    def __contains__(self, image_id: str) -> bool: ...


def attach_images(dataset: D, images: Path | str | Mapping[str, Path | str], *, missing: Missing = "error") -> D:
    """Add the column `images` to rows that name their image by `image_id`.

    Rows of one image share one file; `push_to_hub` and `save_to_disk` store its bytes, `to_parquet` does not. A row without an
    `image_id` is text-only and gets no image.

    Args:
        dataset: A plain or streaming dataset, or a dictionary of them by split.
        images: A folder of images, named by their path or by the image's id (zero-padded or not) in any subfolder, see
            `image_index`; or a dataset folder or Hub repository with a config `images`, of which only the images of these rows are
            read; or a mapping from ids to files.
        missing: "drop" leaves out rows whose image is missing and warns how many; for a stream it warns at the 1st, 10th, 100th
            and so on.

    Raises:
        RowError: If an image is missing, or if several files of the folder could be it; for a stream, on reaching the row.
        InputError: If `images` is none of the above.
    """
    return _attach(dataset, _open_store(images), missing)


def _attach(dataset: D, store: ImageStore, missing: Missing) -> D:
    from datasets import Dataset, IterableDataset

    attached: Any
    if isinstance(dataset, Dataset):
        attached = _attach_to_table(dataset, store, missing)
    elif isinstance(dataset, IterableDataset):
        attached = _attach_to_stream(dataset, store, missing)
    else:
        attached = type(dataset)({split: _attach(rows, store, missing) for split, rows in dataset.items()})
    return attached


def _attach_to_table(dataset: Dataset, store: ImageStore, missing: Missing) -> Dataset:
    from datasets import Features, Image, List, concatenate_datasets

    _check_no_images(dataset.column_names)
    named = [image_id for image_id in dataset.select_columns("image_id").unique("image_id") if image_id]
    paths = store.find_files(named)
    lost = sorted(set(named) - paths.keys())
    if lost and missing == "error":
        raise RowError(
            f"{len(lost):,} of {len(named):,} images are missing there, such as {lost[0]}; add them, or leave such rows out with "
            "missing='drop'."
        )
    if lost:
        before = len(dataset)
        dataset = dataset.filter(lambda ids: [not id or id in paths for id in ids], input_columns="image_id", batched=True)
        _warn_drop(before - len(dataset), f"{len(lost):,} of {len(named):,} images are missing there, such as {lost[0]}")

    def to_images(ids: list[str]) -> dict[str, list[list[Row]]]:
        return {"images": [[{"path": str(paths[id]), "bytes": None}] if id else [] for id in ids]}

    feature = List(Image())
    # `map` returns an empty table as it is, without the new column.
    if not len(dataset):
        return dataset.add_column("images", [], feature=feature)
    column = dataset.select_columns("image_id").map(
        to_images,
        input_columns="image_id",
        batched=True,
        remove_columns="image_id",
        features=Features({"images": feature}),
        desc="Attaching images",
    )
    # Adding a column this way copies no other column; `map` over the whole row would.
    return concatenate_datasets([dataset, column], split=dataset.split, axis=1)


def _attach_to_stream(dataset: IterableDataset, store: ImageStore, missing: Missing) -> IterableDataset:
    from datasets import Features, Image, List

    _check_no_images(dataset.column_names or ())
    if missing == "drop":
        dataset = dataset.filter(_HasImage(store))

    def attach(row: Row) -> Row:
        image_id = row["image_id"]
        if image_id and image_id not in store:
            raise RowError(f"The image {image_id} is missing; add it, or leave such rows out with missing='drop'.")
        return {"images": [store.load(image_id)] if image_id else []}

    features = Features({**dataset._resolve_features().features, "images": List(Image())})
    return dataset.map(attach).cast(features)  # a cast decodes images; the argument `features` of map would not


@dataclass
class _HasImage:
    """A filter for rows of a stream whose image exists, which warns from time to time how many did not pass."""

    store: ImageStore
    dropped: int = 0

    def __call__(self, row: Row) -> bool:
        image_id = row["image_id"]
        if not image_id or image_id in self.store:
            return True
        self.dropped += 1
        if str(self.dropped).strip("0") == "1":
            _warn_drop(self.dropped, f"the image {image_id} is missing", " so far")
        return False


def _warn_drop(rows: int, reason: str, period: str = "") -> None:
    warnings.warn(f"{rows:,} {'row is' if rows == 1 else 'rows are'} left out{period}: {reason}.", stacklevel=2)


def _check_no_images(columns: Iterable[str]) -> None:
    if "images" in columns:
        raise RowError("These rows have a column `images` already; drop it with remove_columns('images') to attach others.")


@dataclass(frozen=True)
class _FileStore:
    """Images that are files already."""

    find: Callable[[str], Path | None]

    def __contains__(self, image_id: str) -> bool:
        return self.find(image_id) is not None

    def find_files(self, image_ids: Iterable[str]) -> dict[str, Path]:
        return {image_id: path for image_id in image_ids if (path := self.find(image_id)) is not None}

    def load(self, image_id: str) -> Row:
        return {"path": str(self.find(image_id)), "bytes": None}


def _open_store(images: Path | str | Mapping[str, Path | str]) -> ImageStore:
    if isinstance(images, Mapping):
        return _FileStore(lambda image_id: Path(path) if (path := images.get(image_id)) is not None else None)
    folder = Path(images)
    if folder.is_dir() and not (folder / "build.json").exists():
        return _FileStore(ImageIndex(folder).find)
    return ImageTable(str(images))
