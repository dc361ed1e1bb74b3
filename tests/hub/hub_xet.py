"""Xet for the local Hub: content lies in hf_xet's own stores on the file system, which clients fill and read themselves.

A token tells a client where its store is. hf_xet locks a store for one process, so each token names a new copy of the
Hub's store, and what clients brought to theirs is put together, by hf_xet again, and taken into the Hub's. This file
knows stores; it knows no repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

import hf_xet
from fastapi import APIRouter
from fastapi.responses import JSONResponse

CHUNKS, SHARDS = "xet/xorbs/xorbs", "xet/xorbs/shards"
"""Where in a store content lies, and what says which file is made of which content; named by hashes."""
FOR_EVER = 4102444800
WHO = {"token": "t", "token_expiry_unix_secs": FOR_EVER}
HEADER, ENTRY, LAST = 48, 48, b"\xff" * 32
router = APIRouter()
session = hf_xet.XetSession()
folder = Path(tempfile.mkdtemp(prefix="xet-"))
numbers = count()
known: dict[str, tuple[str, int]] = {}
"""What Xet calls the files that the Hub has, and their bytes, by their SHA-256."""
given: dict[Path, set[str]] = {}
"""Clients' stores, and the names of what lay in them when they were given."""


def new_store(like: Path | None = None) -> Path:
    """A store of its own, with what another one has; content is linked, not copied."""
    store = folder / str(next(numbers))
    if like is None:
        store.mkdir()
    else:
        shutil.copytree(like, store, copy_function=_link_or_copy)
    return store


def _link_or_copy(source: str, target: str) -> None:
    if Path(source).parent.match(CHUNKS) and not source.endswith(".tagset"):
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


kept = new_store()


@router.get("/api/{kind}/{owner}/{name}/xet-{what}-token/{revision:path}")
async def token(kind: str, owner: str, name: str, what: str, revision: str) -> JSONResponse:
    """Where a client may read and write for the time being."""
    adopt()
    store = new_store(kept)
    given[store] = {path.name for path in _content(store)}
    headers = {"X-Xet-Cas-Url": f"local://{store}", "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(FOR_EVER)}
    return JSONResponse({"casUrl": f"local://{store}", "accessToken": "t", "exp": FOR_EVER}, headers=headers)


@router.get("/_xet")
async def sent() -> dict[str, int]:
    """How many bytes clients have sent: new content, and descriptions of which files it makes."""
    new = [path for store, names in given.items() for path in _content(store) if path.name not in names]
    described = sum(path.stat().st_size for path in new if path.suffix == ".mdb")
    return {"content": sum(path.stat().st_size for path in new) - described, "descriptions": described}


def _content(store: Path) -> list[Path]:
    return [*(path for path in store.glob(f"{CHUNKS}/default.*") if path.suffix != ".tagset"), *store.glob(f"{SHARDS}/*.mdb")]


def forget() -> None:
    """Have nothing; a client's old store is left to it."""
    global kept
    kept = new_store()
    known.clear()
    given.clear()


def adopt() -> None:
    """Take the files that clients brought into the Hub's store, committed or not, as the real one does."""
    for store in given:
        for sha256, (name, size) in files(store).items():
            if sha256 not in known:
                try:
                    found = read(store, name, size)
                except RuntimeError:  # its client writes just now; the file will be there when it commits
                    continue
                with session.new_upload_commit(endpoint=f"local://{kept}", **WHO) as commit:
                    commit.start_upload_bytes(found, sha256=hashlib.sha256(found).hexdigest())
                known[sha256] = name, size


def content(sha256: str) -> bytes | None:
    """A file that a client brought; `None` if it never came."""
    adopt()
    return read(kept, *known[sha256]) if sha256 in known else None


def read(store: Path, name: str, size: int) -> bytes:
    """A file put together from its chunks, by hf_xet, in a copy of the store: a client may hold its lock."""
    copy = new_store(store)
    with session.new_file_download_group(endpoint=f"local://{copy}", **WHO) as group:
        group.start_download_file(hf_xet.XetFileInfo(name, size), str(copy / "file"))
    return (copy / "file").read_bytes()


def files(store: Path) -> dict[str, tuple[str, int]]:
    """The files in a store by their SHA-256: what Xet calls each, and its bytes."""
    return {sha256: found for shard in store.glob(f"{SHARDS}/*.mdb") for sha256, found in _in_shard(shard.read_bytes())}


def _in_shard(data: bytes) -> list[tuple[str, tuple[str, int]]]:
    """A header for each file, as many entries as it says (with a check each, if it says so), and its SHA-256."""
    at, found = HEADER, []
    while (name := data[at : at + 32]) != LAST:
        flags, entries = _number(data, at + 32), _number(data, at + 36)
        size = sum(_number(data, at + HEADER + ENTRY * entry + 36) for entry in range(entries))
        at += HEADER + ENTRY * entries * (2 if flags >> 31 & 1 else 1)
        if flags >> 30 & 1:
            found.append((_said(data[at : at + 32]), (_said(name), size)))
            at += ENTRY
    return found


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _said(hashed: bytes) -> str:
    """A hash as Xet writes it: four little-endian numbers."""
    return "".join(hashed[at : at + 8][::-1].hex() for at in range(0, 32, 8))
