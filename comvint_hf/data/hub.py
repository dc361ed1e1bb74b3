"""Push a dataset folder to the Hub so that all of it arrives or nothing changes.

Files are uploaded first, where nobody sees them; then one commit adds, replaces and deletes at once, on top of a known
parent. A commit that the Hub answers with a passing error, or that somebody else overtook, is tried again on the new
parent. This file knows a folder and the Hub; it knows no row.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from comvint_hf.data import shards
from comvint_hf.data.folder import read_about
from comvint_hf.data.pictures import FOLDER as PICTURES
from comvint_hf.errors import EndpointError, InputError

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

T = TypeVar("T")
ATTEMPTS = 6
LONGEST_WAIT = 300.0
PASSING = {408, 409, 412, 429, 500, 502, 503, 504}
"""Statuses that a later attempt may not meet again; 409 and 412 mean that somebody else committed in between."""


def push(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    token: str | bool | None = None,
    wait: float = 1.0,
) -> str:
    """Make the dataset repository `repo_id` hold exactly this folder's files, in one commit; gives the commit's address.

    Unchanged files are not uploaded again; shards that the folder no longer has are deleted in the same commit; files that
    no build wrote are left alone. `revision` is a branch, made if it is new; `wait` is the first pause in seconds
    before another attempt. Raises `InputError` where the photos may not be re-hosted, `EndpointError` where the Hub refuses.
    """
    from huggingface_hub import HfApi

    folder = Path(folder)
    refuse_unshareable_photos(folder)
    api = HfApi(token=token)
    additions = _additions(folder)
    branch = revision or "main"
    _patiently(lambda: api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True), wait)
    if revision:
        _patiently(lambda: api.create_branch(repo_id, repo_type="dataset", branch=revision, exist_ok=True), wait)

    def attempt() -> str:
        fresh = [_again(addition) for addition in additions]
        parent = api.repo_info(repo_id, repo_type="dataset", revision=branch).sha
        api.preupload_lfs_files(repo_id, fresh, repo_type="dataset", revision=branch, free_memory=False)
        commit = api.create_commit(
            repo_id,
            [*_deletions(api, repo_id, parent, {addition.path_in_repo for addition in fresh}), *fresh],
            repo_type="dataset",
            revision=branch,
            parent_commit=parent,
            commit_message=message or f"Dataset of {read_about(folder)['rows']:,} rows",
        )
        return commit.commit_url

    return _patiently(attempt, wait)


def refuse_unshareable_photos(folder: Path) -> None:
    """Raise `InputError` if the folder holds photos whose source forbids re-hosting (Flickr30k's)."""
    about = read_about(folder)
    held = {name.split("/")[0] for name in about["files"]} & {shards.WITH_IMAGES, shards.IMAGES}
    for part in about["parts"]:
        if held and not part["licence"]["share_images"]:
            raise InputError(
                f"{folder} holds photos of {part['source']}, which may not be re-hosted: build it again with --store-images none "
                "and push that; `attach_images` joins the photos on each user's machine."
            )


def _additions(folder: Path) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd

    names = [*read_about(folder)["files"], *(name for name in shards.WRITTEN if (folder / name).exists())]
    names += sorted(path.relative_to(folder).as_posix() for path in (folder / PICTURES).glob("*.png"))
    return [CommitOperationAdd(name, folder / name) for name in names]


def _again(addition: CommitOperationAdd) -> CommitOperationAdd:
    """A new operation for the same file, so that an attempt sees what the Hub holds now; hashes are not computed again."""
    from huggingface_hub import CommitOperationAdd

    fresh = CommitOperationAdd(addition.path_in_repo, addition.path_or_fileobj)
    fresh.upload_info = addition.upload_info
    return fresh


def _deletions(api: HfApi, repo_id: str, parent: str, kept: set[str]) -> list[CommitOperationDelete]:
    """Delete what an earlier build put there and this one does not have."""
    from huggingface_hub import CommitOperationDelete

    there = api.list_repo_files(repo_id, repo_type="dataset", revision=parent)
    return [CommitOperationDelete(name, is_folder=False) for name in there if _ours(name) and name not in kept]


def _ours(name: str) -> bool:
    """Whether a file in a repository is one that a build writes; what people add beside it is left alone."""
    top, _, file = name.partition("/")
    drawn = top == PICTURES and file.endswith(".png")
    return name in shards.WRITTEN or drawn or (top in shards.FOLDERS and file.endswith(".parquet"))


def _patiently(work: Callable[[], T], wait: float) -> T:
    """Try until it works, a passing failure has come back too often, or the failure is for good."""
    attempt = 1
    while True:
        try:
            return work()
        except Exception as error:
            if refusal := _refusal(error):
                raise refusal from error
            if not _passes(error):
                raise
            if attempt == ATTEMPTS:
                raise EndpointError(
                    f"The Hub failed {ATTEMPTS} times, last with: {_first_line(error)} What it holds is whole; push again later."
                ) from error
            time.sleep(_pause(error, wait * 2 ** (attempt - 1)))
        attempt += 1


def _pause(error: Exception, wait: float) -> float:
    """Seconds until the next attempt: as long as the Hub asks for, else `wait`, shaken so that clients do not march in step."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = headers.get("retry-after", "")
    if asked.isdecimal():
        return min(float(asked), LONGEST_WAIT)
    return min(wait, LONGEST_WAIT) * random.uniform(0.75, 1.25)


def _passes(error: BaseException | None) -> bool:
    """Whether a failure, or the one that it wraps, may be gone next time."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if error is None:
        return False
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, httpx2.TransportError) or _passes(error.__cause__)


def _refusal(error: Exception) -> EndpointError | None:
    """What to say where the Hub says that this user may not write; `None` for any other failure."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError) or error.response.status_code not in (401, 403):
        return None
    return EndpointError(
        f"The Hub refuses to be written to ({_first_line(error)}); log in with `hf auth login`, or check the repository's name."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
