"""The executors by name, as data: where workers run, what they share, and which settings `--executor-set` gives them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from comvint_hf.errors import InputError


@dataclass(frozen=True)
class ExecutorConfig:
    """How workers run at one place, by way of datatrove.

    Args:
        path: The class, as `module:name`; it is imported when workers start.
        shares: What the workers have in common. "machine": the dataset folder, the reply cache and with it the budget.
            "folder": the dataset folder, while each worker has a cache and a part of the budget of its own. "nothing":
            shards and caches are exchanged through a remote folder, the setting `logging_dir`.
        waits: Whether the command waits for the workers. Otherwise they are submitted, with a job that finishes the dataset.
        requires: A library that it needs besides datatrove.
        secrets: Environment variables that are sent to the workers, so that they reach the same endpoint.
        logs: Whether datatrove's log is shown.
        defaults: Settings of the class where `--executor-set` gives none.
    """

    path: str
    shares: Literal["machine", "folder", "nothing"]
    waits: bool = True
    requires: str = "datatrove"
    secrets: tuple[str, ...] = ()
    logs: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


_CLASSES = "comvint_hf.pipeline.executor.clusters"
EXECUTORS = {
    "local": ExecutorConfig("comvint_hf.pipeline.executor.local:LocalExecutor", "machine"),
    "ray": ExecutorConfig(f"{_CLASSES}:RayExecutor", "folder", requires="ray"),
    "slurm": ExecutorConfig(
        f"{_CLASSES}:SlurmExecutor",
        "folder",
        waits=False,
        defaults={"qos": None, "env_command": f'export PATH="{Path(sys.executable).parent}:$PATH"', "job_name": "comvint"},
    ),
    "jobs": ExecutorConfig(
        "datatrove.executor:JobsPipelineExecutor",
        "nothing",
        secrets=("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_BASE_URL"),
        logs=True,  # nothing else names the Jobs
    ),
}
_OURS = {"pipeline", "tasks", "depends", "skip_completed", "start_method", "local_tasks", "local_rank_offset"}


def import_library(name: str) -> Any:
    """Import a module that needs the extra [scale]. Raises `InputError` where a library of it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        library = (error.name or name).split(".")[0]
        raise InputError(
            f"--num-workers and --executor need {library}, which is not installed: pip install '.[scale]' in a clone."
        ) from error


def read_settings(executor_class: type, given: Iterable[str], name: str) -> dict[str, Any]:
    """Read the "name=value" settings of an executor's class: numbers where its annotations say so, else text.

    Lists and tables are given piece by piece: `dependencies=datatrove` adds to a list, `sbatch_args=account=me` to a table.

    Raises:
        InputError: For a setting that the executor does not have, and for a required one that is missing.
    """
    parameters = {key: value for key, value in inspect.signature(executor_class).parameters.items() if key not in _OURS}
    settings: dict[str, Any] = {}
    for setting in given:
        key, equals, value = setting.partition("=")
        if not equals or key not in parameters:
            raise InputError(
                f"--executor-set {setting}: expected NAME=VALUE, where the names of {name} are {', '.join(sorted(parameters))}."
            )
        annotation = str(parameters[key].annotation)
        if "dict" in annotation:
            entry, _, entry_value = value.partition("=")
            settings.setdefault(key, {})[entry] = entry_value
        elif "list" in annotation:
            settings.setdefault(key, []).append(value)
        else:
            settings[key] = _parse_value(value, annotation)
    missing = [key for key, value in parameters.items() if value.default is inspect.Parameter.empty and key not in settings]
    if missing:
        raise InputError(f"--executor {name} needs {' and '.join(f'--executor-set {key}=...' for key in missing)}.")
    return settings


def _parse_value(text: str, annotation: str) -> Any:
    """A setting's value in the type of its annotation. What is no number stays text, as in a timeout of "2h"."""
    if "bool" in annotation:
        return text.lower() in ("true", "yes", "1")
    for number in (int, float):
        if number.__name__ in annotation:
            try:
                return number(text)
            except ValueError:
                continue
    return text
