"""Referring questions: about half ask for a place ("grounding") and get the reference, the others point at objects themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

from comvint_hf.annotator.facts.scene import Link
from comvint_hf.annotator.svit import captions
from comvint_hf.annotator.svit.context import OPPOSITE_WORDS, Context, part_of
from comvint_hf.annotator.svit.turns import counts, plain_colour
from comvint_hf.annotator.svit.view import Subject
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import COLOURS, RENAMED, number_of, number_word
from comvint_hf.annotator.words.knowledge import find_noun
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs
from comvint_hf.text import plural
from comvint_hf.types import Scene

MOST_OF_A_KIND = 2
"""How many questions of one kind a scene gets, grounding apart."""
_Maker = Callable[[Context], Iterator[Pair]]
_REGION = re.compile(r"^(?:a|an|two|three|four|some|the) [a-z][a-z' \-]+$")
PREPOSITIONS = frozenset(
    ("on", "in", "of", "to", "along", "near", "by", "at", "with", "under", "behind", "from", "beside", "over")
    + ("against", "above", "below", "into", "onto", "across", "around", "between", "through", "without", "inside")
)
ENDLESS = frozenset(("outside", "inside", "there", "here", "parked", "walking", "standing", "sitting"))
"""Words that no phrase for an object ends in."""
DETERMINERS = frozenset(
    ("a", "an", "the", "his", "her", "its", "their", "one", "each", "some", "any", "this", "that") + ("another",)
)
_BEFORE = re.compile(r" (?:in front of|on top of|next to|in back of) ")
_NOT_A_NAME = re.compile(
    r"\b(?:is|are|has|have|was|were|says?|reads|seems?|looks|can|with of|photo|picture|image|background|foreground|this|that|it|there|color|colour|side walks?)\b|\bnext (?!to\b)|\b(?:sitting|standing|lying|leaning|hanging) (?:an?|the)\b|\b(\w+) \1\b"
)


def referring_qa(prompt: Prompt, random: Random) -> Pairs:
    """Answer the prompt `svit/referring_qa`: at most `count` pairs, half of them grounding where the scene allows."""
    context = Context(prompt, random, "svit_referring")
    most = prompt.blanks.get("count", 10)
    grounded = _distinct(context.shuffled((*grounding(context), *group(context))))
    pointed = _distinct(pair for make in context.shuffled(POINTING) for pair in _first(make(context)))
    half = max((most + 1) // 2, most - len(pointed))
    half = min(half, len(pointed) + 1)
    pairs = grounded[:half]
    return Pairs.model_construct(pairs=context.shuffled([*pairs, *context.shuffled(pointed)[: most - len(pairs)]]))


def _first(pairs: Iterator[Pair]) -> Iterator[Pair]:
    for number, pair in enumerate(pairs, start=1):
        yield pair
        if number == MOST_OF_A_KIND:
            return


def _distinct(pairs: Iterator[Pair] | list[Pair]) -> list[Pair]:
    return list({pair.question: pair for pair in pairs}.values())


def grounding(context: Context) -> Iterator[Pair]:
    """Where something is, asked by its name alone: the answer points at it."""
    for subject in context.view.subjects:
        question = context.render("grounding", "ask_plural" if subject.obj.plural else "ask", name=subject.the)
        words = {"the": subject.the_ref, "is": subject.be}
        if subject.place and not subject.outer and context.draw_bool():
            answer = context.render("grounding", "say", **words, where=context.where(subject))
        else:
            answer = context.render("grounding", "bare", **words)
        yield context.pair("grounding", [subject], question, answer)


def group(context: Context) -> Iterator[Pair]:
    """Where all of a kind are; only where their number is certain."""
    for noun, number, tags in context.shuffled(counts(context)):
        if number > 1:
            refs = f"<st>{plural(noun)}<ed>" + ", ".join(f"[{tag}]" for tag in tags)
            words = {"things": plural(noun), "thing": noun, "number": number_word(number), "refs": refs}
            yield context.turn("grounding", tags, "group", **words)


def area_of(tag: str) -> str:
    """A part of the image that a question points at without naming what is in it."""
    return f"<st>this area<ed>[{tag}]"


def identity(context: Context) -> Iterator[Pair]:
    """What stands in a marked area."""
    for subject in context.shuffled(context.view.subject_candidates):
        if len(subject.obj.boxes) == 1 and subject.be_a == "is" and not _contains(context, subject):
            question = context.render("identity", "ask", area=area_of(subject.tag))
            yield context.pair(
                "identity", [subject], question, context.render("identity", "say", a=subject.a_ref, **{"is": subject.be_a})
            )


def _contains(context: Context, subject: Subject) -> bool:
    """Whether the area shows another annotated object just as well."""
    return any(
        other.tag != subject.tag and part_of(subject, other) and other.obj.box.area > 0.3 * subject.obj.box.area
        for other in context.view.all_subjects
    )


def colour(context: Context) -> Iterator[Pair]:
    """What colour an object has, or whether it has one."""
    for subject in context.shuffled(context.view.subjects):
        shade = plain_colour(subject)
        if not shade:
            continue
        words = {"the": subject.the_ref, "is": subject.be, "has": subject.has, "does": subject.does}
        if context.draw_bool():
            question, answer = context.render("colour", "ask", **words), context.render("colour", "say", **words, colour=shade)
        else:
            right = context.draw_bool()
            words |= {"colour": shade if right else context.other_colour(subject), "true": shade}
            question, answer = (
                context.render("colour_check", "ask", **words),
                context.render("colour_check", "yes" if right else "no", **words),
            )
        yield context.pair("colour", [subject], question, answer)


def side(context: Context) -> Iterator[Pair]:
    """Where two objects lie to each other."""
    for one, two, where in context.position_pairs():
        words = {"one": one.the_ref, "two": two.the_ref, "is": one.be, "does": one.does, "true": where}
        if context.draw_bool():
            question, answer = context.render("side", "ask", **words), context.render("side", "say", **words, side=where)
        else:
            right = context.draw_bool()
            asked = where if right else OPPOSITE_WORDS[where]
            question = context.render("side_check", "ask", **words, side=asked)
            answer = context.render("side_check", "yes" if right else "no", **words, side=asked)
        yield context.pair("relation", [one, two], question, answer)


def object_on_side(context: Context) -> Iterator[Pair]:
    """Something on one side of an object."""
    for one, two, where in context.position_pairs():
        words = {"the": two.the_ref, "a": one.a_ref, "is": one.be_a, "side": where}
        yield context.turn("relation", [one, two], "beside", **words)


def area(context: Context) -> Iterator[Pair]:
    """Which of two objects looks larger."""
    subjects = [item for item in context.shuffled(context.view.subjects) if not item.obj.plural]
    for one, two in pairwise(subjects):
        larger = context.facts.larger(one.obj, two.obj)
        if larger is not None and not part_of(one, two):
            large, small = (one, two) if larger else (two, one)
            words = {"one": one.the_ref, "two": two.the_ref, "large": large.the_ref, "small": small.the_ref}
            yield context.turn("size", [one, two], "area", **words)


def _links(context: Context, asks: str) -> Iterator[tuple[Subject, Link, Subject]]:
    for subject in context.shuffled(context.view.subjects):
        for link in context.shuffled(context.view.links_of(subject.tag, asks)):
            yield subject, link, context.view.subject_of(link.object)


def linked(context: Context) -> Iterator[Pair]:
    """What somebody is holding, riding, sitting on."""
    for subject, link, target in _links(context, "object"):
        if target.be_a != "is" or target.person:
            continue
        words = {"the": subject.the_ref, "is": subject.be, "verb": link.verb, "object": target.a_ref}
        topic = "relation" if vocabulary.relations()[link.verb].place else "activity"
        yield context.turn(topic, [subject, target], "linked", **words)


def connected(context: Context) -> Iterator[Pair]:
    """What two objects have to do with each other."""
    for link in context.shuffled(context.view.links):
        if link.verb == "has" or not {link.subject, link.object} <= context.view.by_tag.keys():
            continue
        subject, target = context.view.by_tag[link.subject], context.view.by_tag[link.object]
        words = {
            "the": subject.the_ref,
            "is": subject.be,
            "has": subject.has,
            "does": subject.does,
            "verb": link.verb,
            "object": target.the_ref,
        }
        yield context.turn("relation", [subject, target], "link_check", **words)


def use(context: Context) -> Iterator[Pair]:
    """What an object that is pointed at is good for."""
    for subject in context.shuffled(context.view.subjects):
        noun = subject.noun
        if noun and noun.use and noun.place and noun.made_of and "edible" not in noun.traits and not subject.obj.plural:
            words = {"the": subject.the_ref, "is": subject.be, "use": noun.use}
            yield context.turn("knowledge", [subject], "use", **words)


def care(context: Context) -> Iterator[Pair]:
    """What one should mind near an object."""
    for subject in context.shuffled(context.view.subjects):
        if subject.noun and subject.noun.care and not subject.person:
            words = {"the": subject.the_ref, "care": subject.care}
            yield context.turn("knowledge", [subject], "care", **words)


def region(context: Context) -> Iterator[Pair]:
    """What a described region shows, in the words of its describer; only names of objects, no whole sentences."""
    usual = common_words(context.view.scene)
    for item in context.shuffled(context.view.scene.regions):
        text = region_text(item.text)
        text = text if text and has_common_words(text, usual) else None
        if text and item.box.area > 0.004:
            lead, _, rest = text.partition(" ")
            words = {"text": f"{lead} <st>{rest}<ed>[{item.tag}]", "area": area_of(item.tag)}
            yield context.turn("identity", [item.tag], "region", **words)


def common_words(scene: Scene) -> frozenset[str]:
    """Words that several regions of a scene use, or that we know ourselves: slips of the pen are rarely made twice."""
    found = Counter(word for region in scene.regions for word in set(region.text.lower().replace(".", " ").split()))
    return (
        frozenset(word for word, number in found.items() if number > 1 or len(word) < 4 or find_noun(word) or word in COLOURS)
        | vocabulary.known_words()
    )


def has_common_words(text: str, usual: frozenset[str]) -> bool:
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
        or _lacks_determiner(words)
    ):
        return None
    return text


def _lacks_determiner(words: list[str]) -> bool:
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
        word.endswith("ing")
        and find_noun(word) is None
        and word not in vocabulary.known_words()
        and before[-1:] not in (["a"], ["the"])
    )
    return word in PREPOSITIONS or participle


def _countable(word: str) -> bool:
    """Whether a noun needs a determiner: neither a stuff nor several, and no colour."""
    noun = find_noun(word)
    return word not in COLOURS and number_of(word) == "singular" and not (noun and noun.mass)


POINTING: tuple[_Maker, ...] = (identity, colour, side, object_on_side, area, linked, connected, use, care, region)
