"""A call that can be made in another process or on another machine, although it needs modules of the working directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError, first_line
from comvint_hf.pipeline.executor.config import import_library


class PickledCall:
    """`function(*arguments)` as bytes, with the folders from which its modules were imported.

    The bytes are read by the call itself, not when this object is unpickled, so that a missing module is an error of the
    worker, which can report it.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = import_library("dill").dumps((function, arguments))
        self._folder = str(Path.cwd())
        installed = (sys.prefix, sys.base_prefix)  # a worker has its own installation, maybe of another Python
        self._import_path = [str(Path(path).absolute()) for path in sys.path if not path.startswith(installed)]

    def __call__(self, *more: Any) -> Any:
        """Make the call, with `more` arguments after its own.

        Raises:
            InputError: If a module that it needs cannot be imported here.
        """
        import dill

        with suppress(OSError):  # a machine without a common disk has no such folder
            os.chdir(self._folder)
        sys.path += [path for path in self._import_path if path not in sys.path]
        try:
            function, arguments = dill.loads(self._call)
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"A worker cannot import what the build needs ({first_line(error)}): install the module where the workers run, "
                "or give a folder that they share, as PYTHONPATH."
            ) from error
        return function(*arguments, *more)
