"""Push a dataset, a model or a Space to the Hub so that all of it arrives or nothing changes, and every build can be loaded again.

This file knows the folders of datasets and models and the terms of photos; how files come to the Hub is `upload`'s.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.card_names import card_on_hub
from comvint_hf.dataset.plot import FOLDER as PICTURES
from comvint_hf.dataset.reader import read_about
from comvint_hf.errors import InputError
from comvint_hf.hub.model_card import CARD, model_card, write_model_card
from comvint_hf.hub.model_files import ADAPTER, BASES, PICKLES, last, portable
from comvint_hf.hub.retry import patiently
from comvint_hf.hub.upload import Files, Place, publish

NEVER_SHARED = {"flickr30k"}
"""Sources whose photos are never pushed, whatever a mix or a repository says of their terms."""


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
    no build wrote are left alone. The commit gets the tag `version_of(folder)`, which `load_dataset(revision=)` takes.
    `revision` is a branch, made if it is new; a new repository is private if `private` says so or, unless told, if a
    source's photos may not be shared; `wait` is the first pause in seconds before another attempt. Raises `InputError` where
    the photos may not be re-hosted, `EndpointError` where the Hub refuses.
    """
    folder = Path(folder)
    about = read_about(folder)
    refuse_unshareable_photos(folder)
    if private is None and _unshareable(about) & {part["source"] for part in about["parts"]}:
        private = True
    files = Files.of(_paths(folder))
    tag = _tag(files)  # of the folder, wherever it goes
    place = _made(repo_id, "dataset", token, wait, private=private)
    card = (folder / CARD).read_text(encoding="utf-8")
    files = files.with_bytes(CARD, card_on_hub(card, place.repo_id).encode())
    if revision:
        place = replace(place, branch=revision)
        patiently(lambda: place.api.create_branch(**place.where, branch=revision, exist_ok=True), wait)
    commit = publish(place, files, _ours, message or f"Dataset of {about['rows']:,} rows")
    patiently(lambda: place.api.create_tag(**place.where, tag=tag, revision=commit, exist_ok=True), wait)
    return place.address(commit)


def _made(repo_id: str, repo_type: str, token: str | bool | None, wait: float, **settings: Any) -> Place:
    """The main branch of a repository, made with these settings if it is new; its name has its owner, given or not."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    made = patiently(lambda: api.create_repo(repo_id, repo_type=repo_type, exist_ok=True, **settings), wait)
    return Place(api, made.repo_id, repo_type, wait=wait)


def push_model(
    folder: Path | str,
    repo_id: str,
    *,
    base: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    wait: float = 1.0,
) -> str:
    """Draw the card of a tuned model's folder and make the model repository hold it, in one commit; gives its address.

    Checkpoints, logs, answers and hidden files stay here, and so does every path of this machine that a file names; weights that
    the folder no longer has are deleted. `base` is the base model's name on the Hub, if tuning began from a folder.
    Raises `InputError` if no tuned model lies in the folder, `EndpointError` where the Hub refuses.
    """
    folder = Path(folder)
    write_model_card(folder, base=base)
    paths = portable(folder, base)
    _warn_of_missing_base(folder, paths)
    place = _made(repo_id, "model", token, wait, private=private)
    files = Files.of(paths).with_bytes(CARD, model_card(folder, base, place.repo_id).encode())
    return place.address(publish(place, files, _weights, "Tuned model, its conventions and its card"))


def _warn_of_missing_base(folder: Path, paths: Mapping[str, Path | bytes]) -> None:
    """Say so if an adapter goes out that nobody else can use."""
    if ADAPTER not in paths:
        return
    key = BASES[ADAPTER][0]
    sent = paths[ADAPTER]
    if not json.loads(sent if isinstance(sent, bytes) else sent.read_bytes()).get(key):
        here = last(json.loads((folder / ADAPTER).read_bytes()).get(key)) or "nowhere"
        warnings.warn(
            f"The adapter's base is a folder of this machine ({here}), so nobody else can load it: push the base too, then the adapter "
            "again with its name (comvint push --base ORG/NAME).",
            stacklevel=3,
        )


def is_model(folder: Path | str) -> bool:
    """Whether a folder holds a model or an adapter, and no dataset."""
    return any((Path(folder) / name).exists() for name in ("config.json", ADAPTER)) and not (Path(folder) / "build.json").exists()


def _weights(name: str) -> bool:
    """Whether a file in a model repository goes where the folder has none: weights, and the pickles that trainers push."""
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
    """Create or update a Gradio Space: its variables, then its files by their path there, in one commit; gives its address.

    Wheels of an earlier push are deleted. Raises `EndpointError` where the Hub refuses.
    """
    place = _made(repo_id, "space", token, wait, private=private, space_sdk="gradio")
    for variable in variables.items():
        patiently(partial(place.api.add_space_variable, place.repo_id, *variable), wait)
    publish(place, Files.of(files), lambda name: "/" not in name and name.endswith(".whl"), "The page and its package")
    return f"{place.api.endpoint}/spaces/{place.repo_id}"


def version_of(folder: Path | str) -> str:
    """The tag that a push gives to this folder's content: equal files have equal tags."""
    return _tag(Files.of(_paths(Path(folder))))


def _tag(files: Files) -> str:
    return f"build-{files.digest}"


def refuse_unshareable_photos(folder: Path) -> None:
    """Raise `InputError` if the folder holds photos whose source forbids re-hosting (Flickr30k's).

    The rows themselves are asked where they come from: a mix may hold the photos of one source beside the text of another.
    """
    about = read_about(folder)
    for name in about["files"]:
        if held := _unshareable(about) & _sources_of_photos(folder / name):
            raise InputError(
                f"{folder / name} holds photos of {min(held)}, which may not be re-hosted: build it again with --store-images "
                "none and push that; `attach_images` joins the photos on each user's machine."
            )


def _unshareable(about: dict[str, Any]) -> set[str]:
    """The sources that say so of their photos, and those known for it."""
    return NEVER_SHARED | {part["source"] for part in about["parts"] if not part["licence"]["share_images"]}


def _sources_of_photos(path: Path) -> set[str]:
    """The sources of the rows of a file that holds photos; nothing for a file without photos."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = set(pq.read_schema(path).names)
    if not names & {"images", "image"}:
        return set()
    if "source" in names:
        return set(pc.unique(pq.read_table(path, columns=["source"])["source"]).to_pylist())
    return {image_id.partition("/")[0] for image_id in pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()}


def _paths(folder: Path) -> dict[str, Path]:
    """The files of a dataset folder, by their path in the repository."""
    names = [*read_about(folder)["files"], *(name for name in shards.WRITTEN if (folder / name).exists())]
    names += [path.relative_to(folder).as_posix() for path in (folder / PICTURES).glob("*.png")]
    return {name: folder / name for name in names}


def _ours(name: str) -> bool:
    """Whether a file in a repository is one that a build writes; what people add beside it is left alone."""
    top, _, file = name.partition("/")
    drawn = top == PICTURES and file.endswith(".png")
    return name in shards.WRITTEN or drawn or (top in shards.FOLDERS and file.endswith(".parquet"))
