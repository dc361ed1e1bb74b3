"""Open what a mix is made of: dataset folders, Hub repositories and LLaVA JSON, all as streams of rows.

This file knows where rows come from; it knows nothing of what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comvint_hf.data import shards
from comvint_hf.data.card import configs
from comvint_hf.data.folder import read_about, read_columns
from comvint_hf.data.llava import from_llava
from comvint_hf.data.rows import Row, features
from comvint_hf.data.splits import TRAIN
from comvint_hf.errors import InputError, RowError

TEXT_COLUMNS = ("id", "image_id", "messages", "task", "format", "topic")
_EMPTY = {"string": "", "int32": 0}


@dataclass(frozen=True)
class Input:
    """One dataset that can be read again and again, in the same order each time.

    `parts` says how it was made (as build.json does), `images` yields its config `images`, if it has one.
    """

    name: str
    parts: list[dict[str, Any]]

    def rows(self, only_text: bool = False) -> Iterator[tuple[str, Row]]:
        """Yield (split, row); with `only_text` just the columns that choosing needs, photos left on the disk."""
        raise RowError(f"{self.name} cannot be read as rows.")

    def images(self) -> Iterator[Row]:
        """Yield the rows of the config `images`."""
        return iter(())


@dataclass(frozen=True)
class FolderInput(Input):
    """A folder that `build` or `mix` wrote."""

    folder: Path

    def rows(self, only_text: bool = False) -> Iterator[tuple[str, Row]]:
        """Yield (split, row) of the configs `default` and `without_images`, file by file."""
        files = read_about(self.folder)["files"]
        layout = configs(files)
        for config in ("default", shards.WITHOUT_IMAGES):
            for split, names in sorted(layout.get(config, {}).items(), reverse=True):
                for name in names:
                    for row in read_columns(self.folder / name, TEXT_COLUMNS if only_text else None):
                        yield split, row

    def images(self) -> Iterator[Row]:
        """Yield the rows of the config `images`."""
        for names in configs(read_about(self.folder)["files"]).get(shards.IMAGES, {}).values():
            for name in names:
                yield from read_columns(self.folder / name)


@dataclass(frozen=True)
class HubInput(Input):
    """A repository that `load_dataset` opens and whose rows have `messages`."""

    def rows(self, only_text: bool = False) -> Iterator[tuple[str, Row]]:
        """Yield (split, row), columns that the repository lacks filled with nothing."""
        from datasets import Image, List, load_dataset

        for split, rows in sorted(load_dataset(self.name).items(), reverse=True):
            if "messages" not in rows.column_names:
                raise RowError(
                    f"{self.name} has no column `messages` but {', '.join(rows.column_names)}; only rows of that form mix."
                )
            if only_text:
                rows = rows.select_columns([name for name in TEXT_COLUMNS if name in rows.column_names])
            elif "images" in rows.column_names:
                rows = rows.cast_column("images", List(Image(decode=False)))
            for number, row in enumerate(rows):
                yield split, {**_filled(row, only_text), "id": row.get("id") or f"{self.name}/{split}/{number}"}


@dataclass(frozen=True)
class LlavaInput(Input):
    """A LLaVA or ShareGPT file; `photos` is the folder that its image names are relative to."""

    file: Path
    photos: Path | None

    def rows(self, only_text: bool = False) -> Iterator[tuple[str, Row]]:
        """Yield every record as a row of the split train."""
        for row in from_llava(self.file, None if only_text else self.photos, source=self.file.stem):
            yield TRAIN, row


def open_input(name: str, photos: Path | None = None) -> Input:
    """Open a folder, a .json or .jsonl file of LLaVA records (their photos under `photos`), or a Hub repository."""
    path = Path(name)
    if path.is_dir():
        return FolderInput(path.resolve().name, read_about(path)["parts"], path)
    if path.suffix in (".json", ".jsonl"):
        if not path.is_file():
            raise InputError(f"There is no file {path}; expected a .json or .jsonl file of LLaVA records.")
        return LlavaInput(path.name, [_unknown(path.name)], path, photos)
    if path.is_absolute() or name.startswith("."):
        raise InputError(f"There is no folder {path}; expected a dataset folder, a LLaVA file or the name of a Hub repository.")
    return HubInput(name, [_unknown(name)])


def _unknown(name: str) -> dict[str, Any]:
    """The part of a card for data that somebody else made."""
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


def _filled(row: Row, only_text: bool) -> Row:
    if only_text:
        return {"image_id": "", "task": "conversation", "format": "open", **row}
    empty = {name: _EMPTY.get(getattr(kind, "dtype", ""), []) for name, kind in features(images=False).items()}
    return {**empty, "task": "conversation", "format": "open", **{name: row[name] for name in row if name in features()}}
