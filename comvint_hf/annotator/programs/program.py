"""The annotator's chain of thought as a small program that can be read, printed and evaluated on a scene.

    colour(the(circle; left of the(star)))        What colour is the circle to the left of the star?
    count(any(person; right of the(dog)))         How many people are to the right of the dog?
    use(the(thing; which the(man) is holding))    What is the thing that the man is holding used for?
    is(colour(the(circle)), red)                  Is the circle red?

`the(noun; attributes; where)` is one object, `any(...)` all objects of that description. `execute.py` evaluates
programs on a scene, `language/templates.py` puts them into words; this module knows their form only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from comvint_hf.annotator.facts.geometry import SIDES
from comvint_hf.errors import InputError

ARROW = " => "
THEN = " then "
"""Between the objects of an order."""
THING = "thing"
"""The noun of a reference whose kind is left open: "the thing that the man is holding"."""


class Where(NamedTuple):
    """What narrows a reference. `word` is a side, a verb, "left"/"right" (furthest) or a likeness; `anchor` the other object.

    `does`: it is the subject of the verb ("holding the umbrella"); `done`: its object ("which the man is holding");
    `like`: it has the colour or the shape of something well known ("a coin").
    """

    how: Literal["furthest", "side", "does", "done", "like"]
    word: str
    anchor: Ref | None = None

    def __str__(self) -> str:
        match self.how:
            case "furthest":
                return f"furthest {self.word}"
            case "like":
                return f"{self.how} {self.word}"
            case "done":
                return f"which {self.anchor} is {self.word}"
        return f"{self.word} {self.anchor}"


class Ref(NamedTuple):
    """One object (`the`) or all objects (`any`) of a description."""

    article: Literal["the", "any"]
    noun: str
    attributes: tuple[str, ...] = ()
    where: Where | None = None

    def __str__(self) -> str:
        return f"{self.article}({'; '.join((self.noun, *self.attributes, *([str(self.where)] if self.where else [])))})"

    @property
    def simple(self) -> bool:
        """Whether it is found by its own looks, without another object and without knowledge."""
        return self.where is None or self.where.how == "furthest"


class Program(NamedTuple):
    """A question: its head and what it is about. `is(question, value)` is a program whose first argument is one, too."""

    head: str
    args: tuple[Ref | str | Program, ...] = ()

    def __str__(self) -> str:
        return f"{self.head}({', '.join(map(str, self.args))})"

    @property
    def refs(self) -> tuple[Ref, ...]:
        return tuple([arg for arg in self.args if type(arg) is Ref])

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(arg for arg in self.args if isinstance(arg, str))

    @property
    def claimed(self) -> tuple[Program, str]:
        """The question and the value of a claim, `is(question, value)`."""
        question, value = self.args
        assert isinstance(question, Program)
        return question, str(value)


class Outcome(NamedTuple):
    """A value and the tags it rests on."""

    value: str
    tags: tuple[str, ...]


def the(noun: str, *attributes: str, where: Where | None = None) -> Ref:
    return Ref("the", noun, attributes, where)


def every(noun: str, *attributes: str, where: Where | None = None) -> Ref:
    return Ref("any", noun, attributes, where)


def claim(question: Program, value: str) -> Program:
    """Whether the question's answer is that value."""
    return Program("is", (question, value))


@lru_cache(maxsize=16384)
def parse_program(text: str) -> Program:
    """Read a printed program. Raises `InputError` if the text is none.

    >>> str(parse_program("is(colour(the(circle; left of the(star))), red)"))
    'is(colour(the(circle; left of the(star))), red)'
    """
    head, inside = _call(text.strip())
    return Program(head, tuple(_argument(part) for part in _parts(inside, ",")))


def parse_chain(text: str) -> list[Program]:
    """Read a chain of programs, each one made from the one before. Raises `InputError` for anything else.

    >>> [program.head for program in parse_chain("colour(the(circle)) => is(colour(the(circle)), red)")]
    ['colour', 'is']
    """
    return [parse_program(part) for part in text.split(ARROW)]


def extend(reasoning: str, program: Program) -> str:
    """A chain with one more program at its end."""
    return f"{reasoning}{ARROW}{program}" if reasoning else str(program)


def _call(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([a-z_]+)\((.*)\)", text, re.DOTALL)
    if not match:
        raise InputError(f"Expected a program such as colour(the(circle)), found {text[:80]!r}.")
    return match[1], match[2]


def _parts(text: str, mark: str) -> list[str]:
    """Split at marks outside of brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == mark and not depth:
            parts.append(text[start:place].strip())
            start = place + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def _argument(text: str) -> Ref | str | Program:
    if THEN in text:
        return text
    if text.startswith(("the(", "any(")):
        return parse_ref(text)
    return parse_program(text) if "(" in text else text


@lru_cache(maxsize=16384)
def parse_ref(text: str) -> Ref:
    """Read a printed reference."""
    article, inside = _call(text)
    noun, *rest = _parts(inside, ";")
    if article not in ("the", "any"):
        raise InputError(f"Expected the(...) or any(...), found {text!r}.")
    where = None
    if rest and ("(" in rest[-1] or rest[-1].startswith(("furthest ", "like "))):
        where = _where(rest.pop())
    return Ref("the" if article == "the" else "any", noun, tuple(rest), where)


def _where(text: str) -> Where:
    how: Literal["furthest", "like"]
    for how in ("furthest", "like"):
        if text.startswith(f"{how} "):
            return Where(how, text.removeprefix(f"{how} "))
    if text.startswith("which "):
        anchor, _, verb = text[6:].rpartition(" is ")
        return Where("done", verb, parse_ref(anchor))
    word, _, anchor = text.partition(" the(")
    return Where("side" if word in SIDES else "does", word, parse_ref(f"the({anchor}"))


def refs_in(program: Program) -> Iterator[Ref]:
    """Every reference of a program, outer ones first."""
    for arg in program.args:
        if isinstance(arg, Program):
            yield from refs_in(arg)
        elif isinstance(arg, Ref):
            yield from _nested(arg)


def _nested(ref: Ref) -> Iterator[Ref]:
    yield ref
    if ref.where and ref.where.anchor:
        yield from _nested(ref.where.anchor)


def replace(program: Program, old: Ref, new: Ref) -> Program:
    """The program with one reference put for another, at any depth."""
    args = tuple(
        replace(arg, old, new) if isinstance(arg, Program) else _replace_in(arg, old, new) if isinstance(arg, Ref) else arg
        for arg in program.args
    )
    return Program(program.head, args)


def _replace_in(ref: Ref, old: Ref, new: Ref) -> Ref:
    if ref == old:
        return new
    if ref.where and ref.where.anchor:
        return ref._replace(where=ref.where._replace(anchor=_replace_in(ref.where.anchor, old, new)))
    return ref
