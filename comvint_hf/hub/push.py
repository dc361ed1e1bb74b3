"""Push a dataset, a model or a Space to the Hub in one commit: all of it arrives, or nothing changes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from comvint_hf import registry
from comvint_hf.dataset import shards
from comvint_hf.dataset.card_text import render_hub_card
from comvint_hf.dataset.integrity import require_integrity
from comvint_hf.dataset.reader import read_build_info
from comvint_hf.errors import InputError
from comvint_hf.hub.model_card import CARD, render_model_card, write_model_card
from comvint_hf.hub.model_files import ADAPTER, BASES, PICKLES, collect_files, short_name
from comvint_hf.hub.retry import with_retries
from comvint_hf.hub.review import review_folder
from comvint_hf.hub.upload import Branch, FileSet, commit_files


def push(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool | None = None,
    keep_card: bool = False,
    revision: str | None = None,
    message: str | None = None,
    token: str | bool | None = None,
    wait: float = 1.0,
    tell: Callable[[str], object] = warnings.warn,
) -> str:
    """Push a dataset folder to the Hub in one commit.

    The repository then holds exactly the dataset's files, each as it was written: unchanged ones are not uploaded again, shards that the folder no longer has
    are deleted, and files that no build wrote stay. The commit gets the tag `version_tag(folder)` for `load_dataset(revision=)`.

    Args:
        folder: A folder that `build` or `mix` wrote.
        repo_id: ORG/NAME, created if it is new.
        private: Whether a new repository is private; by default only if the images of a source may not be shared.
        keep_card: Whether to publish a README.md that the build did not write like that.
        revision: A branch, created if it is new; the main branch by default.
        message: The commit message.
        token: As in `huggingface_hub`.
        wait: Seconds before the first retry.
        tell: Called with each sentence about what is not uploaded, and about what the card names.

    Returns:
        The URL of the commit.

    Raises:
        InputError: If the folder holds images that may not be re-hosted, a file is damaged, or something is not of the build; see
            `review_folder`. Nothing is uploaded then.
        EndpointError: If the Hub refuses.
    """
    folder = Path(folder)
    review = review_folder(folder, keep_card=keep_card)
    build_info = read_build_info(folder)
    files = FileSet.from_paths(review.files)
    # Uploading needs the same hashes, so that checking costs nothing.
    known = {folder / name: addition.upload_info.sha256.hex() for name, addition in files.additions.items()}
    require_integrity(folder, known.__getitem__)
    for notice in review.notices:
        tell(notice)
    check_image_licences(folder)
    # Terms that forbid sharing images may restrict the annotations too; the user decides when to publish.
    if private is None and not all(_is_shareable(part["source"], build_info) for part in build_info["parts"]):
        private = True
    tag = _tag(files)  # of the folder's own card, so that it does not depend on the repository
    branch = _create_repo(repo_id, "dataset", token, wait, private=private)
    card = (folder / CARD).read_text(encoding="utf-8")
    files = files.with_bytes(CARD, render_hub_card(card, branch.repo_id).encode())
    if revision:
        branch = replace(branch, name=revision)
        with_retries(lambda: branch.api.create_branch(**branch.repo, branch=revision, exist_ok=True), wait)
    commit = commit_files(branch, files, _is_build_file, message or f"Dataset of {build_info['rows']:,} rows")
    tagged = f"The new version is complete, and only its tag {tag} is missing"
    with_retries(lambda: branch.api.create_tag(**branch.repo, tag=tag, revision=commit, exist_ok=True), wait, tagged)
    return branch.commit_url(commit)


def _create_repo(repo_id: str, repo_type: str, token: str | bool | None, wait: float, **settings: Any) -> Branch:
    """Create a repository with these settings if it is new, and return its main branch; its name then includes the owner."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    created = with_retries(lambda: api.create_repo(repo_id, repo_type=repo_type, exist_ok=True, **settings), wait)
    return Branch(api, created.repo_id, repo_type, wait=wait)


def push_model(
    folder: Path | str,
    repo_id: str,
    *,
    base: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    wait: float = 1.0,
) -> str:
    """Write the card of a tuned model and push its folder to the Hub in one commit.

    Checkpoints, logs, answers, hidden files and local paths inside files are not uploaded; weights that the folder no longer has are
    deleted.

    Args:
        folder: The output folder of tuning.
        repo_id: ORG/NAME, created if it is new.
        base: The base model's name on the Hub, if tuning began from a folder.
        private: Whether a new repository is private.
        token: As in `huggingface_hub`.
        wait: Seconds before the first retry.

    Returns:
        The URL of the commit.

    Raises:
        InputError: If the folder holds no tuned model.
        EndpointError: If the Hub refuses.
    """
    folder = Path(folder)
    write_model_card(folder, base=base)
    paths = collect_files(folder, base)
    _warn_of_local_base(folder, paths)
    branch = _create_repo(repo_id, "model", token, wait, private=private)
    files = FileSet.from_paths(paths).with_bytes(CARD, render_model_card(folder, base, branch.repo_id).encode())
    return branch.commit_url(commit_files(branch, files, _is_weights, "Tuned model, its conventions and its card"))


