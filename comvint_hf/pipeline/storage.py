"""A remote folder (any fsspec URL) through which machines without a common disk exchange shards and caches."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.markers import parse_marker
from comvint_hf.errors import InputError
from comvint_hf.strict_reader import parse_json, redact


class RemoteFolder:
    """The folder at `url`. Its files have the names that they have in a dataset folder.

    A shard's marker is uploaded after its files, so a shard with a marker is complete.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._files, self._root = url_to_fs(url)

    def finished_shards(self) -> frozenset[int]:
        """Find the numbers of the shards whose marker is there."""
        stems = (Path(name).stem for name in self.list_files(shards.STATE) if name.endswith(".json"))
        return frozenset(int(stem) for stem in stems if stem.isdecimal())

    def upload_shard(self, out: Path, number: int) -> None:
        """Upload a finished shard of the folder `out`: its files, then its marker."""
        summary = shards.read_marker(out, number)
        assert summary is not None, f"shard {number} is not finished"
        for name in (*summary["files"], _marker(number)):
            self.upload(out, name)

    def download_shards(self, out: Path) -> None:
        """Download every finished shard that `out` does not have; one with a damaged marker is as good as unfinished."""
        for number in sorted(self.finished_shards()):
            if shards.read_marker(out, number) is None:
                try:
                    marker = parse_marker(self._read(_marker(number)), number, f"{self._root}/{_marker(number)}")
                except InputError as error:
                    sys.stderr.write(redact(f"{error} The shard is built again; paid replies are kept.\n"))
                    self.delete(_marker(number))  # or workers would take the shard for finished
                    continue
                shards.remove_shard(out, number)
                for name in marker["files"]:
                    self.download(out, name)
                self.download(out, _marker(number))

    def upload(self, out: Path, name: str, to: str | None = None) -> None:
        """Upload one file of `out`, under the name `to` if it is given."""
        path = f"{self._root}/{to or name}"
        self._files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        self._files.put_file(str(out / name), path)

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder. Raises `InputError` for one that is damaged."""
        return parse_json(self._read(name), what=f"{self._root}/{name}")

    def _read(self, name: str) -> bytes:
        return self._files.cat_file(f"{self._root}/{name}")

    def download(self, out: Path, name: str) -> Path:
        """Download one file into `out`, where it appears complete or not at all."""
        with shards.atomic_path(out / name) as partial:
            self._files.get_file(f"{self._root}/{name}", str(partial))
        return out / name

    def list_files(self, folder: str) -> list[str]:
        """List the files of a folder in it, in order; [] where there is none."""
        self._files.invalidate_cache()  # other machines write there
        path = f"{self._root}/{folder}"
        found = self._files.ls(path, detail=False) if self._files.isdir(path) else []
        return sorted(f"{folder}/{name.rstrip('/').split('/')[-1]}" for name in found if self._files.isfile(name))

    def delete(self, name: str) -> None:
        """Delete one file."""
        self._files.rm_file(f"{self._root}/{name}")


def _marker(number: int) -> str:
    return f"{shards.STATE}/{number:05d}.json"
