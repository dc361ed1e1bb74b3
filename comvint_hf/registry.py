"""Sources, recipes, benchmarks and measures by name: built-in, installed, or in one file of a user's own.

A name is looked up among the registered and built-in entries, then among the entry points of installed packages (groups
`comvint_hf.sources`, `.recipes`, `.benchmarks`, `.measures`), then as a module that can be imported from the working directory.
`MODULE:NAME` takes one object out of a module. This module imports no entry before somebody asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from comvint_hf.errors import InputError, SourceError, first_line

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.types import Scene

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Licence:
    """The terms of a corpus: `name` as dataset cards write it, one sentence for people, whether images may be re-hosted."""

    name: str
    text: str = ""
    images_may_be_shared: bool = False


@dataclass(frozen=True)
class Traits:
    """Claims about a source's annotations that the annotator may rely on. By default it relies on nothing but the boxes."""

    rendered: bool = False
    """Images are drawn from the annotations, so names, attributes and boxes are exact and complete."""
    exhaustive: bool = False
    """Every instance of each category in the image is annotated."""
    category_names: bool = False
    """Objects are named by the categories of a fixed list; captions are written independently of them."""
    free_text_names: bool = False
    """Objects, regions and relations are free text of many annotators, who may overlap and contradict each other."""
    phrase_objects: bool = False
    """Objects are phrases of the captions; `scene.meta["grounded_captions"]` holds the captions with their tags."""
    distinct_objects: bool = False
    """No object is annotated twice under different names."""
    reliable_relations: bool = False
    """A stated relation can be seen in the image, and is stated of every object that it holds for."""


@dataclass(frozen=True)
class Source:
    """A corpus: the function that reads its scenes, its terms, its citation, and what may be believed of its annotations."""

    name: str
    scenes: Callable[..., Iterable[Scene]]
    licence: Licence = Licence("unknown", "The source declares no licence.")
    citation: str = ""
    traits: Traits = Traits()
    test_ids: Callable[[], Collection[str]] | None = None
    """The corpus's own ids of its official test images, where it has any; other sources are split by a hash of the id."""
    licence_of: Callable[[str], Licence] | None = None
    """The terms of one location, for a source that reads datasets of others; `licence` then says nothing."""


class Registry(Generic[T]):
    """Entries of one kind by name.

    Args:
        kind: The word for one entry in messages and, in the plural, in the entry point group.
        builtin: `module` (which registers the name by its decorator) or `module:attribute` for each built-in name.
        error: The error raised for an unknown name.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], error: type[InputError] = InputError) -> None:
        self.kind = kind
        self.group = f"comvint_hf.{kind}s"
        self._builtin = dict(builtin)
        self._error = error
        self._entries: dict[str, T] = {}
        self._declared: dict[str, str] = {}  # "module:attribute" -> name

    def add(self, name: str, entry: T, path: str = "") -> T:
        """Register an entry, declared at `path` ("module:attribute"); it replaces an earlier one of the same name."""
        self._entries[name] = entry
        self._declared[path] = name
        return entry

    def names(self) -> tuple[str, ...]:
        """List the names that need no user module: built-in, registered and installed ones."""
        return tuple(dict.fromkeys((*self._builtin, *self._entries, *self._installed)))

    def find(self, name: str) -> T | None:
        """Return the entry of a built-in, registered or installed name; `None` for any other."""
        if name in self._entries:
            return self._entries[name]
        path = self._builtin.get(name) or self._installed.get(name)
        return None if path is None else self._load(name, path)

    def get(self, name: str) -> T:
        """Return the entry of a name, of `MODULE:NAME`, or the one entry that the module `name` registers.

        Raises:
            InputError: If there is no such name, module or attribute, or the module cannot be imported.
        """
        found = self.find(name)
        if found is not None:
            return found
        if ":" in name:
            return self._attribute(name)
        if not _can_import(name):
            raise self._error(
                f"No {self.kind} is called {name!r}: expected {', '.join(self.names())}, "
                f"or a Python module here that declares one with @{self.kind}(...)."
            )
        return self._registered_by(name)

    @cached_property
    def _installed(self) -> dict[str, str]:
        """The entry points of installed packages, read once: `find` is called for every scene."""
        return {point.name: point.value for point in entry_points(group=self.group)}

    def _load(self, name: str, path: str) -> T:
        """Import a built-in or installed entry, which its module may also register by the decorator."""
        if ":" in path:
            entry = self._attribute(path)
            return self._entries.setdefault(name, entry)
        self._import(path)
        return self._entries[name] if name in self._entries else self._registered_by(path)

    def _registered_by(self, module: str) -> T:
        """Return the entry that a module registers: the one of its own name, or its only one."""
        self._import(module)
        declared = [name for path, name in self._declared.items() if path.partition(":")[0] == module]
        if module in declared or len(declared) == 1:
            return self._entries[module if module in declared else declared[0]]
        raise self._error(
            f"The module {module} declares {', '.join(declared) or f'no {self.kind}'}: "
            f"expected one {self.kind}, as in @{self.kind}({module!r})."
        )

    def _attribute(self, path: str) -> T:
        module, _, name = path.partition(":")
        if not _can_import(module):
            raise self._error(
                f"There is no Python module {module!r} for the {self.kind} {path}: run from the folder that holds {module}.py."
            )
        found = getattr(self._import(module), name, None)
        if found is None:
            raise self._error(f"The module {module} has no {name!r}: expected the name of a {self.kind} in it.")
        # A decorated function stays a function; the entry is what its decorator registered.
        return self._entries[self._declared[path]] if path in self._declared else found

    def _import(self, module: str) -> Any:
        try:
            return import_module(module)
        except (ImportError, SyntaxError) as error:
            raise self._error(f"The module {module} of a {self.kind} cannot be imported: {first_line(error)}.") from error


def _can_import(module: str) -> bool:
    """Whether a module can be imported, also from the working directory."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # at the end: a user's file must not hide an installed module
    try:
        return bool(module) and find_spec(module) is not None
    except (ImportError, ValueError):
        return False


