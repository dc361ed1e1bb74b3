"""Read the datasets that a mix is made of (dataset folders, Hub repositories, LLaVA JSON) as streams of rows.

Rows of other people's datasets become rows of our schema: their images as bytes, their columns cast to our types or left out
with a warning.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import registry
from comvint_hf.dataset import shards, svit_json
from comvint_hf.dataset.conversation import NO_IMAGE, read_conversation, to_messages
from comvint_hf.dataset.foreign_text import clean_parts
from comvint_hf.dataset.llava_records import RecordOptions, convert_records, open_records
from comvint_hf.dataset.locate import check_exists, fetch_dataset_file
from comvint_hf.dataset.reader import list_configs, read_build_info, read_columns
from comvint_hf.dataset.schema import Row, features
from comvint_hf.dataset.splits import TEST, TRAIN
from comvint_hf.errors import ImageError, InputError, RowError, first_line
from comvint_hf.images import NOT_READABLE, OUTSIDE, prepare_image, read_row_image
from comvint_hf.read_counts import ReadCounts
from comvint_hf.record_stream import COMPRESSED_SUFFIXES, LINE_SUFFIXES
from comvint_hf.strict_reader import clean_text

if TYPE_CHECKING:
    from datasets import Dataset

TEXT_COLUMNS = ("id", "image_id", "messages", "task", "format", "topic")
IMAGE_COLUMNS = ("images", "image")
REFUSED = "refused"
BROKEN = "rows left out: their image cannot be read"
_EMPTY_VALUES = {"string": "", "int32": 0}
_EMPTY_TEXT: Row = {"image_id": "", "messages": [], "task": "conversation", "format": "open", "topic": ""}
MAX_TASK_CHARACTERS = 100
_NOT_IN_FOLDER_NAMES = re.compile(r"[^\w. -]+")


@dataclass(frozen=True)
class Input:
    """A dataset that can be read repeatedly, in the same order each time. `parts` describe its builds, as in build.json.

    A row whose image must not be read has the reason under the key `REFUSED`, and no image.
    """

    name: str
    parts: list[dict[str, Any]]

    def rows(self, only_text: bool = False, counts: ReadCounts | None = None) -> Iterator[tuple[str, Row]]:
        """Yield (split, row); with `only_text` just `TEXT_COLUMNS`, without reading images. `counts` gets what is skipped."""
        raise RowError(f"{self.name} cannot be read as rows.")

    def images(self) -> Iterator[Row]:
        """Yield the rows of the config `images`, if there is one."""
        return iter(())


@dataclass(frozen=True)
class FolderInput(Input):
    """A folder that `build` or `mix` wrote."""

    folder: Path

    def rows(self, only_text: bool = False, counts: ReadCounts | None = None) -> Iterator[tuple[str, Row]]:
        """Yield (split, row) of the configs `default` and `without_images`, file by file."""
        layout = list_configs(read_build_info(self.folder)["files"])
        for config in ("default", shards.WITHOUT_IMAGES):
            for split, names in sorted(layout.get(config, {}).items(), reverse=True):
                for name in names:
                    for row in read_columns(self.folder / name, TEXT_COLUMNS if only_text else None):
                        row["task"] = _clean_task(row["task"])
                        yield split, read_stored_images(row, self.folder)

    def images(self) -> Iterator[Row]:
        """Yield the rows of the config `images`."""
        for names in list_configs(read_build_info(self.folder)["files"]).get(shards.IMAGES, {}).values():
            for name in names:
                for row in read_columns(self.folder / name):
                    yield read_stored_images(row, self.folder)


@dataclass(frozen=True)
class HubInput(Input):
    """A repository that `load_dataset` opens and whose rows have `messages`."""

    def rows(self, only_text: bool = False, counts: ReadCounts | None = None) -> Iterator[tuple[str, Row]]:
        """Yield (split, row) of the default config and `without_images`, as `import_rows` gives them."""
        for config in (None, shards.WITHOUT_IMAGES):
            for split, rows in sorted(self._load(config).items(), reverse=True):
                part = "/".join(filter(None, (config, split)))
                for row in import_rows(
                    rows, self.name, part, only_text, self._own_folder(), counts=ReadCounts() if counts is None else counts
                ):
                    yield split, row

    def images(self) -> Iterator[Row]:
        """Yield the rows of the config `images`."""
        from datasets import Image

        for rows in self._load(shards.IMAGES).values():
            for row in rows.cast_column("image", Image(decode=False)):
                yield read_stored_images(row, self._own_folder())

    def _own_folder(self) -> Path:
        """The only folder whose files rows may name: the dataset itself, or its copy in the cache of the Hub."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        if Path(self.name).is_dir():
            return Path(self.name)
        return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=self.name, repo_type="dataset"))

    def _load(self, config: str | None) -> Mapping[str, Any]:
        """Load the splits of a config, `None` for the default one; empty if there is no such config."""
        from datasets import get_dataset_config_names, load_dataset

        try:
            return load_dataset(self.name, config) if not config or config in get_dataset_config_names(self.name) else {}
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.name} cannot be loaded ({first_line(error)}); expected a dataset folder here, a LLaVA file, or the name of a "
                "repository on the Hub."
            ) from error


