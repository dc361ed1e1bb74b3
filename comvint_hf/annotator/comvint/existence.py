"""Questions whether something is there, or serves a use: asked so that nothing but the image tells the answer."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.annotator.comvint.references import UNWORTHY, is_common, is_known_by_use, unique_references
from comvint_hf.annotator.facts.geometry import SIDES
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.knowledge import values
from comvint_hf.annotator.programs.program import Program, Ref, Where, every, refs_in
from comvint_hf.annotator.programs.search import use_of
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.annotator.words.vocabulary import is_a

BOTH, BOTH_SHARE = (True, ""), 0.5
"""The form that tells an object by colour and kind, and how often it goes first whatever is drawn: both must be seen on one object."""


def existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether something is there, answered `wanted`, close to what a program is about."""
    found = _rendered_existence(facts, random) if facts.rendered else _photo_existence(program, facts, random, wanted)
    for version in found:
        outcome = evaluate(version, facts)
        if outcome and outcome.value == wanted:
            yield version


def existence_with_location(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether there is a rendered shape at some place, or one that is like something, answered `wanted`.

    None is easier than the program whose place it takes; that is asked before the answer is known, so that it tells nothing.
    """
    if not facts.rendered:
        return
    refs = [*_located_references(program, facts, random), *_similarity_references()]
    hard = [ref for ref in refs if complexity(Program("exists", (ref,))) >= complexity(program)]
    for ref in _form_first(hard, random):
        outcome = evaluate(Program("exists", (ref,)), facts)
        if outcome and outcome.value == wanted:
            yield Program("exists", (ref,))


def _located_references(program: Program, facts: Facts, random: Random) -> Iterator[Ref]:
    """Shapes where the program looked for one, or beside any other; each shares its kind or colour with one of the image."""
    places = [ref.where for ref in refs_in(program) if ref.where and ref.where.how == "side"]
    if not places and len(facts.objects) > 1:
        places = [Where("side", random.choice(SIDES), ref) for _, ref in unique_references(facts)]
    for place in random.sample(places, min(1, len(places))):
        for obj in facts.objects:
            colour, noun = random.choice(RENDERED_COLOURS), random.choice(SHAPE_NAMES)
            yield every("shape", obj.colour or colour, where=place)
            yield every(obj.noun, where=place)
            yield every(obj.noun, obj.colour or colour, where=place)
            yield every(obj.noun, colour, where=place)
            yield every(noun, where=place)


def _similarity_references() -> Iterator[Ref]:
    """Objects like something well known, of every colour and shape that may be drawn."""
    hints = [knowledge.colours()[colour].hint for colour in RENDERED_COLOURS]
    for likeness in (*hints, *(knowledge.shapes()[noun].like for noun in SHAPE_NAMES)):
        yield every("object", where=Where("like", likeness))


def _rendered_existence(facts: Facts, random: Random) -> Iterator[Program]:
    """Shapes by kind, by colour, or by both; the latter share one of the two with a shape of the image."""
    mine = {(colour, obj.noun) for obj in facts.objects for colour in obj.colours}
    both = [
        (colour, noun) for noun in SHAPE_NAMES for colour in RENDERED_COLOURS if any(colour == c or noun == n for c, n in mine)
    ]
    refs = [*(every(noun, colour) for colour, noun in both), *map(every, SHAPE_NAMES)]
    refs += [every("shape", colour) for colour in RENDERED_COLOURS]
    yield from (Program("exists", (ref,)) for ref in _form_first(refs, random))


def _form_first(refs: list[Ref], random: Random) -> list[Ref]:
    """Shuffle what may be asked for, one form after the other: colour and kind, kind, colour, or likeness.

    The form is drawn before the answer is known. Were it left to what has the wanted answer, objects told by one property
    would mostly be there and objects told by two mostly not, and a model would learn to answer without the image.
    """
    forms: dict[tuple[bool, str], list[Ref]] = {}
    for ref in refs:
        forms.setdefault((bool(ref.attributes), "" if ref.noun in SHAPE_NAMES else ref.noun), []).append(ref)
    order = random.sample(sorted(forms), len(forms))
    if BOTH in forms and random.random() < BOTH_SHARE:
        order.sort(key=lambda form: form != BOTH)
    return [ref for form in order for ref in random.sample(forms[form], len(forms[form]))]


def _photo_existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """An object of the image, or a plausible one that is absent; with the place that the program spoke of where there is one."""
    where = next((ref.where for ref in refs_in(program) if ref.where and ref.where.how == "side"), None)
    if where is None and program.head in ("across", "vertical") and len(program.refs) == 2:
        outcome = evaluate(program, facts)
        where = Where("side", outcome.value, program.refs[1]) if outcome and program.refs[1].simple else None
    places = random.sample((where, None), 2)  # in an order that does not depend on the answer
    if wanted == "no":
        for noun in facts.sample_absent(random, 6):
            yield from (Program("exists", (every(noun, where=place),)) for place in places)
        return
    outcome = evaluate(program, facts)
    about = [facts.by_tag[tag] for tag in (outcome.tags if outcome else ()) if tag in facts.by_tag]
    for obj in (*about, *random.sample(facts.objects, len(facts.objects))):
        if can_ask_existence(obj, facts):
            yield from (Program("exists", (every(obj.noun, where=place),)) for place in places)


def can_ask_existence(obj: SceneObject, facts: Facts) -> bool:
    """Whether one may ask if such an object is there: it is one object, of a kind one knows, and nothing that somebody wears."""
    if facts.rendered:
        return True
    worn = UNWORTHY & set(obj.category.split("/")) or is_a(obj.phrase.core, "piece of clothing")
    return is_common(obj) and not worn and obj.phrase.number == "singular" and len(obj.noun.split(" ")) <= 3


def ask_use(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether something serves a use, answered `wanted`."""
    if facts.rendered:
        return
    uses = (
        sorted({value for obj in facts.objects if (value := use_of(obj)) and is_known_by_use(obj, value)})
        if wanted == "yes"
        else sorted(values("use"))
    )
    for use in random.sample(uses, len(uses))[:24]:
        version = Program("serves", (use,))
        outcome = evaluate(version, facts)
        if outcome and outcome.value == wanted:
            yield version
