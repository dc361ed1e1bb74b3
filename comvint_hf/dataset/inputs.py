"""Open what a mix is made of: dataset folders, Hub repositories and LLaVA JSON, all as streams of rows.

This file knows where rows come from; it knows nothing of what is done with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.card import configs
from comvint_hf.dataset.convert_rows import TEXT_COLUMNS, guests
from comvint_hf.dataset.llava import from_llava
from comvint_hf.dataset.locate import dataset_file, require_place
from comvint_hf.dataset.reader import read_about, read_columns
from comvint_hf.dataset.schema import Row
from comvint_hf.dataset.splits import TRAIN
from comvint_hf.errors import InputError, RowError, first_line


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
        """Yield (split, row) of the default config and `without_images`, columns that the repository lacks filled; see `guests`."""
        for config in (None, shards.WITHOUT_IMAGES):
            for split, rows in sorted(self._load(config).items(), reverse=True):
                for row in guests(rows, self.name, "/".join(filter(None, (config, split))), only_text):
                    yield split, row

    def images(self) -> Iterator[Row]:
        """Yield the rows of the config `images`."""
        from datasets import Image

        for rows in self._load(shards.IMAGES).values():
            yield from rows.cast_column("image", Image(decode=False))

    def _load(self, config: str | None) -> Mapping[str, Any]:
        """The splits of a config, of the default one if it has no name; nothing where there is no such config."""
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
    require_place(name, "dataset")
    told = dataset_file(name, "build.json")
    return HubInput(name, json.loads(told.read_text(encoding="utf-8"))["parts"] if told else [_unknown(name)])


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