def _warn_of_local_base(folder: Path, paths: Mapping[str, Path | bytes]) -> None:
    """Warn if an adapter is pushed whose base nobody else can load."""
    if ADAPTER not in paths:
        return
    key, content = BASES[ADAPTER][0], paths[ADAPTER]
    if not json.loads(content if isinstance(content, bytes) else content.read_bytes()).get(key):
        local = short_name(json.loads((folder / ADAPTER).read_bytes()).get(key)) or "unknown"
        warnings.warn(
            f"The adapter's base is a folder of this machine ({local}), so nobody else can load it: push the base too, then the adapter "
            "again with its name (comvint push --base ORG/NAME).",
            stacklevel=3,
        )


def is_model(folder: Path | str) -> bool:
    """Whether a folder holds a model or an adapter and not a dataset."""
    return any((Path(folder) / name).exists() for name in ("config.json", ADAPTER)) and not (Path(folder) / "build.json").exists()


def _is_weights(name: str) -> bool:
    """Whether a push deletes this file if the folder has none: weights, and pickles that trainers have pushed."""
    return "/" not in name and name.endswith((".safetensors", ".safetensors.index.json", *PICKLES))


def push_space(
    repo_id: str,
    files: Mapping[str, Path],
    variables: Mapping[str, str],
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    wait: float = 1.0,
) -> str:
    """Create or update a Gradio Space in one commit. Wheels of earlier pushes are deleted.

    Args:
        repo_id: ORG/NAME, created if it is new.
        files: Local files by their path in the Space.
        variables: The Space's environment variables.
        private: Whether a new Space is private.
        token: As in `huggingface_hub`.
        wait: Seconds before the first retry.

    Returns:
        The Space's URL.

    Raises:
        EndpointError: If the Hub refuses.
    """
    branch = _create_repo(repo_id, "space", token, wait, private=private, space_sdk="gradio")
    for variable in variables.items():
        with_retries(partial(branch.api.add_space_variable, branch.repo_id, *variable), wait)
    commit_files(
        branch,
        FileSet.from_paths(files),
        lambda name: "/" not in name and name.endswith(".whl"),
        "The page and its package",
    )
    return f"{branch.api.endpoint}/spaces/{branch.repo_id}"


def version_tag(folder: Path | str) -> str:
    """Return the tag that a push gives to this folder's content; equal files have equal tags."""
    return _tag(FileSet.from_paths(review_folder(Path(folder), keep_card=True).files))


def _tag(files: FileSet) -> str:
    return f"build-{files.digest}"


def check_image_licences(folder: Path) -> None:
    """Raise `InputError` if the folder holds images whose source forbids re-hosting, such as Flickr30k.

    The rows themselves say where they come from: a mix may hold images of one source and only text of another.
    """
    build_info = read_build_info(folder)
    for name in build_info["files"]:
        if sources := sorted(source for source in _image_sources(folder / name) if not _is_shareable(source, build_info)):
            raise InputError(
                f"{folder / name} holds images of {sources[0]}, which may not be re-hosted: build it again with --store-images "
                "none and push that; `attach_images` joins the images on each user's machine."
            )


def _is_shareable(source: str, build_info: dict[str, Any]) -> bool:
    """Whether images of a source may be shared: by its own declaration, whatever a part says, and by its parts."""
    declared = registry.sources.find(source)
    if declared and not declared.licence_of and not declared.licence.images_may_be_shared:
        return False
    return all(part["licence"]["share_images"] for part in build_info["parts"] if part["source"] == source)


def _image_sources(path: Path) -> set[str]:
    """Return the sources of the images in a file; none for a file without images."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = set(pq.read_schema(path).names)
    if not names & {"images", "image"}:
        return set()
    if not names & {"source", "image_id"}:
        raise InputError(f"{path} holds images and does not say of which source: build the dataset anew.")
    if "source" in names:
        return set(pc.unique(pq.read_table(path, columns=["source"])["source"]).to_pylist())
    return {image_id.partition("/")[0] for image_id in pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()}


def _is_build_file(name: str) -> bool:
    """Whether a file in a repository is one that a build writes; other people's files stay."""
    top, _, file = name.partition("/")
    is_plot = top == shards.PLOTS and file.endswith(".png")
    return name in shards.METADATA_FILES or is_plot or (top in shards.FOLDERS and file.endswith(".parquet"))
