"""Names of image files in annotations and records: which file below a folder they mean, and never one outside it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from comvint_hf.strict_reader import LIMITS, is_valid_text

_URL = re.compile(r"[A-Za-z][\w+.-]+://")
_DRIVE = re.compile(r"[A-Za-z]:")


def resolve_inside(folder: Path | str, name: str) -> Path | None:
    """Follow all links of a file's name below a folder; `None` if it leads out of the folder or is no name."""
    try:
        path = Path(folder, name).resolve()
        inside = any(path.is_relative_to(root) for root in named_roots(Path(folder)))
        return path if name and "://" not in name and inside else None
    except (OSError, ValueError, RuntimeError):  # a loop of links, a null byte
        return None


def named_roots(folder: Path) -> tuple[Path, ...]:
    """The folders that a user names with a folder: itself, and for a snapshot in the cache of the Hub the files that it links to."""
    root = folder.resolve()
    snapshots = next((parent for parent in root.parents if parent.name == "snapshots"), None)
    blobs = None if snapshots is None else snapshots.parent / "blobs"
    return (root, blobs) if blobs is not None and blobs.is_dir() else (root,)


def split_name(name: str) -> tuple[list[str], bool]:
    r"""Split a file name of any system into its parts; the second value says whether it lies in the corpus's own folders.

    >>> split_name("images\\a.jpg"), split_name("/home/me/b.jpg"), split_name("https://host/x/c%20d.jpg?key=1")
    ((['images', 'a.jpg'], True), (['home', 'me', 'b.jpg'], False), (['x', 'c d.jpg'], False))
    """
    if not name or len(name) > LIMITS.id_characters or "\0" in name or not is_valid_text(name):
        return [], False
    text, inside = name, True
    if "?d=" in text:  # Label Studio's local files
        text, inside = unquote(text.partition("?d=")[2]), False
    elif _URL.match(text):
        try:
            text, inside = unquote(urlsplit(text).path), False
        except ValueError:
            return [], False
    text = text.replace("\\", "/")
    if _DRIVE.match(text):
        text, inside = text[2:], False
    inside = inside and not text.startswith("/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        parts, inside = parts[len(parts) - parts[::-1].index("..") :], False
    return ([], False) if "\0" in text else (parts, inside)


def find_named(folder: Path, name: str) -> Path | None:
    """The file that a record of others names, below a folder; `None` if the name leads out of it.

    An absolute name is looked for by what follows the folder's own name in it, and by its last parts with a folder among them; its last
    part alone could be that of another photo.
    """
    parts, inside = split_name(name)
    if inside and parts:
        return resolve_inside(folder, "/".join(parts))
    if (path := resolve_inside(folder, name)) is not None and path.is_file():
        return path
    ends = ["/".join(parts[place + 1 :]) for place, part in enumerate(parts[:-1]) if part == folder.resolve().name]
    ends += ["/".join(parts[start:]) for start in range(len(parts) - 1)]
    found = (resolve_inside(folder, end) for end in ends)
    return next((path for path in found if path is not None and path.is_file()), None)


def is_inside(name: str) -> bool:
    """Whether a file name from an annotation file points into its folder.

    >>> is_inside("val2017/1.jpg"), is_inside("../../etc/passwd"), is_inside("/etc/passwd")
    (True, False, False)
    """
    return bool(name) and name[0] != "/" and ".." not in name.split("/") and not any(bad in name for bad in ("\\", "\0", ":"))
