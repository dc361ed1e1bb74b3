"""Prompts: Jinja files named after their stage, and the blanks that fill them. This module knows no LLM.

A `Prompt` keeps its name and blanks beside its text, so that `AnnotationLLM` can answer from the scene without reading the
text. The text is rendered on first use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import meta

from comvint_hf.errors import InputError
from comvint_hf.types import Sample, Scene

if TYPE_CHECKING:
    from comvint_hf.generation.narrowing import Form

FOLDER = Path(__file__).parent / "prompts"
RECIPES = Path(__file__).parent / "recipes"
_folders: list[Path] = [FOLDER]
_texts: dict[str, str] = {}
_EMPTY_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


# A context variable, because macros of imported files know no blanks.
_image_shown: ContextVar[bool] = ContextVar("comvint_image_shown", default=False)


@contextmanager
def _showing_image(shown: bool) -> Iterator[None]:
    """Let macros know whether the image is attached to the prompt that is rendered: `is_seen()`."""
    token = _image_shown.set(shown)
    try:
        yield
    finally:
        _image_shown.reset(token)


@cache
def _environment() -> jinja2.Environment:
    from comvint_hf.generation import references, scene_lines
    from comvint_hf.grounding import format_box

    # "svit/conversation" is recipes/svit/prompts/conversation.jinja; a user's texts and folders come first.
    own = {folder.parent.name: jinja2.FileSystemLoader(folder) for folder in RECIPES.glob("*/prompts")}
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.DictLoader(_texts), jinja2.FileSystemLoader(_folders), jinja2.PrefixLoader(own)]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters.update(
        box=format_box,
        details=scene_lines.details,
        shown_objects=scene_lines.shown_objects,
        shown_regions=scene_lines.shown_regions,
        shown_relations=scene_lines.shown_relations,
        tied_captions=references.tie_captions,
    )
    environment.globals.update(example_tags=references.example_tags, example_pointers=references.example_pointers)
    environment.globals["is_seen"] = _image_shown.get
    return environment


def add_prompts(prompts: Path | str | Mapping[str, str]) -> None:
    """Add prompts of a user's recipe, which are found before the package's own.

    Args:
        prompts: A folder of files `NAME.jinja`, or the texts by name.
    """
    if isinstance(prompts, Mapping):
        _texts.update({f"{name}.jinja": text for name, text in prompts.items()})
    else:
        _folders.insert(0, Path(prompts))
    for cached in (_environment, _template, prompt_hash):
        cached.cache_clear()


@cache
def _template(name: str) -> jinja2.Template:
    try:
        return _environment().get_template(f"{name}.jinja")
    except jinja2.TemplateNotFound as error:
        raise InputError(
            f"There is no prompt {name}.jinja under {', '.join(map(str, _folders))}: "
            "add its folder with comvint_hf.generation.prompt.add_prompts."
        ) from error


@cache
def prompt_hash(name: str) -> str:
    """Return the prompt's version for `comvint.json`: 12 hex digits of the text of its file and of the files that it imports."""
    return hashlib.sha256("".join(_read_sources(f"{name}.jinja")).encode()).hexdigest()[:12]


def _read_sources(file: str) -> Iterator[str]:
    """The text of a prompt file, then of the files that it imports by a fixed name."""
    loader = _environment().loader
    assert loader is not None
    source, _, _ = loader.get_source(_environment(), file)
    yield source
    for imported in meta.find_referenced_templates(_environment().parse(source)):
        if imported is not None:
            yield from _read_sources(imported)


class Prompt:
    """A question to an LLM, as in `Prompt("comvint/complicate", sample=sample)`.

    Every prompt has the blank `scene`, by default the scene of `sample`, and `cases`, by default one case of its own blanks;
    `see` says whether the image is attached.
    Reading the text of a prompt with an empty blank raises `InputError`.

    Args:
        name: The prompt's file, without its ending.
        make_form: Makes the form of the reply (see `generation.forms`); it is called when a request is sent.
        **blanks: What the text is filled with.
    """

    def __init__(self, name: str, make_form: Callable[[], Form] | None = None, /, **blanks: Any) -> None:
        self.name = name
        self.make_form = make_form
        self.blanks = blanks
        if "scene" not in blanks and "sample" in blanks:
            blanks["scene"] = blanks["sample"].scene

    @property
    def scene(self) -> Scene:
        return self.blanks["scene"]

    def with_image(self) -> Prompt:
        """Return the prompt as it is written for a model that is shown the image too."""
        return Prompt(self.name, self.make_form, **{**self.blanks, "see": True})

    @property
    def salt(self) -> str:
        """The attempt and the generation, which distinguish two requests of the same text."""
        return f"{self.blanks.get('attempt', 0)}/{self.blanks.get('generation', 0)}"

    @property
    def sample(self) -> Sample:
        return self.blanks["sample"]

    @cached_property
    def text(self) -> str:
        """The rendered text. Raises `InputError` for an empty blank."""
        try:
            with _showing_image(bool(self.blanks.get("see"))):
                text = _template(self.name).render(**{"see": False, "cases": [self.blanks], **self.blanks})
            return _EMPTY_LINES.sub("\n\n", text).strip()
        except jinja2.UndefinedError as error:
            raise InputError(
                f"The prompt {self.name} cannot be rendered: {error.message}. It was given {', '.join(self.blanks)}."
            ) from error

    def __repr__(self) -> str:
        return f"Prompt({self.name!r}, {', '.join(self.blanks)})"