@dataclass(frozen=True)
class LlavaInput(Input):
    """A LLaVA or ShareGPT file; its image names are relative to `image_folder`."""

    file: Path
    image_folder: Path | None

    def rows(self, only_text: bool = False, counts: ReadCounts | None = None) -> Iterator[tuple[str, Row]]:
        """Yield every record that can be a row as one of the split train."""
        options = RecordOptions(self.image_folder, self.file.name.partition(".json")[0], read_images=not only_text)
        for row in convert_records(self.file, options, ReadCounts() if counts is None else counts, REFUSED):
            yield TRAIN, row


@dataclass(frozen=True)
class SvitInput(LlavaInput):
    """A file of SVIT's release. Images of SVIT's official test list are test rows, as when we build from Visual Genome."""

    def rows(self, only_text: bool = False, counts: ReadCounts | None = None) -> Iterator[tuple[str, Row]]:
        """Yield (split, row) of every conversation that can be a row."""
        task = self.file.name.split(".")[0]
        found = ReadCounts() if counts is None else counts
        declared = registry.sources.find(svit_json.SOURCE)
        held_out = declared.test_ids() if declared and declared.test_ids else frozenset()
        known = task if task in svit_json.TASKS else None
        for row in svit_json.convert_svit(self.file, self.image_folder, known, found, REFUSED, not only_text):
            yield TEST if row["image_id"].rpartition("/")[2] in held_out else TRAIN, row


def read_stored_images(row: Row, folder: Path) -> Row:
    """Let a row hold the bytes of its images, and nothing that names a file."""
    for column in IMAGE_COLUMNS:
        images = row.get(column)
        if not images:
            continue
        try:
            files = [
                {"bytes": read_row_image(image, folder, f"Row {row.get('id', row.get('image_id'))!r}"), "path": None}
                for image in (images if isinstance(images, list) else [images])
            ]
        except RowError as error:
            return {**row, column: None, REFUSED: error.reason if error.reason == OUTSIDE else BROKEN}
        row = {**row, column: files if isinstance(images, list) else files[0]}
    return row


def open_input(name: str, image_folder: Path | None = None) -> Input:
    """Open a dataset folder, a .json or .jsonl file of LLaVA records (their images under `image_folder`), or a Hub repository.

    Raises:
        InputError: If there is no such folder, file or repository.
    """
    path = Path(name)
    if path.is_dir():
        return FolderInput(path.resolve().name, _read_parts(path / "build.json"), path)
    suffix = path.with_suffix("").suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix
    if suffix in (".json", ".zip", *LINE_SUFFIXES):
        if not path.is_file():
            raise InputError(f"There is no file {path}; expected a .json or .jsonl file of LLaVA records.")
        first = next((record for _, record in open_records(path, ReadCounts())), None)
        kind = SvitInput if svit_json.is_svit(first) else LlavaInput
        return kind(path.name, [_unknown_part(path.name)], path, image_folder)
    check_exists(name, "dataset")
    file = fetch_dataset_file(name, "build.json")
    return HubInput(name, _read_parts(file) if file else [_unknown_part(name)])


def _read_parts(file: Path) -> list[dict[str, Any]]:
    """Read the parts of a build.json."""
    return clean_parts(read_build_info(file.parent)["parts"], file)


def _unknown_part(name: str) -> dict[str, Any]:
    """Describe a dataset that was not made here, as a part of build.json."""
    return {
        "scenes": name,
        "source": name,
        "recipe": "unknown",
        "settings": {},
        "generator": "unknown",
        "judge": "unknown",
        "asking": {},
        "seed": 0,
        "version": "unknown",
        "prompts": {},
        "licence": {"name": "unknown", "text": f"see {name}", "share_images": True},
    }


