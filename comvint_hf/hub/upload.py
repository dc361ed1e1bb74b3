"""Make a branch of a Hub repository hold exactly a set of files, in one commit that everybody sees at once.

Files that the branch holds already, by content, are not uploaded. A change of more files than one commit should carry is first
committed in portions to a staging branch; one commit on the real branch then copies the files from there by their hashes. Every
commit names its parent, so one that another commit overtook is refused and made again on the new parent. An interrupted upload
continues where it stopped.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from comvint_hf.errors import ComvintError, EndpointError, first_line
from comvint_hf.hub.retry import with_retries

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

Operation: TypeAlias = "CommitOperationAdd | CommitOperationCopy | CommitOperationDelete"
# Files per commit; the Hub advises fewer than 100.
MAX_FILES = 90
STAGING = "comvint-staging-"


@dataclass(frozen=True)
class Branch:
    """A branch of a repository on the Hub. `wait` is the pause in seconds before the first retry."""

    api: HfApi
    repo_id: str
    repo_type: str
    name: str = "main"
    wait: float = 1.0

    @property
    def repo(self) -> dict[str, Any]:
        """The arguments that name the repository in calls of the API."""
        return {"repo_id": self.repo_id, "repo_type": self.repo_type}

    def read_state(self, name: str | None = None) -> tuple[str, dict[str, RepoFile]]:
        """Return the newest commit of a branch, this one by default, and its files by path."""
        from huggingface_hub.hf_api import RepoFile

        head = self.api.repo_info(**self.repo, revision=name or self.name).sha
        assert head is not None
        tree = self.api.list_repo_tree(**self.repo, revision=head, recursive=True)
        return head, {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}

    def commit(self, operations: list[Operation], message: str, parent: str, name: str | None = None) -> str:
        """Commit to a branch, this one by default, and return the new commit."""
        return self.api.create_commit(
            **self.repo, operations=operations, commit_message=message, revision=name or self.name, parent_commit=parent
        ).oid

    def commit_url(self, commit: str) -> str:
        """Return the web page of a commit."""
        kind = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{self.api.endpoint}/{kind}{self.repo_id}/commit/{commit}"


@dataclass(frozen=True)
class FileSet:
    """The files that a branch should hold, by path."""

    additions: dict[str, CommitOperationAdd]

    @classmethod
    def from_paths(cls, paths: Mapping[str, Path | bytes]) -> FileSet:
        """Collect files from local paths or bytes."""
        from huggingface_hub import CommitOperationAdd

        return cls({name: CommitOperationAdd(name, path) for name, path in sorted(paths.items())})

    def with_bytes(self, name: str, content: bytes) -> FileSet:
        """Return the same files, one of them with other content."""
        return FileSet(self.additions | FileSet.from_paths({name: content}).additions)

    @property
    def digest(self) -> str:
        """A hash of all paths and contents, 12 hexadecimal digits."""
        hashed = hashlib.sha256()
        for name, addition in self.additions.items():
            hashed.update(f"{name} {addition.upload_info.sha256.hex()}\n".encode())
        return hashed.hexdigest()[:12]

    def missing_from(self, present: Mapping[str, RepoFile]) -> list[CommitOperationAdd]:
        """Make operations for the files that are not `present` or have other content there. Hashes are not computed again."""
        from huggingface_hub import CommitOperationAdd

        operations = []
        for name, addition in self.additions.items():
            if name not in present or not _is_same(addition, present[name]):
                operations.append(CommitOperationAdd(name, addition.path_or_fileobj))
                # Hashing a large file is slow, and the hash does not change between attempts.
                operations[-1].upload_info = addition.upload_info
        return operations


def _is_same(addition: CommitOperationAdd, present: RepoFile) -> bool:
    if addition.upload_info.size != present.size:
        return False
    if present.lfs:
        return addition.upload_info.sha256.hex() == present.lfs.sha256
    with addition.as_file() as file:
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == present.blob_id


def commit_files(branch: Branch, files: FileSet, is_replaced: Callable[[str], bool], message: str) -> str:
    """Make the branch hold these files, in one commit.

    Args:
        branch: The branch.
        files: The files it should hold.
        is_replaced: Whether a file of this path is deleted if it is not among `files`.
        message: The commit message.

    Returns:
        The commit that holds the files.

    Raises:
        EndpointError: If the Hub refuses or keeps failing; the branch then holds what it held before.
    """
    commit = with_retries(lambda: _commit(branch, files, is_replaced, message), branch.wait)
    if len(files.additions) > MAX_FILES:
        _delete_staging_branches(branch)
    return commit


def _commit(branch: Branch, files: FileSet, is_replaced: Callable[[str], bool], message: str) -> str:
    from huggingface_hub import CommitOperationDelete

    # Read again on each attempt: another commit may have changed the parent.
    parent, present = branch.read_state()
    changes: list[Operation] = [*files.missing_from(present)]
    outdated = [name for name in present if is_replaced(name) and name not in files.additions]
    if not changes and not outdated:
        return parent
    if len(changes) > MAX_FILES:
        staged, held = _stage(branch, files, parent)
        changes = [_copy_staged(addition, staged, held) for addition in files.missing_from(present)]
    deletions = [CommitOperationDelete(name, is_folder=False) for name in outdated]
    return branch.commit([*deletions, *changes], message, parent)


def _stage(branch: Branch, files: FileSet, start: str) -> tuple[str, dict[str, RepoFile]]:
    """Commit all files to the staging branch in portions, and return its newest commit and its files."""
    name = STAGING + files.digest

    def commit_part() -> tuple[str, dict[str, RepoFile], list[CommitOperationAdd]]:
        branch.api.create_branch(**branch.repo, branch=name, revision=start, exist_ok=True)
        head, present = branch.read_state(name)
        if missing := files.missing_from(present):
            portion: list[Operation] = [*missing[:MAX_FILES]]
            branch.commit(portion, f"Stage {len(portion)} of {len(missing)} files", head, name)
        return head, present, missing

    before = None
    while True:
        head, present, missing = with_retries(commit_part, branch.wait)
        names = [addition.path_in_repo for addition in missing]
        if not names:
            return head, present
        # The Hub drops files that a .gitignore of the repository names; without this check the loop would not end.
        if names == before:
            raise EndpointError(
                f"The Hub accepted {names[0]} and does not list it: check whether a .gitignore in {branch.repo_id} excludes it, and "
                "push again."
            )
        before = names


def _copy_staged(addition: CommitOperationAdd, staged: str, held: Mapping[str, RepoFile]) -> Operation:
    """Copy a large file from the staging branch by its hash; a small one is simply uploaded."""
    from huggingface_hub import CommitOperationCopy

    name = addition.path_in_repo
    return CommitOperationCopy(name, name, src_revision=staged) if held[name].lfs else addition


def _delete_staging_branches(branch: Branch) -> None:
    """Delete staging branches. An upload that still needs one creates it again and uploads no file twice."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        refs = with_retries(lambda: branch.api.list_repo_refs(**branch.repo), branch.wait)
        for name in [ref.name for ref in refs.branches if ref.name.startswith(STAGING)]:
            with_retries(partial(branch.api.delete_branch, **branch.repo, branch=name), branch.wait)
    except (HfHubHTTPError, ComvintError) as error:
        warnings.warn(f"A staging branch is left in {branch.repo_id} ({first_line(error)}); it may be deleted.", stacklevel=2)
