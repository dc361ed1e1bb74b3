"""The settings of datatrove's executors, as a command line gives them: NAME=VALUE, again for lists and tables."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from comvint_hf.errors import InputError

_OURS = {"self", "pipeline", "tasks", "depends", "skip_completed", "start_method", "local_tasks", "local_rank_offset"}


def read_settings(kind: type, given: Iterable[str], executor: str) -> dict[str, Any]:
    """Read "name=value" settings of an executor's class: numbers where they look like one, lists and tables piece by piece.

    `sbatch_args=account=me` is an entry of a table, `dependencies=datatrove` of a list. Raises `InputError` for a name that
    the executor does not know, and where it wants one that was not given.
    """
    known = {name: one for name, one in inspect.signature(kind.__init__).parameters.items() if name not in _OURS}
    read: dict[str, Any] = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals or name not in known:
            raise InputError(
                f"--executor-set {setting}: expected NAME=VALUE, where the names of {executor} are {', '.join(sorted(known))}."
            )
        form = str(known[name].annotation)
        if "dict" in form:
            key, _, held = value.partition("=")
            read.setdefault(name, {})[key] = held
        elif "list" in form:
            read.setdefault(name, []).append(value)
        else:
            read[name] = _value(value, form)
    missing = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in read]
    if missing:
        raise InputError(f"--executor {executor} needs {' and '.join(f'--executor-set {name}=...' for name in missing)}.")
    return read


def _value(text: str, form: str) -> Any:
    """A setting's value in the form that its annotation asks for; what is no number stays text, as in a timeout of "2h"."""
    if "bool" in form:
        return text.lower() in ("true", "yes", "1")
    for kind in (int, float):
        if kind.__name__ in form:
            try:
                return kind(text)
            except ValueError:
                continue
    return text
