"""Read any dataset that `load_dataset` opens as a source: `hub:ORG/NAME[:CONFIG]` and `dataset:DIR`; rows are streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import SourceError, first_line
from comvint_hf.images import resolve_inside
from comvint_hf.read_counts import READ_AS, ReadCounts, as_counts
from comvint_hf.registry import Licence, source
from comvint_hf.sources.image_files import MISSING, ImageFolders
from comvint_hf.sources.table_rows import Picture, TableReader
from comvint_hf.types import Scene

if TYPE_CHECKING:
    from datasets import IterableDataset

FOREIGN = "images refused: a row names a file outside the dataset"
OPEN_LICENCES = (
    "cc-by-",
    "cc0",
    "apache-2.0",
    "mit",
    "bsd",
    "odc-by",
    "odbl",
    "cdla-permissive",
    "pddl",
    "unlicense",
    "public-domain",
)
"""How the names of licences begin that let others re-host images."""


def name_licence(name: str, where: str) -> Licence:
    """Make the terms out of a licence's name as dataset cards write it; images may be shared if it is a known open one."""
    name = name.strip().lower() or "unknown"
    return Licence(name, f"{where} says: {name}.", images_may_be_shared=name.startswith(OPEN_LICENCES) and "-nd" not in name)


def read_hub_licence(location: str) -> Licence:
    """Read the licence that a Hub repository's card declares, or `licence=NAME` of the location."""
    if declared := _option(location, "licence"):
        return name_licence(declared, "The user")
    from huggingface_hub import DatasetCard

    repository = location.partition(",")[0].partition(":")[0]
    try:
        found = DatasetCard.load(repository).data.to_dict().get("license")
    except Exception:  # noqa: BLE001 (no card, no network, no such repository: reading the rows says which)
        found = None
    return name_licence(found if isinstance(found, str) else ", ".join(found or ()), f"The card of {repository}")


def read_declared_licence(location: str) -> Licence:
    """Return the terms that the user declares by `licence=NAME`; without it images may not be shared."""
    return name_licence(_option(location, "licence"), "The user")


def _option(location: str, name: str) -> str:
    return next((part.partition("=")[2] for part in location.split(",") if part.startswith(f"{name}=")), "")


@source("hub", licence_of=read_hub_licence)
def hub(
    repository: str,
    counts: Counter[str],
    *,
    images: Path | None = None,
    split: str = "",
    revision: str = "",
    columns: str = "",
    boxes: str = "",
    licence: str = "",
) -> Iterator[Scene]:
    """Yield one scene for each image of a Hub dataset with images: `ORG/NAME`, or `ORG/NAME:CONFIG`.

    Columns for captions, objects, regions, relations, writing (OCR), questions and answers are found by their names and the
    form of their values. Nothing is downloaded beyond the rows that are read.

    Args:
        repository: The name on the Hub, with the configuration behind a colon.
        images: A folder of image files, for rows that name a file.
        split: Read this split only; by default all, one after another.
        revision: A branch, tag or commit.
        columns: Where parts of a scene are, as in `objects.bbox=annotations.box;caption=text`.
        boxes: How boxes are written (`parse_form`); by default it is recognised.
        licence: The terms, for the dataset card; by default what the repository's card says.

    Raises:
        SourceError: If the repository cannot be read, or has no images, or boxes of no clear form.
    """
    name, _, config = repository.partition(":")
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise SourceError(f"{name!r} is no name on the Hub: expected hub:ORG/NAME, or dataset:DIR for a folder.")
    loaded = partial(_load, name, config or None, revision or None)
    return _read(f"hub/{name}", loaded, counts, split, images, columns, boxes, licence, repository=name)


@source("dataset", licence_of=read_declared_licence)
def dataset(
    root: Path,
    counts: Counter[str],
    *,
    images: Path | None = None,
    config: str = "",
    split: str = "",
    columns: str = "",
    boxes: str = "",
    licence: str = "",
) -> Iterator[Scene]:
    """Yield one scene for each image of a folder that `load_dataset` or `load_from_disk` opens; see `hub`."""
    loaded = partial(_load, str(root), config or None, None)
    return _read(f"dataset/{root.resolve().name}", loaded, counts, split, images, columns, boxes, licence, folder=root)


