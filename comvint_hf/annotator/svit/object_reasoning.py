"""Reasoning about single things and pairs of them: what they are good for, what they are like, how many, how large."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.annotator.svit.context import Teller, part_of, shared
from comvint_hf.annotator.svit.templates import clause, tables
from comvint_hf.annotator.svit.turns import counts
from comvint_hf.annotator.svit.view import Subject, use_clause
from comvint_hf.annotator.words.english import article, counted, listed, number_word, plural
from comvint_hf.annotator.words.knowledge import Noun
from comvint_hf.generation.recipes.svit.stages import Pair

SIZE_RATIO = 3.0
"""A thing is usually larger than another from this ratio of usual lengths on."""
LIMBS = ("legs", "wheels")
SHARED = ("chair", "umbrella", "backpack", "bicycle", "surfboard", "skis", "cup", "wine glass", "snowboard", "helmet", "kite")
FIXTURES = frozenset(("signal", "traffic sign", "display"))
"""Kinds that serve everybody and that nobody reaches for."""


def _useful(teller: Teller) -> list[Subject]:
    """Things that somebody may look for to use them: what is told of them says where one finds such a thing."""
    found = [
        item
        for item in teller.view.speakable
        if item.noun
        and item.noun.use
        and item.noun.place
        and item.noun.made_of
        and not item.person
        and "edible" not in item.noun.traits
        and item.noun.kind not in FIXTURES
    ]
    return teller.shuffled(found)


def purpose(teller: Teller) -> Iterator[Pair]:
    """Somebody wants something: which thing here would help?"""
    for subject in _useful(teller):
        said = use_clause(subject)
        yield teller.reason(
            "purpose",
            [subject],
            use=subject.noun.use,
            the=subject.spoken,
            seen=teller.seen(subject),
            known=f"{said}.",
            clause=said,
        )


def wish(teller: Teller) -> Iterator[Pair]:
    """The same for what a thing is like: something to sit on, to eat, to read."""
    words = tables("svit_reasoning")["wish"]["ask"]
    offers = [(trait, item) for item in teller.view.speakable if item.noun for trait in sorted(item.noun.traits & set(words))]
    told: set[str] = set()
    for trait, subject in teller.shuffled(offers):
        if trait in told or (trait == "flies" and is_toy(subject.noun)) or subject.noun.name == "food":
            continue
        told.add(trait)
        said = TRAITS["drink" if subject.noun.kind == "drink" else trait].format(kind=subject.kind)
        said = (
            said.replace(" are ", " is ").replace(" have ", " has ").replace(" need ", " needs ").replace(" break ", " breaks ")
            if subject.noun.mass
            else said
        )
        blanks = {"the": subject.spoken, "seen": teller.seen(subject), "known": f"{said}.", "clause": said}
        yield teller.pair("reasoning", [subject], teller.speaker.pick(words[trait]), teller.say("wish", "say", **blanks))


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


def is_toy(noun: Noun) -> bool:
    return noun.kind.startswith("toy")


def remove(teller: Teller) -> Iterator[Pair]:
    """What would be missed without the one thing of a broader kind, which the question does not name."""
    useful = _useful(teller)
    known = [item.noun for item in teller.view.mentions if item.noun]
    kinds = [kind for noun in known for kind in (noun.name, noun.kind)]
    for subject in useful:
        if (
            not subject.thing.plural
            and kinds.count(subject.noun.kind) == 1
            and subject.noun.kind not in VAGUE_KINDS
            and (teller.facts.exhaustive or subject.noun.kind != "piece of furniture")
            and subject.noun.name not in subject.noun.kind
        ):
            said = use_clause(subject)
            words = {"kind": subject.noun.kind, "a_kind": f"{article(subject.noun.kind)} {subject.noun.kind}"}
            yield teller.reason(
                "remove", [subject], **words, a=subject.a, seen=teller.seen(subject), known=f"{said}.", clause=said
            )


VAGUE_KINDS = frozenset(
    (
        "electronic device",
        "printed work",
        "plant",
        "meal",
        "pastry",
        "material",
        "structure",
        "way for traffic",
        "animal",
        "person",
        "container",
    )
)


NEAR = 0.01
"""Share of the picture below which a thing is too far away to be warned of."""


def danger(teller: Teller) -> Iterator[Pair]:
    """What could hurt somebody."""
    near = (item for item in teller.view.speakable if item.thing.box.area >= NEAR)
    for subject in teller.shuffled(item for item in near if item.noun and item.noun.danger):
        told = subject.noun.danger
        yield teller.reason(
            "danger", [subject], seen=teller.seen(subject), the=subject.spoken, danger=told, danger_clause=clause(told)
        )


def advice(teller: Teller) -> Iterator[Pair]:
    """What one should mind."""
    for subject in teller.shuffled(item for item in teller.view.speakable if item.noun and item.noun.care):
        yield teller.reason(
            "advice",
            [subject],
            seen=teller.seen(subject),
            the=subject.spoken,
            a=subject.a,
            care=subject.care,
            **{"is": subject.be_a},
        )


def perspective(teller: Teller) -> Iterator[Pair]:
    """Why something small looks larger than something large: it is nearer."""
    sized = [
        item
        for item in teller.view.subjects
        if item.noun and item.noun.size and item.thing.phrase.number == "singular" and not item.group
    ]
    for small in teller.shuffled(sized):
        for large in sized:
            if (
                large.noun.size >= SIZE_RATIO * small.noun.size
                and teller.facts.larger(small.thing, large.thing)
                and whole(large)
                and shared(small, large) == 0
            ):
                words = {"small": small.the, "large": large.the, "small_kind": _one(small.noun), "large_kind": _one(large.noun)}
                number = teller.random.randrange(2)
                asks = tables("svit_reasoning")["perspective"]["ask"]
                question = teller.speaker.fill(teller.random.choice(asks[:1] if number == 0 else asks[1:]), **words)
                yield teller.pair(
                    "reasoning", [small, large], question, teller.say("perspective", ("say", "explain")[number], **words)
                )
                break


def whole(subject: Subject) -> bool:
    """Whether a thing lies wholly in the picture, so that its box shows how large it looks."""
    box = subject.thing.box
    return min(box.x1, box.y1) > 0.01 and max(box.x2, box.y2) < 0.99


def _one(noun: Noun) -> str:
    return f"{article(noun.name)} {noun.name}"


def pair(teller: Teller) -> Iterator[Pair]:
    """Two visible things that are used together."""
    useful = [item for item in teller.view.speakable if item.noun and item.noun.use]
    told: set[frozenset[str]] = set()
    for one in teller.shuffled(useful):
        two = next((item for item in useful if item.noun.name in one.noun.goes_with), None)
        if two and frozenset((one.tag, two.tag)) not in told:
            told.add(frozenset((one.tag, two.tag)))
            said = [use_clause(item) for item in (one, two)]
            yield teller.reason(
                "pair",
                [one, two],
                one=one.spoken,
                two=two.spoken,
                known_one=f"{said[0]}.",
                known_two=f"{said[1]}.",
                clause_one=said[0],
                clause_two=said[1],
            )


def total(teller: Teller) -> Iterator[Pair]:
    """How many legs or wheels all of a kind have together; only where their number is certain."""
    for noun, number, tags in teller.shuffled(counts(teller)):
        known = teller.view.mention(teller.facts.by_tag[tags[0]]).noun
        limbs = next((limb for limb in LIMBS if known and getattr(known, limb)), None)
        if number < 2 or limbs is None or known.kind == "human being":
            continue
        each = getattr(known, limbs)
        yield teller.pair(
            "count",
            tags,
            teller.say("legs", "ask", animals=plural(noun), animal=noun, limbs=limbs),
            teller.say(
                "legs",
                "say",
                are="are",
                number=counted(noun, number),
                count=number_word(number),
                each=number_word(each),
                total=number_word(number * each),
                limbs=limbs,
                animal=noun,
            ),
        )


def enough(teller: Teller) -> Iterator[Pair]:
    """Whether there is one of something for every person; only where both numbers are certain."""
    people = teller.facts.count("person")
    for thing in teller.shuffled(SHARED):
        number = teller.facts.count(thing) if people and people > 1 and teller.facts.exhaustive else None
        if not number:
            continue
        suffices = number >= people
        wanted = teller.coin()
        tags = [found.tag for noun in ("person", thing) for found in teller.facts.called(noun)]
        question = teller.say("enough", "ask" if wanted == suffices else "ask_no", thing=thing, things=plural(thing))
        conclusion = f"there {'are' if suffices else 'are not'} enough {plural(thing)} for everybody"
        blanks = {
            "answer": "yes" if wanted else "no",
            "people": counted("person", people),
            "number": counted(thing, number),
            "conclusion": conclusion,
        }
        yield teller.pair("count", tags, question, teller.say("enough", "say", are="are", **blanks))


def sorts(teller: Teller) -> Iterator[Pair]:
    """Which of the things are of one broader kind; only where all of them are known."""
    if not teller.facts.exhaustive:
        return
    for kind in teller.shuffled(("vehicle", "piece of cutlery", "fruit", "farm animal", "wild animal")):
        found = {item.noun.name: item for item in teller.view.mentions if item.noun and item.noun.kind == kind}
        if len(found) >= 2 and not any(part_of(a, b) for a in found.values() for b in found.values() if a is not b):
            names = [f"{article(name)} {name}" for name in found]
            words = {"kinds": plural_kind(kind), "kind": kind, "number": number_word(len(names)), "list": listed(names)}
            yield teller.reason("kind", list(found.values()), **words)


def plural_kind(kind: str) -> str:
    """Broader kinds in the plural: "pieces of cutlery"."""
    head, of, rest = kind.partition(" of ")
    return f"{plural(head)}{of}{rest}"
