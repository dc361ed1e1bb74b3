"""Make a branch of a Hub repository hold exactly a set of files, in one commit that everybody sees at once.

What the branch holds already, by content, is not sent again. A change of more files than one commit should carry is first
committed in portions to a staging branch, which nobody reads; then one commit on the real branch takes the files from
there by their hashes. Every commit names its parent, so one that somebody overtook is refused and made anew on the new
parent. An interrupted upload goes on where it was. This file knows files and repositories; it knows no dataset.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comvint_hf.errors import ComvintError, EndpointError, first_line
from comvint_hf.hub.retry import patiently

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi
    from huggingface_hub.hf_api import RepoFile

MOST_FILES = 90
"""The Hub advises fewer than 100 files a commit."""
STAGING = "comvint-staging-"


@dataclass(frozen=True)
class Place:
    """A branch of a repository on the Hub; `wait` is the first pause in seconds after a failure."""

    api: HfApi
    repo_id: str
    repo_type: str
    branch: str = "main"
    wait: float = 1.0

    @property
    def where(self) -> dict[str, str]:
        return {"repo_id": self.repo_id, "repo_type": self.repo_type}

    def state(self, branch: str | None = None) -> tuple[str, dict[str, RepoFile]]:
        """The newest commit of a branch (this one unless told), and the files in it by path."""
        from huggingface_hub.hf_api import RepoFile

        head = self.api.repo_info(**self.where, revision=branch or self.branch).sha
        tree = self.api.list_repo_tree(**self.where, revision=head, recursive=True)
        return head, {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}

    def address(self, commit: str) -> str:
        """Where people see a commit."""
        kind = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{self.api.endpoint}/{kind}{self.repo_id}/commit/{commit}"


@dataclass(frozen=True)
class Files:
    """The files that a branch shall hold, by path, and their content as one hash."""

    additions: dict[str, CommitOperationAdd]

    @classmethod
    def of(cls, paths: Mapping[str, Path | bytes]) -> Files:
        """The files at these paths, or with these bytes."""
        from huggingface_hub import CommitOperationAdd

        return cls({name: CommitOperationAdd(name, path) for name, path in sorted(paths.items())})

    def with_bytes(self, name: str, content: bytes) -> Files:
        """The same files, one of them with this content instead."""
        return Files(self.additions | Files.of({name: content}).additions)

    @property
    def digest(self) -> str:
        """Equal for equal files under equal paths: 12 hexadecimal digits."""
        hashed = hashlib.sha256()
        for name, addition in self.additions.items():
            hashed.update(f"{name} {addition.upload_info.sha256.hex()}\n".encode())
        return hashed.hexdigest()[:12]

    def missing(self, there: Mapping[str, RepoFile]) -> list[CommitOperationAdd]:
        """New operations for the files that are not `there`, or with another content; hashes are not computed again."""
        from huggingface_hub import CommitOperationAdd

        fresh = []
        for name, addition in self.additions.items():
            if name not in there or not _same(addition, there[name]):
                fresh.append(CommitOperationAdd(name, addition.path_or_fileobj))
                fresh[-1].upload_info = addition.upload_info
        return fresh


def _same(addition: CommitOperationAdd, there: RepoFile) -> bool:
    if addition.upload_info.size != there.size:
        return False
    if there.lfs:
        return addition.upload_info.sha256.hex() == there.lfs.sha256
    with addition.as_file() as file:
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == there.blob_id


def publish(place: Place, files: Files, replaces: Callable[[str], bool], message: str) -> str:
    """Make the branch hold these files and no other that `replaces` names; gives the commit that holds them.

    Raises `EndpointError` where the Hub refuses or keeps failing; the branch then holds what it held.
    """
    commit = patiently(lambda: _switch(place, files, replaces, message), place.wait)
    if len(files.additions) > MOST_FILES:
        _tidy(place)
    return commit


def _switch(place: Place, files: Files, replaces: Callable[[str], bool], message: str) -> str:
    from huggingface_hub import CommitOperationDelete

    parent, there = place.state()
    changes: list[CommitOperationAdd | CommitOperationCopy] = [*files.missing(there)]
    gone = [CommitOperationDelete(name, is_folder=False) for name in there if replaces(name) and name not in files.additions]
    if not changes and not gone:
        return parent
    if len(changes) > MOST_FILES:
        staged, held = _stage(place, files, parent)
        changes = [_taken(change, staged, held) for change in files.missing(there)]
    made = place.api.create_commit(
        **place.where, operations=[*gone, *changes], commit_message=message, revision=place.branch, parent_commit=parent
    )
    return made.oid


def _stage(place: Place, files: Files, start: str) -> tuple[str, dict[str, RepoFile]]:
    """Bring all files to the staging branch, a portion a commit; gives its newest commit and what is in it."""
    branch = STAGING + files.digest

    def portion() -> tuple[str, dict[str, RepoFile], list[CommitOperationAdd]]:
        place.api.create_branch(**place.where, branch=branch, revision=start, exist_ok=True)
        head, there = place.state(branch)
        if left := files.missing(there):
            now = left[:MOST_FILES]
            told = f"Stage {len(now)} of {len(left)} files"
            place.api.create_commit(**place.where, operations=now, commit_message=told, revision=branch, parent_commit=head)
        return head, there, left

    before = None
    while True:
        head, there, left = patiently(portion, place.wait)
        names = [addition.path_in_repo for addition in left]
        if not names:
            return head, there
        if names == before:
            raise EndpointError(
                f"The Hub took {names[0]} and does not list it: see whether a .gitignore in {place.repo_id} names it, and push again."
            )
        before = names


def _taken(change: CommitOperationAdd, staged: str, held: Mapping[str, RepoFile]) -> CommitOperationAdd | CommitOperationCopy:
    """Take a large file from the staging branch by its hash; a small one is simply sent."""
    from huggingface_hub import CommitOperationCopy

    name = change.path_in_repo
    return CommitOperationCopy(name, name, src_revision=staged) if held[name].lfs else change


def _tidy(place: Place) -> None:
    """Delete staging branches; an upload that still needs one makes it again, and sends no file twice for that."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        refs = patiently(lambda: place.api.list_repo_refs(**place.where), place.wait)
        for name in [branch.name for branch in refs.branches if branch.name.startswith(STAGING)]:
            place.api.delete_branch(**place.where, branch=name)
    except (HfHubHTTPError, ComvintError) as error:
        warnings.warn(f"A staging branch is left in {place.repo_id} ({first_line(error)}); it may be deleted.", stacklevel=2)
