"""Questions whether something is there, asked so that nothing but the image tells the answer.

On photos the noun of a right "yes" is drawn from what is there, that of a "no" from what usually stands beside it, and the balance
of the corpus makes each noun both equally often. In drawn scenes the form of the question is drawn before its answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random

from comvint_hf.annotator.answers.pairs import make_pair
from comvint_hf.annotator.answers.subjects import place
from comvint_hf.annotator.balance.cases import Case, coin, energy
from comvint_hf.annotator.balance.counting import PRESENCE
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.facts.geometry import SIDES
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.language import templates
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.program import Program, Ref, Where, every, refs_in
from comvint_hf.annotator.programs.references import PARTS, SURFACES, UNWORTHY, is_common, unique_references
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.english import add_article, words
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.annotator.words.vocabulary import all_classes_of, classes_of, is_a, kind_table, parent_names, read_table
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.text import singular

LEAST_AREA = 0.01
"""Share of the image below which nobody is asked whether something is there."""
SCENERY = words("scenery")
BOTH, BOTH_SHARE = (True, ""), 0.5
"""The form that tells an object by colour and kind, and how often it goes first whatever is drawn: both must be seen on one object."""


def presence(facts: Facts, draws: Draws, purpose: str, told: frozenset[str] = frozenset()) -> Pair | None:
    """A question whether something is there, answered as a coin says; about no kind of those `told`."""
    return presence_of(coin(_key(facts, draws, purpose)), facts, draws, purpose, told)


def presence_of(truth: bool, facts: Facts, draws: Draws, purpose: str, told: frozenset[str] = frozenset()) -> Pair | None:
    """A question whether something is there, to be answered by yes if `truth`; `None` where there is none to ask."""
    if facts.rendered:
        answer = "yes" if truth else "no"
        program = next((found for found in _drawn(facts, draws) if _value(found, facts) == answer), None)
    else:
        noun = _noun(truth, facts, draws, purpose, told)
        program = Program("exists", (every(noun),)) if noun else None
        if program and _value(program, facts) != ("yes" if truth else "no"):
            return None
    if program is None:
        return None
    outcome = evaluate(program, facts)
    said = templates.answer(program, facts, draws) if facts.rendered else _say_more(program.refs[0].noun, truth, facts, draws)
    return make_pair("existence", outcome.tags if outcome else (), templates.ask(program, facts, draws), said)


def _say_more(noun: str, truth: bool, facts: Facts, draws: Draws) -> str:
    """An answer about a photo that says where the thing is, or what is there instead: bare ones would be the same for many images."""
    there = visible_kinds(facts)
    if truth:
        where = place(facts.by_tag[there[noun]].box) if noun in there else None
        wordings = [words for words in read_table("places")[where] if "corner" not in words] if where else []
        return f"Yes, there is {add_article(noun)} {draws.choice(wordings)}." if wordings else "Yes."
    others = [add_article(kind) for kind in there if kind != noun]
    return f"No, there is no {noun}, but there is {draws.choice(others)}." if others else "No."


def _noun(truth: bool, facts: Facts, draws: Draws, purpose: str, told: frozenset[str]) -> str | None:
    """The noun that the balance lets be asked for."""
    key, there = _key(facts, draws, purpose), visible_kinds(facts)
    near = tuple(there)
    if not truth:
        case = Case(key, (PRESENCE,), None, partial(_is_absent, facts.mentioned_classes, facts.general_classes), near)
        return draws.balance.claim(case, False) if near else None
    asked = [kind for kind in there if told.isdisjoint(all_classes_of(kind))]
    if not asked:
        return None
    return draws.balance.claim(Case(key, (PRESENCE,), min(asked, key=partial(energy, key)), bool, near), True)


def _key(facts: Facts, draws: Draws, purpose: str) -> str:
    return f"{draws.corpus_seed}/{facts.scene.id}/{purpose}/presence"


def _is_absent(mentioned: frozenset[str], general: frozenset[str], noun: str) -> bool:
    return classes_of(noun).isdisjoint(mentioned) and all_classes_of(noun).isdisjoint(general)


def visible_kinds(facts: Facts) -> dict[str, str]:
    """The kinds that one may be asked for here, with the tag of one object each: things of some size that stand by themselves."""
    if "visible kinds" not in facts.memory:
        found: dict[str, str] = {}
        for obj in sorted(facts.objects, key=lambda obj: -obj.box.area):
            kind = kind_of(obj)
            if kind and obj.box.area >= LEAST_AREA and obj.tag not in facts.second_names:
                found.setdefault(kind, obj.tag)
        facts.memory["visible kinds"] = found
    return facts.memory["visible kinds"]


def kind_of(obj: SceneObject) -> str | None:
    """The word by which one asks whether such an object is there, `None` where one would not: no people, clothes or grounds."""
    core = obj.phrase.core
    plain = UNWORTHY & set(obj.category.split("/")) or obj.phrase.head in PARTS | SURFACES
    if plain or obj.phrase.number != "singular" or not is_common(obj):
        return None
    if any(is_a(core, kind) for kind in ("person", "piece of clothing", *SCENERY)):
        return None
    kinds = classes_of(core)
    word = core if " " not in core else next(iter(kinds)) if len(kinds) == 1 and kinds <= kind_table().keys() else None
    return (
        kind_table()[word].word
        if word in kind_table() and word not in parent_names()
        else word
        if word and word not in parent_names()
        else None
    )


def survey(facts: Facts) -> tuple[tuple[str, ...], list[int], list[set[str]]]:
    """What a pass over a corpus notes of a scene: its kinds, how many captions name each, and the kinds that name one object.

    Where objects are annotated for themselves, whatever captions say, each kind counts as named twice.
    """
    kinds = tuple(visible_kinds(facts))
    captions = [
        {singular(word) for word in caption.lower().replace(".", " ").replace(",", " ").split()}
        for caption in facts.scene.captions
    ]
    named = [sum(kind.rpartition(" ")[2] in words for words in captions) if facts.traits.phrase_objects else 2 for kind in kinds]
    if facts.traits.free_text_names:
        named = [2 if kind in kind_table() and kind_table()[kind].big else 1 for kind in kinds]
    chains = [{core.rpartition(" ")[2] for core in obj.cores} for obj in facts.objects] if facts.traits.phrase_objects else []
    return kinds, named, [names for names in chains if len(names) > 1]


# Drawn scenes -----------------------------------------------------------------------------------------------------------


def existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether there is a drawn shape, answered `wanted`; none for photos."""
    if facts.rendered:
        yield from (version for version in _drawn(facts, random) if _value(version, facts) == wanted)


