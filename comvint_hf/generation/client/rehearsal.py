"""`RehearsalLLM`: a writer and judge for dry runs that fills in every form completely, in words that mean nothing.

It answers everything that a prompt asks for, in the lengths of `reply_lengths.toml`, and judges with a given pass rate. Its
texts pass the checks, so a recipe goes all the way that it would go with a strong model, and can be counted.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from comvint_hf.errors import ReplyError, first_line
from comvint_hf.generation.llm import R
from comvint_hf.generation.narrowing import narrow
from comvint_hf.generation.prompt import Prompt
from comvint_hf.types import Object, Scene

PASS_RATE = 0.8
"""Share of rewrites that a judge is taken to pass where nothing was measured."""
_LENGTHS_FILE = Path(__file__).parent / "reply_lengths.toml"
_WORDS = """the light falls across an open street where several people walk slowly and talk about their evening while a small
    shop on the corner keeps its door open because warm weather brings many visitors who look for something cold to drink after
    a long day outside with friends under tall trees near water this suggests that everyone here has time to rest before going
    home which would be likely on a quiet weekend when families often meet somewhere close by to share food and play games until
    late so it makes sense to bring an umbrella if clouds gather over distant hills since rain may come quickly in such places
    and then most of them probably move inside or stand beneath the wide roof of nearby buildings"""
_TAGS = re.compile(r"evidence|references?|tags?|objects")
_POSITIONS = re.compile(r"(?:number|index|id|item|sample|pair|position)")
_SEEN = "kite [0.62, 0.10, 0.75, 0.31]"
"""What a seeing model may point at in a scene without annotations."""
_SENTENCE = 15
"""Words."""
_STRIDE = 17


class RehearsalLLM:
    """An LLM that fills in every form; the same prompt gets the same reply.

    Args:
        name: The name of the model that it stands for.
        pass_rate: Share of verdicts that pass.
    """

    deterministic = False  # as a model is asked: once more where something is missing

    def __init__(self, name: str, pass_rate: float = PASS_RATE) -> None:
        self.name = name
        self.pass_rate = pass_rate

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the form. Raises `ReplyError` for a form with demands that its JSON schema does not show."""
        schema = _read_schema(reply_type)
        if prompt.make_form:
            schema = narrow(schema, prompt.make_form())
        try:
            return reply_type.model_validate(_Form(prompt, schema, self.pass_rate).fill(schema))
        except ValidationError as error:
            raise ReplyError(f"the dry run cannot fill in the form of {prompt.name} ({first_line(error)})") from error


@cache
def load_lengths(prompt: str) -> Mapping[str, int]:
    """Load the words of a prompt's text fields, by field; for "items" the items of lists whose number is left open."""
    lengths = tomllib.loads(_LENGTHS_FILE.read_text(encoding="utf-8"))
    return lengths[prompt] if prompt == "items" else lengths["default"] | lengths.get(prompt, {})


@cache
def _read_schema(reply_type: type[R]) -> dict[str, Any]:
    return reply_type.model_json_schema()


@cache
def _list_words() -> tuple[str, ...]:
    return tuple(_WORDS.split())


