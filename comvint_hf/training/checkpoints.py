"""The checkpoints of a run: which of them are whole, and which one a resumed run goes on from.

A process that is killed, or a disk that is full, leaves a checkpoint half-written. Its files are checked without loading them.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import bounded_int, read_json_file

STATE = "trainer_state.json"
_FOLDER = re.compile(r"checkpoint-(\d+)")
_PICKLES = (".pt", ".pth", ".bin")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")


def find_checkpoint(
    resume: str | bool | None, output_dir: Path | str, report: Callable[[str], object] = lambda line: None
) -> str | None:
    """Find the checkpoint folder to resume from.

    Args:
        resume: A path, "true" for the latest whole one under `output_dir`, or `None` to start anew.
        output_dir: The folder of the run.
        report: Told in one sentence if the latest checkpoint is damaged and an earlier one is taken.

    Raises:
        InputError: A checkpoint is asked for and there is none, or none that is whole.
    """
    if resume is None or str(resume).lower() in ("false", "no", ""):
        return None
    if str(resume).lower() not in ("true", "yes", "latest"):
        return str(_check_named(Path(str(resume))))
    damages: dict[str, str] = {}
    for folder in list_checkpoints(output_dir):
        damage = find_damage(folder)
        if damage is None:
            if damages:
                report(f"{_join(damages)}, so training goes on from {folder.name}.")
            return str(folder)
        damages[folder.name] = damage
    if damages:
        raise InputError(
            f"No checkpoint under {output_dir} is whole ({_join(damages)}): start anew without --resume_from_checkpoint, or give "
            "another --output_dir."
        )
    raise InputError(f"There is no checkpoint to resume from under {output_dir}: expected a folder checkpoint-N with its state.")


def _check_named(folder: Path) -> Path:
    """Return a folder that the user named if it is a whole checkpoint. Raises `InputError`."""
    if not folder.is_dir():
        raise InputError(f"There is no checkpoint to resume from under {folder}: expected a folder checkpoint-N with its state.")
    if (damage := find_damage(folder)) is None:
        return folder
    whole = find_whole(folder.parent)
    instead = f"resume from {whole}" if whole else "start anew without --resume_from_checkpoint"
    raise InputError(f"There is no checkpoint to resume from in {folder}, as {damage}: {instead}.")


def _join(damages: dict[str, str]) -> str:
    return "; ".join(f"{name} is damaged: {damage}" for name, damage in damages.items())


def list_checkpoints(output_dir: Path | str) -> list[Path]:
    """List the checkpoint folders of a run, the latest step first."""
    if not Path(output_dir).is_dir():
        return []
    steps = {
        path: int(match[1]) for path in Path(output_dir).iterdir() if (match := _FOLDER.fullmatch(path.name)) and path.is_dir()
    }
    return sorted(steps, key=steps.__getitem__, reverse=True)


def find_whole(output_dir: Path | str) -> Path | None:
    """Find the latest whole checkpoint of a run."""
    return next((folder for folder in list_checkpoints(output_dir) if find_damage(folder) is None), None)


def find_damage(folder: Path) -> str | None:
    """Say what is damaged or missing in a checkpoint; `None` if it is whole as far as sizes, archives and JSON tell."""
    try:
        return _find_damage(folder)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def _find_damage(folder: Path) -> str | None:
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    has_subfolders = any(path.is_dir() for path in folder.iterdir())  # sharded states of DeepSpeed and FSDP
    if STATE not in files:
        return f"{STATE} is missing"
    for path in files.values():
        if damage := _find_file_damage(path):
            return f"{path.name} {damage}"
    if not has_subfolders and not any(path.match(pattern) for path in files.values() for pattern in _WEIGHTS):
        return "its weights are missing"
    # The scheduler's state is written after the optimizer's.
    if not has_subfolders and "scheduler.pt" in files and not any(name.startswith("optimizer") for name in files):
        return "optimizer.pt is missing"
    return None


def _find_file_damage(path: Path) -> str | None:
    if path.suffix == ".safetensors":
        return _find_safetensors_damage(path)
    if path.suffix in _PICKLES:
        return None if zipfile.is_zipfile(path) else "is cut off"
    if path.suffix != ".json":
        return None
    try:
        content = read_json_file(path)
    except InputError:
        return "cannot be read as JSON"
    if path.name == STATE:
        return _find_state_damage(content)
    return _find_missing_shards(path, content) if path.name.endswith(".index.json") else None


def _find_safetensors_damage(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            return None
    except SafetensorError:
        return "is cut off"


def _find_state_damage(content: Any) -> str | None:
    step = content.get("global_step") if isinstance(content, dict) else None
    return None if bounded_int(step, 0, 10**15) is not None else "names no step"


def _find_missing_shards(path: Path, content: Any) -> str | None:
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict):
        return "lists no weights"
    missing = sorted(str(name) for name in set(map(str, shards.values())) if not (path.parent / name).is_file())
    return f"names {missing[0]}, which is missing" if missing else None
