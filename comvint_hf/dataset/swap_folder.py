"""Replace a dataset by another one: the new one is written to a folder beside it, and the two change places at the end.

A run that fails or is killed leaves the old dataset whole. Files that no build wrote and paid replies move along.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from comvint_hf.dataset.markers import FOLDERS, METADATA_FILES, STATE
from comvint_hf.errors import InputError

_ROW_FILE = re.compile(rf"(?:{'|'.join(FOLDERS)})/(?:.*/)?[^/]*-[0-9]{{5}}\.parquet")
_STATE_FILE = re.compile(rf"{re.escape(STATE)}/(?:plan\.json$|[0-9])")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def new_folder(out: Path) -> Path:
    """Return the folder in which the dataset that replaces the one in `out` is written; links are followed."""
    real = Path(os.path.realpath(out))
    return real.with_name(f".{real.name}.overwrite")


def _old_folder(out: Path) -> Path:
    real = Path(os.path.realpath(out))
    return real.with_name(f".{real.name}.replaced")


def make_new_folder(out: Path) -> Path:
    """Make the empty folder for the new dataset. Raises `InputError` where it could not take the place of `out` later."""
    folder = new_folder(out)
    try:
        if os.path.ismount(folder.with_name(Path(os.path.realpath(out)).name)):
            raise OSError(0, "it is the root of a disk or volume")
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise OSError(0, f"{folder} is in the way")
        remove_new_folder(out)
        folder.mkdir()
    except OSError as error:
        raise InputError(
            f"--overwrite writes the new dataset beside {out} first, and that is not possible ({error.strerror}): "
            "choose another --out."
        ) from error
    return folder


def remove_new_folder(out: Path) -> None:
    """Delete an unfinished new dataset, if there is one."""
    shutil.rmtree(new_folder(out), ignore_errors=True)


def recover(out: Path) -> None:
    """Finish a swap that was killed: put the old dataset back if no other took its place, or else delete it."""
    real, old = Path(os.path.realpath(out)), _old_folder(out)
    if real.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.is_dir():
        old.rename(real)


def swap(out: Path) -> None:
    """Put the finished new dataset in the place of the old one, which is deleted then."""
    real, new, old = Path(os.path.realpath(out)), new_folder(out), _old_folder(out)
    _link_other_files(real, new)
    shutil.rmtree(old, ignore_errors=True)
    if _exchange(real, new):
        new.rename(old)
    else:
        real.rename(old)
        try:
            new.rename(real)
        except OSError:
            old.rename(real)
            raise
    shutil.rmtree(old, ignore_errors=True)


def _link_other_files(source: Path, target: Path) -> None:
    """Give `target` all files of `source` that are no rows, markers or metadata of its dataset: both hold them then."""
    for path in source.rglob("*"):
        name = path.relative_to(source).as_posix()
        copy = target / name
        if os.path.lexists(copy) and not (path.is_dir() and copy.is_dir()):
            continue
        if path.is_dir() and not path.is_symlink():
            if not _STATE_FILE.match(f"{name}/"):
                copy.mkdir(parents=True, exist_ok=True)
        elif not (name in METADATA_FILES or _ROW_FILE.fullmatch(name) or _STATE_FILE.match(name)):
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, copy, follow_symlinks=False)
            except OSError:  # a disk without hard links
                shutil.copy2(path, copy, follow_symlinks=False)
    for folder in FOLDERS:  # folders of tasks that the new dataset does not have
        for path in sorted((target / folder).rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                with suppress(OSError):
                    path.rmdir()


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders at once, where the system and the disk can."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def check_apart(out: Path, inputs: Iterable[Path]) -> None:
    """Raise `InputError` for an input that is the output folder, lies in it, or holds it; links are followed."""
    target = Path(os.path.realpath(out))
    for folder in inputs:
        source = Path(os.path.realpath(folder))
        if _is_within(source, target) or _is_within(target, source):
            what = (
                "is also the output" if _is_within(source, target) and _is_within(target, source) else f"and --out {out} overlap"
            )
            raise InputError(f"The dataset {folder} {what}: choose another --out; nothing was changed.")


def _is_within(path: Path, folder: Path) -> bool:
    return any(part == folder or (part.exists() and folder.exists() and part.samefile(folder)) for part in (path, *path.parents))
