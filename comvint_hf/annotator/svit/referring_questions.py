"""Referring questions: about half ask for a place ("grounding") and get the reference, the others point at things themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

from comvint_hf.annotator.facts.scene import Link
from comvint_hf.annotator.svit import captions
from comvint_hf.annotator.svit.context import OPPOSITE_WORDS, Teller, part_of
from comvint_hf.annotator.svit.turns import counts, plain_colour
from comvint_hf.annotator.svit.view import Subject
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import COLOURS, RENAMED, number_of, number_word, plural
from comvint_hf.annotator.words.knowledge import known
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs
from comvint_hf.types import Scene

MOST_OF_A_KIND = 2
"""How many questions of one kind a scene gets, grounding apart."""
_Maker = Callable[[Teller], Iterator[Pair]]
_REGION = re.compile(r"^(?:a|an|two|three|four|some|the) [a-z][a-z' \-]+$")
PREPOSITIONS = frozenset(
    ("on", "in", "of", "to", "along", "near", "by", "at", "with", "under", "behind", "from", "beside", "over")
    + ("against", "above", "below", "into", "onto", "across", "around", "between", "through", "without", "inside")
)
ENDLESS = frozenset(("outside", "inside", "there", "here", "parked", "walking", "standing", "sitting"))
"""Words that no phrase for a thing ends in."""
DETERMINERS = frozenset(["a", "an", "the", "his", "her", "its", "their", "one", "each", "some", "any", "this", "that", "another"])
_BEFORE = re.compile(r" (?:in front of|on top of|next to|in back of) ")
_NOT_A_NAME = re.compile(
    r"\b(?:is|are|has|have|was|were|says?|reads|seems?|looks|can|with of|photo|picture|image|background|foreground|this|that|it|there|color|colour|side walks?)\b|\bnext (?!to\b)|\b(?:sitting|standing|lying|leaning|hanging) (?:an?|the)\b|\b(\w+) \1\b"
)


def referring_qa(prompt: Prompt, random: Random) -> Pairs:
    """Answer the prompt `svit/referring_qa`: at most `count` pairs, half of them grounding where the scene allows."""
    teller = Teller(prompt, random, "svit_referring")
    most = prompt.blanks.get("count", 10)
    grounded = _distinct(teller.shuffled((*grounding(teller), *group(teller))))
    pointed = _distinct(pair for make in teller.shuffled(POINTING) for pair in _first(make(teller)))
    half = max((most + 1) // 2, most - len(pointed))
    half = min(half, len(pointed) + 1)
    pairs = grounded[:half]
    return Pairs.model_construct(pairs=teller.shuffled([*pairs, *teller.shuffled(pointed)[: most - len(pairs)]]))


def _first(pairs: Iterator[Pair]) -> Iterator[Pair]:
    for number, pair in enumerate(pairs, start=1):
        yield pair
        if number == MOST_OF_A_KIND:
            return


def _distinct(pairs: Iterator[Pair] | list[Pair]) -> list[Pair]:
    return list({pair.question: pair for pair in pairs}.values())


def grounding(teller: Teller) -> Iterator[Pair]:
    """Where something is, asked by its name alone: the answer points at it."""
    for subject in teller.view.subjects:
        question = teller.say("grounding", "ask_plural" if subject.thing.plural else "ask", name=subject.the)
        words = {"the": subject.the_ref, "is": subject.be}
        if subject.place and not subject.outer and teller.coin():
            answer = teller.say("grounding", "say", **words, where=teller.where(subject))
        else:
            answer = teller.say("grounding", "bare", **words)
        yield teller.pair("grounding", [subject], question, answer)


def group(teller: Teller) -> Iterator[Pair]:
    """Where all of a kind are; only where their number is certain."""
    for noun, number, tags in teller.shuffled(counts(teller)):
        if number > 1:
            refs = f"<st>{plural(noun)}<ed>" + ", ".join(f"[{tag}]" for tag in tags)
            words = {"things": plural(noun), "thing": noun, "number": number_word(number), "refs": refs}
            yield teller.pair("grounding", tags, teller.say("group", "ask", **words), teller.say("group", "say", **words))


def area_of(tag: str) -> str:
    """A part of the picture that a question points at without naming what is in it."""
    return f"<st>this area<ed>[{tag}]"


def identity(teller: Teller) -> Iterator[Pair]:
    """What stands in a marked area."""
    for subject in teller.shuffled(teller.view.speakable):
        if len(subject.thing.boxes) == 1 and subject.be_a == "is" and not _contains(teller, subject):
            question = teller.say("identity", "ask", area=area_of(subject.tag))
            yield teller.pair(
                "identity", [subject], question, teller.say("identity", "say", a=subject.a_ref, **{"is": subject.be_a})
            )


def _contains(teller: Teller, subject: Subject) -> bool:
    """Whether the area shows another annotated thing just as well."""
    return any(
        other.tag != subject.tag and part_of(subject, other) and other.thing.box.area > 0.3 * subject.thing.box.area
        for other in teller.view.mentions
    )


def colour(teller: Teller) -> Iterator[Pair]:
    """What colour a thing has, or whether it has one."""
    for subject in teller.shuffled(teller.view.subjects):
        shade = plain_colour(subject)
        if not shade:
            continue
        words = {"the": subject.the_ref, "is": subject.be, "has": subject.has, "does": subject.does}
        if teller.coin():
            question, answer = teller.say("colour", "ask", **words), teller.say("colour", "say", **words, colour=shade)
        else:
            right = teller.coin()
            words |= {"colour": shade if right else teller.other_colour(subject), "true": shade}
            question, answer = (
                teller.say("colour_check", "ask", **words),
                teller.say("colour_check", "yes" if right else "no", **words),
            )
        yield teller.pair("colour", [subject], question, answer)


def side(teller: Teller) -> Iterator[Pair]:
    """Where two things lie to each other."""
    for one, two, where in teller.placed_pairs():
        words = {"one": one.the_ref, "two": two.the_ref, "is": one.be, "does": one.does, "true": where}
        if teller.coin():
            question, answer = teller.say("side", "ask", **words), teller.say("side", "say", **words, side=where)
        else:
            right = teller.coin()
            asked = where if right else OPPOSITE_WORDS[where]
            question = teller.say("side_check", "ask", **words, side=asked)
            answer = teller.say("side_check", "yes" if right else "no", **words, side=asked)
        yield teller.pair("relation", [one, two], question, answer)


def beside(teller: Teller) -> Iterator[Pair]:
    """Something on one side of a thing."""
    for one, two, where in teller.placed_pairs():
        words = {"the": two.the_ref, "a": one.a_ref, "is": one.be_a, "side": where}
        yield teller.pair("relation", [one, two], teller.say("beside", "ask", **words), teller.say("beside", "say", **words))


def area(teller: Teller) -> Iterator[Pair]:
    """Which of two things looks larger."""
    subjects = [item for item in teller.shuffled(teller.view.subjects) if not item.thing.plural]
    for one, two in pairwise(subjects):
        larger = teller.facts.larger(one.thing, two.thing)
        if larger is not None and not part_of(one, two):
            large, small = (one, two) if larger else (two, one)
            words = {"one": one.the_ref, "two": two.the_ref, "large": large.the_ref, "small": small.the_ref}
            yield teller.pair("size", [one, two], teller.say("area", "ask", **words), teller.say("area", "say", **words))


def _links(teller: Teller, asks: str) -> Iterator[tuple[Subject, Link, Subject]]:
    for subject in teller.shuffled(teller.view.subjects):
        for link in teller.shuffled(teller.view.links_of(subject.tag, asks)):
            yield subject, link, teller.view.mentioned(link.object)


def linked(teller: Teller) -> Iterator[Pair]:
    """What somebody is holding, riding, sitting on."""
    for subject, link, target in _links(teller, "object"):
        if target.be_a != "is" or target.person:
            continue
        words = {"the": subject.the_ref, "is": subject.be, "verb": link.verb, "object": target.a_ref}
        topic = "relation" if vocabulary.relations()[link.verb].place else "activity"
        yield teller.pair(topic, [subject, target], teller.say("linked", "ask", **words), teller.say("linked", "say", **words))


def connected(teller: Teller) -> Iterator[Pair]:
    """What two things have to do with each other."""
    for link in teller.shuffled(teller.view.links):
        if link.verb == "has" or not {link.subject, link.object} <= teller.view.by_tag.keys():
            continue
        subject, target = teller.view.by_tag[link.subject], teller.view.by_tag[link.object]
        words = {
            "the": subject.the_ref,
            "is": subject.be,
            "has": subject.has,
            "does": subject.does,
            "verb": link.verb,
            "object": target.the_ref,
        }
        yield teller.pair(
            "relation", [subject, target], teller.say("link_check", "ask", **words), teller.say("link_check", "say", **words)
        )


def use(teller: Teller) -> Iterator[Pair]:
    """What a thing that is pointed at is good for."""
    for subject in teller.shuffled(teller.view.subjects):
        noun = subject.noun
        if noun and noun.use and noun.place and noun.made_of and "edible" not in noun.traits and not subject.thing.plural:
            words = {"the": subject.the_ref, "is": subject.be, "use": noun.use}
            yield teller.pair("knowledge", [subject], teller.say("use", "ask", **words), teller.say("use", "say", **words))


def care(teller: Teller) -> Iterator[Pair]:
    """What one should mind near a thing."""
    for subject in teller.shuffled(teller.view.subjects):
        if subject.noun and subject.noun.care and not subject.person:
            words = {"the": subject.the_ref, "care": subject.care}
            yield teller.pair("knowledge", [subject], teller.say("care", "ask", **words), teller.say("care", "say", **words))


def region(teller: Teller) -> Iterator[Pair]:
    """What a described region shows, in the words of its describer; only names of things, no whole sentences."""
    usual = usual_words(teller.view.scene)
    for item in teller.shuffled(teller.view.scene.regions):
        text = region_text(item.text)
        text = text if text and plausible(text, usual) else None
        if text and item.box.area > 0.004:
            lead, _, rest = text.partition(" ")
            words = {"text": f"{lead} <st>{rest}<ed>[{item.tag}]", "area": area_of(item.tag)}
            yield teller.pair("identity", [item.tag], teller.say("region", "ask", **words), teller.say("region", "say", **words))


def usual_words(scene: Scene) -> frozenset[str]:
    """Words that several regions of a scene use, or that we know ourselves: slips of the pen are rarely made twice."""
    found = Counter(word for region in scene.regions for word in set(region.text.lower().replace(".", " ").split()))
    return (
        frozenset(word for word, number in found.items() if number > 1 or len(word) < 4 or known(word) or word in COLOURS)
        | vocabulary.known()
    )


def plausible(text: str, usual: frozenset[str]) -> bool:
    """Whether each word of a region's text is a usual one."""
    return usual.issuperset(text.replace(",", "").split())