@source("imagefolder", licence_of=read_declared_licence)
def imagefolder(
    root: Path,
    counts: Counter[str],
    *,
    split: str = "",
    columns: str = "",
    boxes: str = "",
    licence: str = "",
) -> Iterator[Scene]:
    """Yield one scene for each photo under a folder, with what `metadata.jsonl`, `.csv` or `.parquet` beside them say.

    Photos without any metadata are scenes without annotations, which only a model that sees them can write about.
    """
    loaded = partial(_load_images, root)
    return _read(f"imagefolder/{root.resolve().name}", loaded, counts, split, None, columns, boxes, licence, folder=root)


def _read(
    name: str,
    load: Any,
    counts: Counter[str],
    split: str,
    images: Path | None,
    columns: str,
    boxes: str,
    licence: str,
    *,
    folder: Path | None = None,
    repository: str = "",
) -> Iterator[Scene]:
    try:
        splits = load()
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"{name.partition('/')[2]} cannot be loaded: {first_line(error)}") from error
    if split and split not in splits:
        raise SourceError(f"{name.partition('/')[2]} has no split {split!r}: expected {', '.join(splits)}.")
    counts = as_counts(counts)
    folders = ImageFolders(images, None, (), counts) if images else None
    for key, rows in splits.items():
        if split in ("", key):
            opener = _ImageOpener(folder, folders, repository, counts)
            encoded, classes = _without_decoding(rows)
            reader = TableReader(f"{name}/{key}", opener, counts, classes, columns, boxes, licence)
            yield from _closing(reader, encoded)


def _closing(reader: TableReader, rows: IterableDataset) -> Iterator[Scene]:
    """Read rows, and end the stream at once when the reader leaves early: pyarrow may hang at exit on an open one."""
    iterator = iter(rows)
    try:
        yield from reader.scenes(iterator)
        for line in reader.describe():
            reader.counts.note(f"{READ_AS}{line}")
    finally:
        if hasattr(iterator, "close"):
            iterator.close()
        del iterator


class _ImageOpener:
    """Opens the image that a row holds or names: only from the row, the dataset's own folder or repository, or `--images`."""

    def __init__(self, folder: Path | None, folders: ImageFolders | None, repository: str, counts: ReadCounts) -> None:
        self.folder, self.folders, self.counts = folder, folders, counts
        self.prefix = f"hf://datasets/{repository}@" if repository else ""

    def __call__(self, value: Any) -> Picture:
        if isinstance(value, bytes):
            return value
        if isinstance(value, Mapping):
            if value.get("bytes") is not None:
                return value["bytes"]
            value = value.get("path")
        if not isinstance(value, str) or not value:
            return None
        if self.prefix and value.startswith(self.prefix):
            return self._fetch(value)
        if "://" in value:  # an address is not fetched: it may be anybody's server
            return None
        if self.folders is not None and (found := self.folders.find(value, Path(value).name)):
            return found
        return self._own_file(value)

    def _fetch(self, address: str) -> Picture:
        """Read a file of the repository that the user named."""
        from huggingface_hub import HfFileSystem

        try:
            return HfFileSystem().cat_file(address.removeprefix("hf://"))
        except OSError:
            self.counts.skip(MISSING, address)
            return None

    def _own_file(self, name: str) -> Picture:
        if self.folder is None:
            self.counts.skip(FOREIGN, name)
            return None
        path = resolve_inside(self.folder, name)
        if path is None or not path.is_file():
            self.counts.skip(FOREIGN if path is None else MISSING, name)
            return None
        return path


def _load(name: str, config: str | None, revision: str | None) -> Mapping[str, IterableDataset]:
    """Open the splits of a dataset as streams."""
    import datasets

    if Path(name, "dataset_dict.json").is_file() or Path(name, "state.json").is_file():
        loaded = datasets.load_from_disk(name)
        parts = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        return {str(split): rows.to_iterable_dataset() for split, rows in parts.items()}
    return datasets.load_dataset(name, config, revision=revision, streaming=True)


def _load_images(root: Path) -> Mapping[str, IterableDataset]:
    import datasets

    return datasets.load_dataset("imagefolder", data_dir=str(root), streaming=True)


def _without_decoding(rows: IterableDataset) -> tuple[IterableDataset, dict[str, list[str]]]:
    """The rows with encoded images, and the class names behind numbers, by path."""
    features = rows.features or rows._resolve_features().features or {}
    # `cast_column` would leave the threads that decode remote images at work.
    return rows.decode(False), dict(_class_names(features))


def _class_names(features: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    from datasets import ClassLabel, List

    if isinstance(features, ClassLabel):
        yield path, features.names
    elif isinstance(features, List):
        yield from _class_names(features.feature, path)
    elif isinstance(features, Mapping):
        for key, inner in features.items():
            yield from _class_names(inner, f"{path}.{key}" if path else key)
