"""Old import paths: `_deprecated.toml` maps them to new ones, which work with a DeprecationWarning until the next version."""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

PACKAGE = "comvint_hf"


@cache
def read_table() -> dict[str, dict[str, str]]:
    """Read the table: `modules` maps old modules and packages to new ones, `names` old "module.name"s to new ones."""
    import tomllib
    from importlib.resources import files  # a Space imports the package from a zipped wheel

    return tomllib.loads(files(PACKAGE).joinpath("_deprecated.toml").read_text(encoding="utf-8"))


def find_new_module(old: str) -> str | None:
    """Find the new path of an old module, without "comvint_hf."; a module that is not listed keeps its name in a moved package."""
    modules = read_table()["modules"]
    if old in modules:
        return modules[old]
    package, _, name = old.rpartition(".")
    return f"{modules[package]}.{name}" if package in modules else None


class DeprecatedFinder:
    """Imports an old module as a proxy of the new one. It stands last in `sys.meta_path`, so it sees missing modules only."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        new = find_new_module(old) if package == PACKAGE else None
        try:
            if new is None or find_spec(f"{PACKAGE}.{new}") is None:
                return None
        except ModuleNotFoundError:  # an old name that is gone, which `from ... import` tries as a module
            return None
        return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]  # the protocol is enough; importlib.abc is slow

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.removeprefix(f"{PACKAGE}.")
        new = find_new_module(old)
        import_module(f"{PACKAGE}.{new}")
        _warn(module.__name__, f"{PACKAGE}.{new}")
        vars(module)["__getattr__"] = forward_names(old, new)


def forward_names(old: str, new: str | None = None) -> Callable[[str], Any]:
    """Make a module's `__getattr__` that finds the old names listed for `old`, and all names of the module `new`."""

    def get(name: str) -> Any:
        listed = read_table()["names"].get(f"{old}.{name}")
        if name.startswith("__") or not (listed or new):
            raise AttributeError(f"module '{PACKAGE}.{old}' has no attribute {name!r}")
        module, _, attribute = (listed or f"{new}.{name}").rpartition(".")
        if listed:
            _warn(f"{PACKAGE}.{old}.{name}", f"{PACKAGE}.{listed}")
        return getattr(import_module(f"{PACKAGE}.{module}"), attribute)

    return get


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}; the old name will be removed in the next version.", DeprecationWarning, stacklevel=3)


def install() -> None:
    """Let old modules be imported."""
    if not any(isinstance(finder, DeprecatedFinder) for finder in sys.meta_path):
        sys.meta_path.append(DeprecatedFinder())
