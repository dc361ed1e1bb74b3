"""Check that a folder or Hub repository exists, and download small files of dataset repositories."""

from __future__ import annotations

from pathlib import Path

from comvint_hf.errors import InputError, ModelError


def check_exists(name: str, kind: str = "model") -> None:
    """Check that a folder exists here or may exist on the Hub, before a library asks the Hub for minutes.

    The Hub is asked only about a name like ORG/NAME where ORG is also a folder here.

    Args:
        name: A folder, or a name on the Hub.
        kind: "model" or "dataset".

    Raises:
        ModelError: For a model that does not exist.
        InputError: For a dataset that does not exist.
    """
    parts, error = Path(name).parts, ModelError if kind == "model" else InputError
    if Path(name).exists():
        return
    if name.startswith((".", "~", "/")) or len(parts) > 2:
        raise error(f"There is no folder {name}; expected the folder of a {kind}, or a name on the Hub like ORG/NAME.")
    if len(parts) == 2 and Path(parts[0]).is_dir() and not _is_on_hub(name, kind):
        raise error(f"There is no folder {name}, and no {kind} of that name on the Hub as far as can be seen from here.")


def fetch_dataset_file(repo_id: str, name: str) -> Path | None:
    """Fetch a small file of a dataset repository from the Hub or its cache; `None` if there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(hf_hub_download(repo_id, name, repo_type="dataset"))
    except (EntryNotFoundError, RepositoryNotFoundError):
        return None


def _is_on_hub(name: str, kind: str) -> bool:
    """Whether the Hub or its local cache has a repository."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.file_download import repo_folder_name

    if Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind)).is_dir():
        return True
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=10)
    except Exception:  # noqa: BLE001 (any error: missing, private or unreachable)
        return False
    return True
