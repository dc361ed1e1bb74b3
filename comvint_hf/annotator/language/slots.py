"""The slots of question templates: references in words, and words that agree with them.

`phrase_variants` and `clause_variants` give every way to say a reference; `Slots` works a slot out when a template asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from comvint_hf.annotator.facts.geometry import SIDE_WORDS
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import FURTHEST, Facts
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import lookup
from comvint_hf.annotator.programs.program import THEN, THING, Program, Ref, Where, parse_ref
from comvint_hf.annotator.programs.references import SHOWN
from comvint_hf.annotator.programs.search import find, resolve
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import add_article, be, format_count, join_phrases, number_of, number_word, sentence
from comvint_hf.text import plural

Manner = Literal["named", "it", "pointed"]
"""How a question speaks of its first object: by its description, as what was just spoken of, or by its box."""


@lru_cache(maxsize=65536)
def phrase_variants(ref: Ref, inner: bool = False) -> tuple[str, ...]:
    """Every way to say a definite reference: "the man holding the cup", "the man who is holding the cup".

    An `inner` one, by which another is described, says "that is to the left of", so that it is clear what stands where.
    """
    outer = (FURTHEST[ref.where.word],) if ref.where and ref.where.how == "furthest" else ()
    noun = " ".join((*outer, *ref.attributes, ref.noun))
    if noun in SHOWN and ref.where is None and not inner:
        return (f"the {noun} shown here",)
    return tuple(f"the {noun}{tail}" for tail in clause_variants(ref.where, ref.noun, inner))


@lru_cache(maxsize=65536)
def clause_variants(where: Where | None, noun: str, inner: bool = False) -> tuple[str, ...]:
    """Every way to say what narrows a reference, with a blank before it; "" for nothing."""
    if where is None or where.how == "furthest":
        return ("",)
    if where.how == "like":
        shaped = any(where.word == shape.like for shape in knowledge.shapes().values())
        return (f" that is shaped like {where.word}",) if shaped else (f" with the colour of {where.word}",)
    assert where.anchor is not None
    anchors = phrase_variants(where.anchor, inner=True)
    who = f"{'who' if is_person(noun) else 'that'} {be(number_of(noun))}"
    if where.how == "side":
        return tuple(f"{f' {who}' if inner else ''} {SIDE_WORDS[where.word]} {anchor}" for anchor in anchors)
    number = number_of(where.anchor.noun)
    if where.how == "done":
        verb = ("have" if number == "plural" else "has") if where.word == "has" else f"{be(number)} {where.word}"
        return (f" that {anchors[0]} {verb}",)
    if where.word == "has":
        return tuple(f" with {anchor}" for anchor in anchors)
    clauses = tuple(f" {who} {where.word} {anchor}" for anchor in anchors)
    return clauses if inner else (*(f" {where.word} {anchor}" for anchor in anchors), *clauses)


def point_at(ref: Ref, obj: SceneObject) -> str:
    """A reference that points: what its words leave open its box tells. A kind left open stays open."""
    noun = "this object" if ref.noun == THING else f"the {' '.join((*ref.attributes, ref.noun))}"
    article, _, name = noun.partition(" ")
    return f"<st>{noun}<ed>[{obj.tag}]" if article == "this" else f"the <st>{name}<ed>[{obj.tag}]"


def is_person(noun: str) -> bool:
    """Whether one says "who" of it."""
    return vocabulary.is_a(noun, "person")


class Slots:
    """The slots of one program, each worked out when a template asks for it; `pick` chooses among wordings."""

    def __init__(
        self, program: Program, facts: Facts, value: str | None, pick: Callable[[tuple[str, ...]], str], manner: Manner = "named"
    ) -> None:
        self.program, self.facts, self.value, self.pick, self.manner = program, facts, value or "", pick, manner
        self.refs = program.refs
        self._kept: dict[str, str] = {}

    def __getitem__(self, slot: str) -> str:
        if slot not in self._kept:
            self._kept[slot] = SLOTS[slot](self)
        return self._kept[slot]

    def ref(self, place: int) -> Ref:
        return self.refs[place]

    def phrase(self, ref: Ref) -> str:
        if self.manner == "pointed" and ref.article == "the" and (found := resolve(ref, self.facts)):
            return point_at(ref, found[0])
        if self.manner == "it" and ref == self.refs[0]:
            return _pronoun(self, 0, "they")
        return self.pick(phrase_variants(ref, inner=self.program.head in ("across", "vertical", "relative")))

    def value_with_article(self) -> str:
        """The value as first mentioned, pointed at where the program found the object that it names."""
        text = add_article(self.value)
        found = evaluate(self.program, self.facts) if self.manner == "pointed" and self.program.head in ("what", "who") else None
        if found is None or found.value != self.value:
            return text
        lead, _, rest = text.rpartition(self.value)
        return f"{lead}<st>{self.value}<ed>[{found.tags[0]}]{rest}"

    def group(self, place: int, form: Callable[[str], str]) -> str:
        """The first or second any(...) with its noun in a form: "red stars to the left of the circle"."""
        ref = self.ref(place)
        return f"{' '.join((*ref.attributes, form(ref.noun)))}{self.pick(clause_variants(ref.where, ref.noun))}"

    def size(self, place: int) -> int:
        """How many objects the group has."""
        found = evaluate(Program("count", (self.ref(place),)), self.facts)
        return int(found.value) if found else 0

    def count_phrase(self, place: int) -> str:
        """The group with its number: "two red stars to the left of the circle"."""
        ref = self.ref(place)
        return f"{format_count(' '.join((*ref.attributes, ref.noun)), self.size(place))}{self.pick(clause_variants(ref.where, ref.noun))}"

    def larger_group(self) -> int:
        """Which group the value names."""
        return [ref.noun for ref in self.refs].index(self.value)

    def value_phrase(self) -> str:
        """The value with its definite article."""
        return self.phrase(parse_ref(self.value)) if self.value.startswith("the(") else f"the {self.value}"

    def main_object(self) -> SceneObject:
        """The object that the program is about."""
        found = evaluate(self.program, self.facts)
        assert found is not None
        return self.facts.by_tag[found.tags[0]]

    def name_sentence(self) -> str:
        """A sentence that says what the object is; nothing if the question named it."""
        obj = self.main_object()
        if self.ref(0).noun in (obj.noun, obj.phrase.core):
            return ""
        return sentence(f"{self['a']} {be(obj.phrase.number)} {obj.phrase.a}")

    def choices(self) -> tuple[Ref, ...]:
        """The objects among which a question asks to choose."""
        return self.refs[1:] if self.program.head == "nearer" else self.refs

    def other_phrases(self) -> list[str]:
        if self.program.head in ("like", "twin"):
            return list(self.program.words)
        return [self.phrase(ref) for ref in self.choices()]


def _value(slots: Slots) -> str:
    if slots.program.head in ("across", "vertical", "relative"):
        *first, last = slots.value.split(" and ")
        return " and ".join((*first, SIDE_WORDS[last]))
    if THEN in slots.value:
        return join_phrases([slots.phrase(parse_ref(part)) for part in slots.value.split(THEN)])
    return slots.value


def _number(slots: Slots) -> str:
    number = int(slots.value or 0)
    if slots.program.head in ("all_legs", "all_wheels"):
        return str(number)
    return number_word(number) if number else "none"


def _match_first(singular: str, several: str) -> Callable[[Slots], str]:
    """A word that agrees with the first object."""
    return lambda slots: several if number_of(slots.ref(0).noun) == "plural" else singular


def _pronoun(slots: Slots, place: int, several: str) -> str:
    """ "it" for an object; a person is named again."""
    ref = slots.ref(place)
    if number_of(ref.noun) == "plural":
        return several
    return f"the {ref.noun}" if is_person(ref.noun) else "it"


def _some(slots: Slots, article: bool) -> str:
    """The first group as one of its kind, "a red star" or "red star"; "another" where it is told by one that is such an object, too."""
    ref, text = slots.ref(0), slots.group(0, str)
    anchor = ref.where.anchor if ref.where else None
    place, alike = resolve(anchor, slots.facts) if anchor else None, find(ref._replace(where=None), slots.facts)
    if place and alike and place[0] in alike.sure and number_of(ref.noun) == "singular":
        return f"another {text}" if article else f"other {text}"
    return add_article(text, number_of(ref.noun)) if article else text


def _match_value(singular: str, several: str) -> Callable[[Slots], str]:
    """A word that agrees with the value."""

    def agreed(slots: Slots) -> str:
        if slots.program.head == "count":
            return singular if slots.value == "1" else several
        noun = parse_ref(slots.value).noun if slots.value.startswith("the(") else slots.value
        return several if number_of(noun) == "plural" else singular

    return agreed


def _comparative(two: str, several: str) -> Callable[[Slots], str]:
    """ "nearer" of two, "nearest" of several."""
    return lambda slots: two if len(slots.choices()) == 2 else several


def _phrase_at(place: int) -> Callable[[Slots], str]:
    return lambda slots: slots.phrase(slots.ref(place))


SLOTS: dict[str, Callable[[Slots], str]] = {
    **{letter: _phrase_at(place) for place, letter in enumerate("abcd")},
    "is": _match_first("is", "are"),
    "does": _match_first("does", "do"),
    "it": lambda slots: _pronoun(slots, 0, "they"),
    "that": lambda slots: _pronoun(slots, 1, "them"),
    "its": _match_first("its", "their"),
    "has": _match_first("has", "have"),
    "vis": _match_value("is", "are"),
    "vdoes": _match_value("does", "do"),
    "vs": _match_value("s", ""),
    "who": lambda slots: "who" if is_person(slots["the"].split(" ", 1)[1]) else "that",
    "value": _value,
    "thing": Slots.value_with_article,
    "the": Slots.value_phrase,
    "many": lambda slots: slots.group(0, plural),
    "many2": lambda slots: slots.group(1, plural),
    "no": lambda slots: _some(slots, article=False),
    "some": lambda slots: _some(slots, article=True),
    "exactly": lambda slots: slots.group(0, str if slots.value == "1" else plural),
    "nis": lambda slots: be(int(slots.value)),
    "vis1": lambda slots: be(slots.size(0)),
    "counted": lambda slots: slots.count_phrase(0),
    "counted2": lambda slots: slots.count_phrase(1),
    "number": _number,
    "winner": lambda slots: slots.group(slots.larger_group(), plural),
    "loser": lambda slots: slots.group(1 - slots.larger_group(), plural),
    "kind": lambda slots: slots.ref(0).noun,
    "tail": lambda slots: clause_variants(slots.ref(0).where, slots.ref(0).noun)[0].strip(),
    "verb": lambda slots: slots.program.words[0],
    "use": lambda slots: slots.program.words[0],
    "side": lambda slots: slots.program.words[0],
    "alternatives": lambda slots: join_phrases(slots.other_phrases(), "or"),
    "list": lambda slots: join_phrases(slots.other_phrases()),
    "rest": lambda slots: join_phrases([slots.phrase(ref) for ref in slots.choices() if str(ref) != slots.value]),
    "further": _comparative("further", "furthest"),
    "nearer": _comparative("nearer", "nearest"),
    "closer": _comparative("closer", "closest"),
    "bigger": _comparative("bigger", "biggest"),
    "more": _comparative("more of", "most of"),
    "more_space": _comparative("more space", "the most space"),
    "nouned": Slots.name_sentence,
    "colour": lambda slots: slots.main_object().colour or "",
    "each": lambda slots: number_word(int(lookup(slots.program.head[4:], slots.ref(0).noun) or 0)),
}
