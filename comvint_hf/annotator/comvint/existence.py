"""Questions whether something is there, or serves a use: asked so that nothing but the picture tells the answer."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.annotator.comvint.candidates import DRAWN_COLOURS, SHAPES
from comvint_hf.annotator.comvint.references import UNWORTHY, describable, familiar, telling
from comvint_hf.annotator.facts.scene import SIDES, Facts, Thing
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.knowledge import values
from comvint_hf.annotator.programs.program import Program, Ref, Where, every, refs_in
from comvint_hf.annotator.programs.search import use_of_thing
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.vocabulary import is_a

BOTH, BOTH_SHARE = (True, ""), 0.5
"""The form that tells a thing by colour and kind, and how often it goes first whatever is drawn: both must be seen on one thing."""


def existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether something is there, answered `wanted`, close to what a program is about."""
    found = _drawn_existence(facts, random) if facts.drawn else _photo_existence(program, facts, random, wanted)
    for version in found:
        outcome = evaluate(version, facts)
        if outcome and outcome.value == wanted:
            yield version


def existence_harder(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether there is a drawn shape at some place, or one that is like something, answered `wanted`.

    None is easier than the program whose place it takes; that is asked before the answer is known, so that it tells nothing.
    """
    if not facts.drawn:
        return
    refs = [*_somewhere(program, facts, random), *_told_by_likeness()]
    hard = [ref for ref in refs if complexity(Program("exists", (ref,))) >= complexity(program)]
    for ref in _form_first(hard, random):
        outcome = evaluate(Program("exists", (ref,)), facts)
        if outcome and outcome.value == wanted:
            yield Program("exists", (ref,))


def _somewhere(program: Program, facts: Facts, random: Random) -> Iterator[Ref]:
    """Shapes where the program looked for one, or beside any other; each shares its kind or colour with one of the picture."""
    places = [ref.where for ref in refs_in(program) if ref.where and ref.where.how == "side"]
    if not places and len(facts.things) > 1:
        places = [Where("side", random.choice(SIDES), ref) for _, ref in describable(facts)]
    for place in random.sample(places, min(1, len(places))):
        for thing in facts.things:
            colour, noun = random.choice(DRAWN_COLOURS), random.choice(SHAPES)
            yield every("shape", thing.colour or colour, where=place)
            yield every(thing.noun, where=place)
            yield every(thing.noun, thing.colour or colour, where=place)
            yield every(thing.noun, colour, where=place)
            yield every(noun, where=place)


def _told_by_likeness() -> Iterator[Ref]:
    """Objects like something well known, of every colour and shape that may be drawn."""
    hints = [knowledge.colours()[colour].hint for colour in DRAWN_COLOURS]
    for likeness in (*hints, *(knowledge.shapes()[noun].like for noun in SHAPES)):
        yield every("object", where=Where("like", likeness))


def _drawn_existence(facts: Facts, random: Random) -> Iterator[Program]:
    """Shapes by kind, by colour, or by both; the latter share one of the two with a shape of the picture."""
    mine = {(colour, thing.noun) for thing in facts.things for colour in thing.colours}
    both = [(colour, noun) for noun in SHAPES for colour in DRAWN_COLOURS if any(colour == c or noun == n for c, n in mine)]
    refs = [*(every(noun, colour) for colour, noun in both), *map(every, SHAPES)]
    refs += [every("shape", colour) for colour in DRAWN_COLOURS]
    yield from (Program("exists", (ref,)) for ref in _form_first(refs, random))


def _form_first(refs: list[Ref], random: Random) -> list[Ref]:
    """Shuffle what may be asked for, one form after the other: colour and kind, kind, colour, or likeness.

    The form is drawn before the answer is known. Were it left to what has the wanted answer, things told by one property
    would mostly be there and things told by two mostly not, and a model would learn to answer without the picture.
    """
    forms: dict[tuple[bool, str], list[Ref]] = {}
    for ref in refs:
        forms.setdefault((bool(ref.attributes), "" if ref.noun in SHAPES else ref.noun), []).append(ref)
    order = random.sample(sorted(forms), len(forms))
    if BOTH in forms and random.random() < BOTH_SHARE:
        order.sort(key=lambda form: form != BOTH)
    return [ref for form in order for ref in random.sample(forms[form], len(forms[form]))]


def _photo_existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """A thing of the picture, or a plausible one that is absent; with the place that the program spoke of where there is one."""
    where = next((ref.where for ref in refs_in(program) if ref.where and ref.where.how == "side"), None)
    if where is None and program.head in ("across", "vertical") and len(program.refs) == 2:
        outcome = evaluate(program, facts)
        where = Where("side", outcome.value, program.refs[1]) if outcome and program.refs[1].simple else None
    places = random.sample((where, None), 2)  # in an order that does not depend on the answer
    if wanted == "no":
        for noun in facts.absent(random, 6):
            yield from (Program("exists", (every(noun, where=place),)) for place in places)
        return
    outcome = evaluate(program, facts)
    about = [facts.by_tag[tag] for tag in (outcome.tags if outcome else ()) if tag in facts.by_tag]
    for thing in (*about, *random.sample(facts.things, len(facts.things))):
        if noticeable(thing, facts):
            yield from (Program("exists", (every(thing.noun, where=place),)) for place in places)


def noticeable(thing: Thing, facts: Facts) -> bool:
    """Whether one may ask if such a thing is there: it is one thing, of a kind one knows, and nothing that somebody wears."""
    if facts.drawn:
        return True
    worn = UNWORTHY & set(thing.category.split("/")) or is_a(thing.phrase.core, "piece of clothing")
    return familiar(thing) and not worn and thing.phrase.number == "singular" and len(thing.noun.split(" ")) <= 3


def serving(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether something serves a use, answered `wanted`."""
    if facts.drawn:
        return
    uses = (
        sorted({value for thing in facts.things if (value := use_of_thing(thing)) and telling(thing, value)})
        if wanted == "yes"
        else sorted(values("use"))
    )
    for use in random.sample(uses, len(uses))[:24]:
        version = Program("serves", (use,))
        outcome = evaluate(version, facts)
        if outcome and outcome.value == wanted:
            yield version
