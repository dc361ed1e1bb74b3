"""Reasoning about single objects and pairs of them: what they are good for, what they are like, how many, how large."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.annotator.svit.context import Context, part_of, shared
from comvint_hf.annotator.svit.templates import clause, tables
from comvint_hf.annotator.svit.turns import counts
from comvint_hf.annotator.svit.view import Subject, use_clause
from comvint_hf.annotator.words.english import article, format_count, join_phrases, number_word
from comvint_hf.annotator.words.knowledge import Noun
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.text import plural

SIZE_RATIO = 3.0
"""An object is usually larger than another from this ratio of usual lengths on."""
LIMBS = ("legs", "wheels")
SHARED = ("chair", "umbrella", "backpack", "bicycle", "surfboard", "skis", "cup", "wine glass", "snowboard", "helmet", "kite")
FIXTURES = frozenset(("signal", "traffic sign", "display"))
"""Kinds that serve everybody and that nobody reaches for."""


def _useful_objects(context: Context) -> list[Subject]:
    """Objects that somebody may look for to use them: what is told of them says where one finds such an object."""
    found = [
        item
        for item in context.view.subject_candidates
        if item.noun
        and item.noun.use
        and item.noun.place
        and item.noun.made_of
        and not item.person
        and "edible" not in item.noun.traits
        and item.noun.kind not in FIXTURES
    ]
    return context.shuffled(found)


def purpose(context: Context) -> Iterator[Pair]:
    """Somebody wants something: which object here would help?"""
    for subject in _useful_objects(context):
        said = use_clause(subject)
        yield context.reason(
            "purpose",
            [subject],
            use=subject.known_noun.use,
            the=subject.with_article,
            seen=context.seen(subject),
            known=f"{said}.",
            clause=said,
        )


def trait_request(context: Context) -> Iterator[Pair]:
    """The same for what an object is like: something to sit on, to eat, to read."""
    words = tables("svit_reasoning")["wish"]["ask"]
    offers = [
        (trait, item) for item in context.view.subject_candidates if item.noun for trait in sorted(item.noun.traits & set(words))
    ]
    told: set[str] = set()
    for trait, subject in context.shuffled(offers):
        if trait in told or (trait == "flies" and is_toy_noun(subject.known_noun)) or subject.known_noun.name == "food":
            continue
        told.add(trait)
        said = TRAITS["drink" if subject.known_noun.kind == "drink" else trait].format(kind=subject.kind)
        said = (
            said.replace(" are ", " is ").replace(" have ", " has ").replace(" need ", " needs ").replace(" break ", " breaks ")
            if subject.known_noun.mass
            else said
        )
        blanks = {"the": subject.with_article, "seen": context.seen(subject), "known": f"{said}.", "clause": said}
        yield context.pair("reasoning", [subject], context.speaker.pick(words[trait]), context.render("wish", "say", **blanks))


TRAITS = {
    "seat": "{kind} are made for sitting",
    "edible": "{kind} can be eaten",
    "drink": "{kind} can be drunk",
    "container": "{kind} are made to hold things",
    "readable": "{kind} are there to be read",
    "electric": "{kind} need electricity to work",
    "fragile": "{kind} break easily",
    "sharp": "{kind} are sharp",
    "flies": "{kind} are able to fly",
    "floats": "{kind} stay on top of the water",
}


def is_toy_noun(noun: Noun) -> bool:
    return noun.kind.startswith("toy")


def remove(context: Context) -> Iterator[Pair]:
    """What would be missed without the one object of a broader kind, which the question does not name."""
    useful = _useful_objects(context)
    known = [item.noun for item in context.view.all_subjects if item.noun]
    kinds = [kind for noun in known for kind in (noun.name, noun.kind)]
    for subject in useful:
        if (
            not subject.obj.plural
            and kinds.count(subject.known_noun.kind) == 1
            and subject.known_noun.kind not in VAGUE_KINDS
            and (context.facts.exhaustive or subject.known_noun.kind != "piece of furniture")
            and subject.known_noun.name not in subject.known_noun.kind
        ):
            said = use_clause(subject)
            words = {"kind": subject.known_noun.kind, "a_kind": f"{article(subject.known_noun.kind)} {subject.known_noun.kind}"}
            yield context.reason(
                "remove", [subject], **words, a=subject.a, seen=context.seen(subject), known=f"{said}.", clause=said
            )


VAGUE_KINDS = frozenset(
    ("electronic device", "printed work", "plant", "meal", "pastry", "material", "structure")
    + ("way for traffic", "animal", "person", "container")
)


NEAR = 0.01
"""Share of the image below which an object is too far away to be warned of."""


def warning(context: Context) -> Iterator[Pair]:
    """What could hurt somebody."""
    near = (item for item in context.view.subject_candidates if item.obj.box.area >= NEAR)
    for subject in context.shuffled(item for item in near if item.noun and item.noun.danger):
        told = subject.known_noun.danger
        yield context.reason(
            "danger", [subject], seen=context.seen(subject), the=subject.with_article, danger=told, danger_clause=clause(told)
        )


def advice(context: Context) -> Iterator[Pair]:
    """What one should mind."""
    for subject in context.shuffled(item for item in context.view.subject_candidates if item.noun and item.noun.care):
        yield context.reason(
            "advice",
            [subject],
            seen=context.seen(subject),
            the=subject.with_article,
            a=subject.a,
            care=subject.care,
            **{"is": subject.be_a},
        )


def perspective(context: Context) -> Iterator[Pair]:
    """Why something small looks larger than something large: it is nearer."""
    sized = [
        item
        for item in context.view.subjects
        if item.noun and item.noun.size and item.obj.phrase.number == "singular" and not item.group
    ]
    for small in context.shuffled(sized):
        for large in sized:
            if (
                large.known_noun.size >= SIZE_RATIO * small.known_noun.size
                and context.facts.larger(small.obj, large.obj)
                and whole(large)
                and shared(small, large) == 0
            ):
                words = {
                    "small": small.the,
                    "large": large.the,
                    "small_kind": _one(small.known_noun),
                    "large_kind": _one(large.known_noun),
                }
                number = context.random.randrange(2)
                asks = tables("svit_reasoning")["perspective"]["ask"]
                question = context.speaker.fill(context.random.choice(asks[:1] if number == 0 else asks[1:]), **words)
                yield context.pair(
                    "reasoning", [small, large], question, context.render("perspective", ("say", "explain")[number], **words)
                )
                break


def whole(subject: Subject) -> bool:
    """Whether an object lies wholly in the image, so that its box shows how large it looks."""
    box = subject.obj.box
    return min(box.x1, box.y1) > 0.01 and max(box.x2, box.y2) < 0.99


def _one(noun: Noun) -> str:
    return f"{article(noun.name)} {noun.name}"


def pair(context: Context) -> Iterator[Pair]:
    """Two visible objects that are used together."""
    useful = [item for item in context.view.subject_candidates if item.noun and item.noun.use]
    told: set[frozenset[str]] = set()
    for one in context.shuffled(useful):
        two = next((item for item in useful if item.known_noun.name in one.known_noun.goes_with), None)
        if two and frozenset((one.tag, two.tag)) not in told:
            told.add(frozenset((one.tag, two.tag)))
            said = [use_clause(item) for item in (one, two)]
            yield context.reason(
                "pair",
                [one, two],
                one=one.with_article,
                two=two.with_article,
                known_one=f"{said[0]}.",
                known_two=f"{said[1]}.",
                clause_one=said[0],
                clause_two=said[1],
            )


def total(context: Context) -> Iterator[Pair]:
    """How many legs or wheels all of a kind have together; only where their number is certain."""
    for noun, number, tags in context.shuffled(counts(context)):
        known = context.view.make_subject(context.facts.by_tag[tags[0]]).noun
        limbs = next((limb for limb in LIMBS if known and getattr(known, limb)), None)
        if number < 2 or known is None or limbs is None or known.kind == "human being":
            continue
        each = getattr(known, limbs)
        yield context.pair(
            "count",
            tags,
            context.render("legs", "ask", animals=plural(noun), animal=noun, limbs=limbs),
            context.render(
                "legs",
                "say",
                are="are",
                number=format_count(noun, number),
                count=number_word(number),
                each=number_word(each),
                total=number_word(number * each),
                limbs=limbs,
                animal=noun,
            ),
        )


def enough(context: Context) -> Iterator[Pair]:
    """Whether there is one of something for every person; only where both numbers are certain."""
    people = context.facts.count("person") or 0
    for name in context.shuffled(SHARED):
        number = context.facts.count(name) if people > 1 and context.facts.exhaustive else None
        if not number:
            continue
        suffices = number >= people
        wanted = context.draw_bool()
        tags = [found.tag for noun in ("person", name) for found in context.facts.candidates_for(noun)]
        question = context.render("enough", "ask" if wanted == suffices else "ask_no", thing=name, things=plural(name))
        conclusion = f"there {'are' if suffices else 'are not'} enough {plural(name)} for everybody"
        blanks = {
            "answer": "yes" if wanted else "no",
            "people": format_count("person", people),
            "number": format_count(name, number),
            "conclusion": conclusion,
        }
        yield context.pair("count", tags, question, context.render("enough", "say", are="are", **blanks))


def sorts(context: Context) -> Iterator[Pair]:
    """Which of the objects are of one broader kind; only where all of them are known."""
    if not context.facts.exhaustive:
        return
    for kind in context.shuffled(("vehicle", "piece of cutlery", "fruit", "farm animal", "wild animal")):
        found = {item.noun.name: item for item in context.view.all_subjects if item.noun and item.noun.kind == kind}
        if len(found) >= 2 and not any(part_of(a, b) for a in found.values() for b in found.values() if a is not b):
            names = [f"{article(name)} {name}" for name in found]
            words = {"kinds": plural_kind(kind), "kind": kind, "number": number_word(len(names)), "list": join_phrases(names)}
            yield context.reason("kind", list(found.values()), **words)


def plural_kind(kind: str) -> str:
    """Broader kinds in the plural: "pieces of cutlery"."""
    head, of, rest = kind.partition(" of ")
    return f"{plural(head)}{of}{rest}"