class _Form:
    """The form of one prompt while it is filled in."""

    def __init__(self, prompt: Prompt, schema: dict[str, Any], pass_rate: float) -> None:
        self._prompt = prompt
        self._definitions = schema.get("$defs", {})
        self._lengths = load_lengths(prompt.name)
        self._random = random.Random(f"{prompt.salt}/{prompt.text}")
        self._pass_rate = pass_rate
        self._tags = _list_tags(prompt.scene) if "scene" in prompt.blanks else {}
        self._points = "<st>" in prompt.text
        self._start = self._random.randrange(len(_list_words()))

    def fill(self, part: dict[str, Any], name: str = "", position: int = 0, passes: bool = True) -> Any:
        """A value for a part of the schema.

        Args:
            name: The field that the part belongs to.
            position: Its place in the list around it.
            passes: Whether the verdict around it passes.
        """
        if "$ref" in part:
            return self.fill(self._definitions[part["$ref"].rsplit("/", 1)[1]], name, position, passes)
        if options := part.get("enum") or ([part["const"]] if "const" in part else []):
            wanted = position + 1 if _POSITIONS.fullmatch(name) else self._find_wanted(position)
            return wanted if wanted in options else self._random.choice(options)
        if choices := part.get("anyOf") or part.get("allOf"):
            choices = [choice for choice in choices if choice.get("type") != "null" and _is_for(choice, position)]
            return self.fill(choices[position % len(choices)], name, position, passes)
        match part.get("type"):
            case "object":
                passes = self._random.random() < self._pass_rate
                fields = part.get("properties", {}).items()
                return {key: self.fill(inner, key, position, passes) for key, inner in fields}
            case "array":
                items = part.get("items") or part.get("prefixItems", [{}])[0]
                return self._fill_list(items, name, self._count_items(part, name))
            case "boolean":
                return passes
            case "integer" | "number":
                number = position + 1 if _POSITIONS.fullmatch(name) else 6
                return min(max(number, part.get("minimum", number)), part.get("maximum", number))
            case _:
                return self._write(part, name)

    def _fill_list(self, items: dict[str, Any], name: str, count: int) -> list[Any]:
        if items.get("enum") or (items.get("type") == "string" and _TAGS.fullmatch(name)):
            values = items.get("enum") or list(self._tags) or [_SEEN]
            return self._random.sample(values, min(count, len(values)))
        return [self.fill(items, name, position) for position in range(count)]

    def _find_wanted(self, position: int) -> Any:
        """The answer that the prompt demands, of several samples that of the one in question."""
        blanks = self._prompt.blanks
        cases = blanks.get("cases", ())
        return cases[position].get("wanted") if position < len(cases) else blanks.get("wanted")

    def _count_items(self, part: dict[str, Any], name: str) -> int:
        """How many items a list gets: what the prompt asks for, within the schema's bounds."""
        items, blanks = load_lengths("items"), self._prompt.blanks
        asked = next((found[name] for found in (blanks, items) if isinstance(found.get(name), int)), None)
        if asked is None:
            asked = blanks.get("count", items["other"])
        return max(min(asked, part.get("maxItems", asked)), part.get("minItems", 0))

    def _write(self, part: dict[str, Any], name: str) -> str:
        """Words that pass the checks: questions differ, and names are pointed at where the prompt shows how."""
        if _TAGS.fullmatch(name) and self._tags:
            return self._random.choice(list(self._tags))
        length = self._lengths.get(name, self._lengths["other"])
        points = "<st>" in part["pattern"] if "pattern" in part else self._points
        vocabulary = _list_words()
        self._start += _STRIDE  # another beginning for each text: no question is asked twice
        words = [vocabulary[(self._start + place) % len(vocabulary)] for place in range(length)]
        if name == "question":
            words[:3] = ["Would", "the", self._name(points)]
            return f"{' '.join(words)}?"
        if name in ("answer", "description"):
            words[:2] = ["The", self._name(points)]
        if length <= 6:
            return " ".join([*words[:-1], str(self._random.randrange(1000))]) if name in ("correct", "wrong") else " ".join(words)
        sentences = (words[place : place + _SENTENCE] for place in range(0, length, _SENTENCE))
        text = " ".join(f"{sentence[0].capitalize()} {' '.join(sentence[1:])}." for sentence in sentences)
        return text[: part.get("maxLength", len(text))]

    def _name(self, points: bool) -> str:
        """The name of something in the scene, pointed at where the reply is to do so."""
        if not self._tags:
            return f"<st>{_SEEN.replace(' [', '<ed>[')}" if points and self._prompt.blanks.get("see") else "picture"
        tag = self._random.choice(list(self._tags))
        return f"<st>{self._tags[tag]}<ed>[{tag}]" if points else self._tags[tag]


def _is_for(choice: dict[str, Any], position: int) -> bool:
    """Whether a variant of a list's items may stand at a position: some name the numbers that they are for."""
    numbers = next(
        (part["enum"] for key, part in choice.get("properties", {}).items() if _POSITIONS.fullmatch(key) and "enum" in part), ()
    )
    return not numbers or position + 1 in numbers


def _list_tags(scene: Scene) -> dict[str, str]:
    """The names of the scene's objects with a box, or of all that it has, by tag."""
    named = {tag: thing.name if isinstance(thing, Object) else "part" for tag, thing in scene.by_tag.items()}
    boxed = {thing.tag: thing.name for thing in scene.objects if thing.boxes}
    return boxed or named