sources: Registry[Source] = Registry(
    "source",
    {name: f"comvint_hf.sources.{name}" for name in ("shapes", "coco", "visual_genome", "flickr30k", "voc", "yolo")}
    | dict.fromkeys(("hub", "dataset", "imagefolder"), "comvint_hf.sources.datasets_rows"),
    SourceError,
)
recipes: Registry[Any] = Registry(
    "recipe", {name: f"comvint_hf.generation.recipes.{name}:{name}" for name in ("svit", "comvint", "vlit")}
)
"""Each entry is a `Recipe`, or a function that makes one from its settings."""
benchmarks: Registry[Any] = Registry(
    "benchmark",
    {name: f"comvint_hf.evaluation.benchmarks.{name}" for name in ("mme", "pope", "seed", "chair", "refcoco", "textvqa")},
)
"""Each entry is a `Benchmark`, or a function that returns one."""
measures: Registry[Callable[..., Any]] = Registry(
    "measure", {name: "comvint_hf.quality.measures" for name in ("balance", "yes_bias", "instruction_diversity")}
)
"""Each entry takes the rows of a dataset, without images, and returns a number or numbers by name."""


def find_recipe(name: str) -> Recipe | None:
    """Return a recipe with its default settings; `None` for a name that no built-in or registered recipe has."""
    found = recipes.find(name)
    return found() if callable(found) else found


def find_traits(source: str) -> Traits:
    """Return what may be believed of a source's annotations: nothing for a source that is not known here."""
    found = sources.find(source)
    return found.traits if found else Traits()


def source(
    name: str,
    *,
    licence: Licence = Source.licence,
    citation: str = "",
    traits: Traits = Source.traits,
    test_ids: Callable[[], Collection[str]] | None = None,
    licence_of: Callable[[str], Licence] | None = None,
) -> Callable[[F], F]:
    """Declare the decorated function as the source `name`; see `Source`.

    The function yields `Scene`s with this `source`. It is called with what its parameters name (see `load_scenes`).
    """

    def register(scenes: F) -> F:
        sources.add(name, Source(name, scenes, licence, citation, traits, test_ids, licence_of), _path(scenes))
        return scenes

    return register


def recipe(name: str) -> Callable[[F], F]:
    """Declare the decorated function, which returns a `Recipe`, as the recipe `name`."""
    return _register(recipes, name)


def benchmark(name: str) -> Callable[[F], F]:
    """Declare the decorated function or class as the benchmark `name`."""
    return _register(benchmarks, name)


def measure(name: str) -> Callable[[F], F]:
    """Declare the decorated function as the measure `name`."""
    return _register(measures, name)


def _register(registry: Registry[Any], name: str) -> Callable[[F], F]:
    return lambda declared: registry.add(name, declared, _path(declared))


def _path(declared: Callable[..., Any]) -> str:
    return f"{declared.__module__}:{declared.__qualname__}"