def import_rows(
    rows: Dataset,
    name: str,
    split: str,
    only_text: bool = False,
    folder: Path | None = None,
    *,
    counts: ReadCounts | None = None,
) -> Iterator[Row]:
    """Convert the rows of one split to our schema.

    Images in files become bytes, a column `image` becomes `images`, and LLaVA's `conversations` become `messages`. Rows without an `image_id` get one from their image's
    content, so images are then read even with `only_text`. A task becomes a name that a folder can have.

    Args:
        rows: The rows of the split.
        name: The repository, for ids and messages.
        split: The split, for ids.
        only_text: Yield just `TEXT_COLUMNS`.
        folder: The only folder whose files the rows may name as images. A row that names another file is refused (see `Input`).
        counts: Gets an example of each reason; rows that cannot be used then come without text, with the reason under `REFUSED`.

    Raises:
        RowError: If the rows have no column `messages`; without `counts` for the first row that cannot be used.
    """
    if "messages" not in rows.column_names and "conversations" in rows.column_names:
        rows = rows.rename_column("conversations", "messages")
    if "messages" not in rows.column_names:
        raise RowError(
            f"{name} has no column `messages` but {', '.join(rows.column_names)}; only rows with `messages` can be mixed."
        )
    image_column = next((column for column in IMAGE_COLUMNS if column in rows.column_names), None)
    rows = _cast_columns(rows, name, image_column)
    reads_images = image_column is not None and not (only_text and "image_id" in rows.column_names)
    wanted = {*(TEXT_COLUMNS if only_text else features(images=False)), *([image_column] if reads_images else [])}
    rows = rows.select_columns([column for column in rows.column_names if column in wanted])
    for number, row in enumerate(rows):
        images = row.pop(image_column) if reads_images else None
        default_id = f"{name}/{split}/{number}"
        try:
            yield _import_row(row, name, default_id, images, only_text, folder, reads_images, counts)
        except RowError as error:
            if counts is None:
                raise
            counts.example(error.reason, str(error))
            yield {**_EMPTY_TEXT, "id": row.get("id") or default_id, REFUSED: error.reason}


def _cast_columns(rows: Dataset, name: str, image_column: str | None) -> Dataset:
    """Cast columns of our schema to its types, and remove those that cannot be cast."""
    import pyarrow
    from datasets import Image, List

    if image_column:
        encoded = Image(decode=False)
        rows = rows.cast_column(image_column, List(encoded) if image_column == "images" else encoded)
    for column, kind in features(images=False).items():
        if column in ("messages", *IMAGE_COLUMNS) or rows.features.get(column, kind) == kind:
            continue
        try:
            rows = rows.cast_column(column, kind)
        except (ValueError, TypeError, pyarrow.ArrowException):
            warnings.warn(
                f"The column `{clean_text(column, 100)}` of {clean_text(name)} is of another form than ours and is left out.",
                stacklevel=2,
            )
            rows = rows.remove_columns(column)
    return rows


def _import_row(
    row: Row,
    name: str,
    default_id: str,
    images: Any,
    only_text: bool,
    folder: Path | None,
    reads_images: bool,
    counts: ReadCounts | None,
) -> Row:
    given = {column: value for column, value in row.items() if value is not None}
    defaults = {"image_id": ""} if only_text else _empty_row()
    imported: Row = {**defaults, "task": "conversation", "format": "open", **given, "id": given.get("id") or default_id}
    where = f"Row {imported['id']!r} of {name}"
    listed = images if isinstance(images, list) else [] if images is None else [images]
    if None in listed:
        raise RowError(f"{where} has an image that is null.", NO_IMAGE)
    imported["messages"] = _import_messages(given, len(listed) if reads_images else None, where)
    imported["task"] = _clean_task(imported["task"])
    if not reads_images or images is None:
        return imported
    try:
        files = [read_row_image(image, folder, where) for image in listed]
    except RowError as error:
        if error.reason != OUTSIDE:
            raise
        return {"image_id": "", **imported, REFUSED: error.reason}
    if files and "image_id" not in row:
        # Without an id, equal images must still get equal ids, or one could be trained and tested on.
        imported["image_id"] = f"{name}/{blake2b(b''.join(files), digest_size=8).hexdigest()}"
    if not only_text:
        try:
            stored = [prepare_image(file, where, counts) for file in files]
        except ImageError as error:
            raise RowError(str(error), NOT_READABLE) from error
        imported["images"] = [{"bytes": encoded, "path": None} for encoded, _ in stored]
        if stored and not imported["width"]:
            imported["width"], imported["height"] = stored[0][1]
    return imported


def _import_messages(given: Row, num_images: int | None, where: str) -> list[dict[str, Any]]:
    """Read a row's messages; `num_images` is `None` where its images are not read now."""
    conversation = read_conversation(given.get("messages"), where)
    places = len(conversation.images)
    if num_images is None:
        num_images = places if given.get("image_id") else 0
    messages = to_messages(conversation, num_images, where, keep_text=True)
    for turn, message in zip(conversation.turns, messages, strict=True):
        if turn.images:
            message["content"] = message["content"].strip()
    return messages


def _clean_task(task: str) -> str:
    """Make a task's name one that a folder and a card may have."""
    return _NOT_IN_FOLDER_NAMES.sub("-", task).strip("-. ")[:MAX_TASK_CHARACTERS] or "conversation"


def _empty_row() -> Row:
    return {column: _EMPTY_VALUES.get(getattr(kind, "dtype", ""), []) for column, kind in features(images=False).items()}