def existence_with_location(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether there is a drawn shape at some place, or one that is like something, answered `wanted`.

    None is easier than the program whose place it takes; that is asked before the answer is known, so that it tells nothing.
    """
    if not facts.rendered:
        return
    refs = [*_located_references(program, facts, random), *_similarity_references()]
    hard = [ref for ref in refs if complexity(Program("exists", (ref,))) >= complexity(program)]
    for ref in _form_first(hard, random):
        if _value(Program("exists", (ref,)), facts) == wanted:
            yield Program("exists", (ref,))


def _value(program: Program, facts: Facts) -> str | None:
    outcome = evaluate(program, facts)
    return outcome.value if outcome else None


def _located_references(program: Program, facts: Facts, random: Random) -> Iterator[Ref]:
    """Shapes where the program looked for one, or beside any other; each shares its kind or colour with one of the image."""
    places = [ref.where for ref in refs_in(program) if ref.where and ref.where.how == "side"]
    if not places and len(facts.objects) > 1:
        places = [Where("side", random.choice(SIDES), ref) for _, ref in unique_references(facts)]
    for where in random.sample(places, min(1, len(places))):
        for obj in facts.objects:
            colour, noun = random.choice(RENDERED_COLOURS), random.choice(SHAPE_NAMES)
            yield every("shape", obj.colour or colour, where=where)
            yield every(obj.noun, where=where)
            yield every(obj.noun, obj.colour or colour, where=where)
            yield every(obj.noun, colour, where=where)
            yield every(noun, where=where)


def _similarity_references() -> Iterator[Ref]:
    """Objects like something well known, of every colour and shape that may be drawn."""
    hints = [knowledge.colours()[colour].hint for colour in RENDERED_COLOURS]
    for likeness in (*hints, *(knowledge.shapes()[noun].like for noun in SHAPE_NAMES)):
        yield every("object", where=Where("like", likeness))


def _drawn(facts: Facts, random: Random) -> Iterator[Program]:
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
