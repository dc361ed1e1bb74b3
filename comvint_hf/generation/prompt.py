"""A prompt is a file named after its stage, and the blanks that fill it.

It keeps its name and its blanks beside the text, so that `AnnotationLLM` can answer from the scene without reading the
text, which is rendered only when somebody looks at it. This file knows no language model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined, Template, TemplateNotFound, meta

from comvint_hf.errors import InputError
from comvint_hf.grounding import box_text
from comvint_hf.types import Sample, Scene

FOLDER = Path(__file__).parent / "prompts"
RECIPES = Path(__file__).parent / "recipes"
_folders: list[Path] = [FOLDER]


@cache
def _environment() -> Environment:
    own = {folder.name: FileSystemLoader(folder / "prompts") for folder in RECIPES.iterdir() if (folder / "prompts").is_dir()}
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(_folders), PrefixLoader(own)]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["box"] = box_text
    return environment


def add_prompts(folder: Path | str) -> None:
    """Look for prompts in `folder` too, before the package's own: how a user's recipe brings its prompts."""
    _folders.insert(0, Path(folder))
    for known in (_environment, _template, prompt_hash):
        known.cache_clear()


@cache
def _template(name: str) -> Template:
    try:
        return _environment().get_template(f"{name}.jinja")
    except TemplateNotFound as error:
        places = ", ".join(map(str, _folders))
        raise InputError(
            f"No prompt {name}.jinja under {places}; add its folder with comvint_hf.generation.prompt.add_prompts."
        ) from error


@cache
def prompt_hash(name: str) -> str:
    """Twelve hex digits of the prompt file's text and of what it imports: what `comvint.json` stores as its version."""
    return hashlib.sha256("".join(_sources(f"{name}.jinja")).encode()).hexdigest()[:12]


def _sources(file: str) -> Iterator[str]:
    """The text of a prompt file, then of those it imports."""
    source, _, _ = _environment().loader.get_source(_environment(), file)
    yield source
    for imported in meta.find_referenced_templates(_environment().parse(source)):
        yield from _sources(imported)


class Prompt:
    """One question to an LLM: `Prompt("comvint/complicate", sample=sample)`.

    Every prompt has the blank `scene`, taken from `sample` when that is given. A blank that the file names and nobody
    fills raises `InputError` when the text is read.
    """

    def __init__(self, name: str, /, **blanks: Any) -> None:
        self.name = name
        self.blanks = blanks
        if "scene" not in blanks and "sample" in blanks:
            blanks["scene"] = blanks["sample"].scene

    @property
    def scene(self) -> Scene:
        return self.blanks["scene"]

    @property
    def salt(self) -> str:
        """What tells two askings of the same text apart: the attempt and the generation."""
        return f"{self.blanks.get('attempt', 0)}/{self.blanks.get('generation', 0)}"

    @property
    def sample(self) -> Sample:
        return self.blanks["sample"]

    @cached_property
    def text(self) -> str:
        """The rendered text. Raises `InputError` where a blank is left empty."""
        from jinja2 import UndefinedError

        try:
            return _template(self.name).render(**self.blanks).strip()
        except UndefinedError as error:
            raise InputError(f"Prompt {self.name}: {error.message}; it was given {', '.join(self.blanks)}.") from error

    def __repr__(self) -> str:
        return f"Prompt({self.name!r}, {', '.join(self.blanks)})"