def region_text(raw: str) -> str | None:
    """A region's text as a phrase with its article, `None` for sentences, for a bare noun at the end, and for what is odd.

    >>> region_text("A man in a red shirt. "), region_text("the clock is green in colour")
    ('a man in a red shirt', None)
    """
    text = " ".join(RENAMED.get(word, word) for word in raw.rstrip(". \n").lower().split())
    words = text.split(" ")
    if (
        not 4 <= len(words) <= 12
        or not _REGION.match(text)
        or _NOT_A_NAME.search(text)
        or text.startswith("the ")
        or captions.DOES.intersection(words)
        or _bare(words)
    ):
        return None
    return text


def _bare(words: list[str]) -> bool:
    """Whether it ends in no noun, or has one without its article: "a man on bike", "a chair with soft cushion"."""
    if words[-1] in PREPOSITIONS | ENDLESS:
        return True
    text = _BEFORE.sub(" near ", " ".join(words))
    phrase: list[str] = ["a"]
    for word in (*text.split(" "), ""):
        if word and not _links_nouns(word, phrase):
            phrase.append(word)
            continue
        if phrase and DETERMINERS.isdisjoint(phrase) and _countable(phrase[-1]):
            return True
        phrase = []
    return False


def _links_nouns(word: str, before: list[str]) -> bool:
    """Whether a word begins a phrase of its own: a preposition or a participle, but not the railing of "the railing"."""
    participle = (
        word.endswith("ing") and known(word) is None and word not in vocabulary.known() and before[-1:] not in (["a"], ["the"])
    )
    return word in PREPOSITIONS or participle


def _countable(word: str) -> bool:
    """Whether a noun needs a determiner: neither a stuff nor several, and no colour."""
    noun = known(word)
    return word not in COLOURS and number_of(word) == "singular" and not (noun and noun.mass)


POINTING: tuple[_Maker, ...] = (identity, colour, side, beside, area, linked, connected, use, care, region)
