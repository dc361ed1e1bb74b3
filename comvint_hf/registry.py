"""Sources, recipes, benchmarks and measures by name: the package's own, installed ones, and those of a user's file.

A name is looked up in this order: what was registered or comes with the package, Python entry points of installed packages
(groups `comvint_hf.sources`, `.recipes`, `.benchmarks`, `.measures`), then a module of that name that can be imported from the
working directory. `MODULE:NAME` takes one object out of a module without registering it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from comvint_hf.errors import InputError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Objects of one kind by name. Built-in ones are `module:attribute`, imported when first asked for."""

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = f"comvint_hf.{kind}s"
        self._builtin = dict(builtin)
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Register an object under a name; the later of two of the same name counts."""
        self._entries[name] = entry
        return entry

    def names(self) -> tuple[str, ...]:
        """All names that are known without importing a user's module: built-in, registered, installed."""
        installed = (point.name for point in entry_points(group=self.group))
        return tuple(dict.fromkeys((*self._builtin, *self._entries, *installed)))

    def find(self, name: str) -> T | None:
        """The object of a built-in, registered or installed name; `None` for any other."""
        if name in self._entries:
            return self._entries[name]
        if name in self._builtin:
            return self._entries.setdefault(name, _attribute(self._builtin[name]))
        for point in entry_points(group=self.group, name=name):
            loaded = point.load()
            return self._entries.setdefault(name, loaded)
        return None

    def get(self, name: str) -> T:
        """The object of a name, of `MODULE:NAME`, or the one that the module `name` registers.

        Raises:
            InputError: if there is no such name, module or attribute.
        """
        found = self.find(name)
        if found is not None:
            return found
        if ":" in name:
            return _attribute(name, self.kind)
        return self._from_module(name)

    def _from_module(self, name: str) -> T:
        before = set(self._entries)
        if not _importable(name):
            raise InputError(
                f"No {self.kind} is called {name!r}: expected {', '.join(self.names())}, "
                f"or a Python module here that registers one with @{self.kind}({name!r})."
            )
        import_module(name)
        added = [known for known in self._entries if known not in before]
        if name in self._entries or len(added) == 1:
            return self._entries.setdefault(name, self._entries[added[0]] if name not in self._entries else self._entries[name])
        raise InputError(
            f"The module {name} registers {', '.join(added) or 'nothing'}: expected one {self.kind}, by @{self.kind}({name!r})."
        )


def _attribute(path: str, kind: str = "object") -> Any:
    module, _, name = path.partition(":")
    if not _importable(module):
        raise InputError(f"There is no Python module {module!r} for the {kind} {path}: run from the folder that holds {module}.py.")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise InputError(f"The module {module} has no {name!r}: expected the name of a {kind} in it.") from error


def _importable(module: str) -> bool:
    """Whether a module can be imported, from the working directory too."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # at the end, so that a user's file hides no installed module
    try:
        return bool(module) and find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@dataclass(frozen=True)
class Licence:
    """The terms of a corpus: `name` as dataset cards write it, one sentence for people, whether images may be re-hosted."""

    name: str
    text: str
    images_may_be_shared: bool


@dataclass(frozen=True)
class Source:
    """A corpus: how its scenes are read, its terms, whom to cite, and what may be believed of its annotations."""

    name: str
    scenes: Callable[..., Iterator[Any]]
    licence: Licence
    citation: str = ""
    traits: Mapping[str, bool] = field(default_factory=dict)


sources: Registry[Source] = Registry("source", {})
recipes: Registry[Callable[..., Any]] = Registry("recipe", {})
benchmarks: Registry[Any] = Registry("benchmark", {})
measures: Registry[Callable[..., Any]] = Registry("measure", {})
