"""A folder elsewhere (any address that fsspec opens) through which machines without a common disk hand over shards.

A shard's marker is put there after its files, so a shard with a marker is whole. This file knows files; it knows no executor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards


class Depot:
    """The folder at `url`; its files have the names that they have in a dataset's folder."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._files, self._root = url_to_fs(url)

    def finished(self) -> frozenset[int]:
        """The numbers of the shards whose marker is there."""
        stems = (Path(name).stem for name in self.names(shards.STATE) if name.endswith(".json"))
        return frozenset(int(stem) for stem in stems if stem.isdecimal())

    def put_shard(self, out: Path, number: int) -> None:
        """Bring a finished shard of the folder `out`: its files, then its marker."""
        summary = shards.read_marker(out, number)
        for name in (*summary["files"], _marker(number)):
            self.put(out, name)

    def fetch_shards(self, out: Path) -> None:
        """Take every finished shard that `out` does not have."""
        for number in sorted(self.finished()):
            if shards.read_marker(out, number) is None:
                shards.remove_shard(out, number)
                for name in self.read(_marker(number))["files"]:
                    self.fetch(out, name)
                self.fetch(out, _marker(number))

    def put(self, out: Path, name: str, to: str | None = None) -> None:
        """Bring one file of `out`, under another name if one is given."""
        path = f"{self._root}/{to or name}"
        self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._files.put_file(str(out / name), path)

    def read(self, name: str) -> Any:
        """What a JSON file there says."""
        return json.loads(self._files.cat_file(f"{self._root}/{name}"))

    def fetch(self, out: Path, name: str) -> Path:
        """Take one file into `out`, where it appears whole or not at all."""
        with shards.written_whole(out / name) as partial:
            self._files.get_file(f"{self._root}/{name}", str(partial))
        return out / name

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder of it, in order; [] where there is none."""
        self._files.invalidate_cache()
        path = f"{self._root}/{folder}"
        found = self._files.ls(path, detail=False) if self._files.isdir(path) else []
        return sorted(f"{folder}/{name.rstrip('/').split('/')[-1]}" for name in found if self._files.isfile(name))

    def delete(self, name: str) -> None:
        """Delete one file."""
        self._files.rm_file(f"{self._root}/{name}")


def _marker(number: int) -> str:
    return f"{shards.STATE}/{number:05d}.json"
