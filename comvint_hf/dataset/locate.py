"""Whether there is such a folder here, or such a repository on the Hub, and the small files of one."""

from __future__ import annotations

from pathlib import Path

from comvint_hf.errors import InputError, ModelError


def require_place(name: str, kind: str = "model") -> None:
    """Raise `InputError` (`ModelError` for a model) for a folder that is not there, before a library asks the Hub for it for minutes.

    `kind` is "model" or "dataset". What reads like ORG/NAME while ORG is a folder here may be either, so the Hub is asked, once.
    """
    parts, error = Path(name).parts, ModelError if kind == "model" else InputError
    if Path(name).exists():
        return
    if name.startswith((".", "~", "/")) or len(parts) > 2:
        raise error(f"There is no folder {name}; expected the folder of a {kind}, or a name on the Hub like ORG/NAME.")
    if len(parts) == 2 and Path(parts[0]).is_dir() and not _on_hub(name, kind):
        raise error(f"There is no folder {name}, and no {kind} of that name on the Hub as far as can be seen from here.")


def dataset_file(repo_id: str, name: str) -> Path | None:
    """A small file of a dataset repository, from the Hub or the cache; `None` if it has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(repo_id, name, repo_type="dataset"))
    except (EntryNotFoundError, RepositoryNotFoundError):
        return None


def _on_hub(name: str, kind: str) -> bool:
    """Whether the Hub, or its cache here, knows a repository."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.file_download import repo_folder_name

    if Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind)).is_dir():
        return True
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=10)
    except Exception:  # noqa: BLE001 (of any kind: it is not there, not for us, or cannot be asked)
        return False
    return True
