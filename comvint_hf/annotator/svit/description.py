"""Detail descriptions: what is certain about a scene in flowing sentences, in an order drawn by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random

from comvint_hf.annotator.svit import captions
from comvint_hf.annotator.svit.context import Teller, shared
from comvint_hf.annotator.svit.referring_questions import plausible, region_text, usual_words
from comvint_hf.annotator.svit.templates import clause
from comvint_hf.annotator.svit.turns import plain_colour
from comvint_hf.annotator.svit.view import LARGE, Subject
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import ONLY_ONES, article, be, counted, listed, plural, singular
from comvint_hf.annotator.words.vocabulary import broad, could_be
from comvint_hf.errors import NothingLeftError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Description

MOST_SENTENCES = {"place": 5, "side": 3, "attribute": 5, "link": 5, "region": 4}
"""How many sentences of one kind a description has at most: it is to be read, not to be searched."""
FEWEST_SENTENCES, FEWEST_WORDS, FEWEST_THINGS = 5, 30, 3
"""Fewer are no description of a photo; where a caption says what goes on, four sentences will do."""
UNJOINED = ("As for", "Looking", "It ")
"""Openings of sentences that read badly after "and" or "while"."""
_Part = Callable[[], Iterator[tuple[str, list[str]]]]


def detail_description(prompt: Prompt, random: Random) -> Description:
    """Answer the prompt `svit/detail_description`; the tags of what it mentions are its evidence."""
    teller = Teller(prompt, random, "svit_description")
    told = list(_drawn(teller) if teller.view.drawn else _pictured(teller))
    tags = [tag for _, mentioned in told for tag in mentioned]
    text = " ".join(sentence for sentence, _ in told)
    opened = bool(told) and told[0][0] in captions.spoken(teller.view.scene)
    if not teller.view.drawn and (
        len(told) < FEWEST_SENTENCES - opened or len(text.split()) < FEWEST_WORDS or len(set(tags)) < FEWEST_THINGS
    ):
        raise NothingLeftError(f"{prompt.scene.id} shows too little that can be described with certainty.")
    return Description.model_construct(evidence=list(dict.fromkeys(tags)), description=text)


def _drawn(teller: Teller) -> Iterator[tuple[str, list[str]]]:
    """The number of shapes, then each with its place, then the writing: short and regular."""
    things = teller.facts.things
    words = {
        "number": counted("shape", len(things)),
        "are": be(len(things)),
        "ground": teller.view.scene.meta.get("background", "plain"),
    }
    yield teller.say("total", "say", **words), []
    for subject in teller.view.mentions:
        name = " ".join((*subject.thing.attributes, subject.thing.noun))
        yield teller.say("item", "say", a=f"{article(name)} {name}", where=teller.where(subject)), [subject.tag]
    for text in teller.view.scene.texts:
        yield teller.say("text", "say", text=text.text), []


def _pictured(teller: Teller) -> Iterator[tuple[str, list[str]]]:
    """What goes on, what there is, then looks, places, relations and details in an order of the seed."""
    opening = [caption for caption in teller.shuffled(captions.spoken(teller.view.scene)) if _in_our_words(teller, caption)]
    opening = [*opening[:1], *[caption for caption in opening[1:] if captions.says_more(caption, opening[0])][:1]]
    named = _named(teller, opening[0]) if opening else []
    others = [item for item in _different(teller, named) if not (opening and _told(teller, item, opening[0], named))]
    yield from ((caption, [item.tag for item in named]) for caption in opening[:1])
    yield from _contents(teller, named, others)
    known = {item.tag for item in (*named, *others)}
    details = list(_regions(teller))
    parts: list[_Part] = [
        lambda: flowing(teller, [told for told in _looks(teller, " ".join(opening)) if known.issuperset(told[1])]),
        lambda: flowing(teller, [told for told in _places(teller) if known.issuperset(told[1])]),
        lambda: flowing(teller, [told for told in _sides(teller) if known.issuperset(told[1])]),
        lambda: flowing(teller, list(_links(teller, " ".join(opening), known, [text for text, _ in details]))),
        lambda: iter(details),
        lambda: ((caption, []) for caption in opening[1:]),
    ]
    for part in teller.shuffled(parts):
        yield from part()
    yield from ((teller.say("text", "say", text=text.text), []) for text in teller.view.scene.texts)


def _told(teller: Teller, item: Subject, caption: str, named: list[Subject]) -> bool:
    """Whether a caption may speak of a thing that it does not name by its tag: of one adult of several, or of it without a tag."""
    if item.person and captions.of_several(caption):
        return True
    words = caption.lower().rstrip(".").replace(",", "").split()
    untied = not captions.named(teller.view.scene, caption) or any(known.thing.noun == item.thing.noun for known in named)
    return not untied and item.thing.noun.split(" ")[-1].lower() in words


def _named(teller: Teller, caption: str) -> list[Subject]:
    """What a caption names that one may speak of; nothing where the corpus does not tie captions to things."""
    second = teller.facts.second_names
    tags = {second.get(tag, tag) for tag in captions.named(teller.view.scene, caption)}
    return [item for item in teller.view.mentions if item.tag in tags]


def _in_our_words(teller: Teller, caption: str) -> bool:
    """Whether a caption calls things what we call them: a guy of one sentence and a young man of the next would be two."""
    words = set(caption.lower().rstrip(".").replace(",", "").split())
    return all(words.issuperset(item.thing.noun.lower().split(" ")) for item in _named(teller, caption))


def _contents(teller: Teller, named: list[Subject], others: list[Subject]) -> Iterator[tuple[str, list[str]]]:
    """The things in view that were not `named` yet: numbers where they are certain, "a" or "some" where they are not."""
    groups: dict[str, list[Subject]] = {}
    for item in others:
        groups.setdefault(_name(teller, item), []).append(item)
    ranked = sorted(groups.values(), key=lambda items: -sum(item.thing.box.area for item in items))[:10]
    before = {item.thing.noun for item in named}
    phrases = [(_several(teller, items, items[0].thing.noun in before), items) for items in ranked]
    wordings = teller.shuffled(teller.speaker.tables["count"]["more"])
    for number, start in enumerate(range(0, len(phrases), 5)):
        chunk = phrases[start : start + 5]
        text = listed([phrase for phrase, _ in chunk])
        verb = "are" if len(chunk[0][1]) > 1 or chunk[0][1][0].be_a == "are" else "is"
        form = wordings[number] if number or named else teller.speaker.draw(teller.speaker.tables["count"]["say"])
        yield teller.speaker.fill(form, list=text, are=verb), [item.tag for _, items in chunk for item in items]


def _name(teller: Teller, item: Subject) -> str:
    """What a thing is counted by: in Visual Genome a window and the windows are annotated beside one another."""
    phrase = item.thing.phrase
    if teller.view.scene.source != "visual_genome":
        return phrase.text
    return phrase.head if phrase.text == phrase.core and could_be(phrase.core, phrase.head) else singular(phrase.text)


def _different(teller: Teller, named: list[Subject]) -> list[Subject]:
    """The things in view beside those `named`, without any that may be another one under a second name."""
    kept = [*named]
    for item in teller.view.mentions:
        if not any(item is other or _same(teller, item, other) for other in kept):
            kept.append(item)
    return kept[len(named) :]


def _same(teller: Teller, one: Subject, two: Subject) -> bool:
    if one.person != two.person and "piece of clothing" in broad(one.thing.phrase.core) | broad(two.thing.phrase.core):
        return False
    if _unlike(one, two):
        return False
    if one.person and two.person and one.thing.plural != two.thing.plural and shared(one, two) > 0.7:
        return True  # the woman is one of the women
    related = one.thing.noun != two.thing.noun and could_be(one.thing.phrase.core, two.thing.phrase.core)
    return not teller.facts.apart(one.thing, two.thing) or (related and shared(one, two) > 0.5)


def _unlike(one: Subject, two: Subject) -> bool:
    """Whether their names are known to mean different things: a shirt and a backpack in one box are two."""
    cores = one.thing.phrase.core, two.thing.phrase.core
    return all(vocabulary.meanings(core) & vocabulary.kinds().keys() for core in cores) and not could_be(*cores)


def _several(teller: Teller, items: list[Subject], more: bool) -> str:
    """Things of one noun, with their number if it is certain; there are `more` where one was named before."""
    nouns = {item.thing.noun for item in items}
    noun = items[0].thing.noun if len(nouns) == 1 else _name(teller, items[0])
    if singular(noun) in ONLY_ONES:
        return f"the {singular(noun)}"
    if more:
        single = len(items) == 1 and items[0].thing.phrase.number == "singular"
        return f"another {noun}" if single else f"some other {plural(noun)}"
    if len(items) == 1 and (not teller.facts.exhaustive or len(teller.facts.called(noun)) == 1):
        return items[0].a
    number = teller.facts.count(noun) if items[0].thing.phrase.number == "singular" else None
    if number:
        return counted(noun, number)
    return f"several {plural(noun)}" if len(items) > 2 and teller.facts.exhaustive else f"some {plural(noun)}"


def _looks(teller: Teller, before: str) -> Iterator[tuple[str, list[str]]]:
    """Colours and the like, unless the captions told `before` say so."""
    told, known = 0, set(before.lower().rstrip(".").split())
    for subject in teller.shuffled(teller.view.subjects):
        words = {"the": subject.the, "is": subject.be, "it": subject.it, "has": subject.has}
        shade = plain_colour(subject)
        if shade and {shade, subject.thing.phrase.head.lower()} <= known:
            continue
        if shade:
            yield teller.say("attribute", "say", **words, attribute=shade), [subject.tag]
        else:
            found = [text for _, text in teller.view.attributes(subject.thing) if text not in subject.name]
            if not found:
                continue
            yield teller.say("attribute_other", "say", **words, attribute=teller.random.choice(found)), [subject.tag]
        told += 1
        if told == MOST_SENTENCES["attribute"]:
            return


def flowing(teller: Teller, told: list[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Join some neighbouring sentences into one, as a person would."""
    rest = list(told)
    while rest:
        sentence, tags = rest.pop(0)
        if rest and len(sentence.split()) < 14 and not _unjoined(sentence, rest[0][0]) and teller.coin():
            after, more = rest.pop(0)
            sentence, tags = f"{sentence[:-1]}, {teller.random.choice(('and', 'while'))} {clause(after)}.", [*tags, *more]
        yield sentence, tags


def _unjoined(sentence: str, after: str) -> bool:
    """Whether two sentences read badly as one: an opening that must begin one, or the same subject twice."""
    return after.startswith(UNJOINED) or sentence.split()[:2] == after.split()[:2]


def _places(teller: Teller) -> Iterator[tuple[str, list[str]]]:
    ranked = sorted(teller.view.subjects, key=lambda item: -item.thing.box.area)[:1]
    for subject in [item for item in ranked if item.thing.box.area > LARGE and len(item.thing.boxes) == 1]:
        verbs = {
            "takes": "take" if subject.thing.plural else "takes",
            "dominates": "dominate" if subject.thing.plural else "dominates",
        }
        yield teller.say("large", "say", the=subject.the, **verbs), [subject.tag]
    placed = [item for item in teller.view.subjects if item.place and not item.outer]
    different = {item.place: item for item in teller.shuffled(placed)}
    for subject in [*different.values()][: MOST_SENTENCES["place"]]:
        words = {"the": subject.the, "is": subject.be, "where": teller.where(subject)}
        yield teller.say("place", "again", **words), [subject.tag]


def _sides(teller: Teller) -> Iterator[tuple[str, list[str]]]:
    told: set[str] = set()
    linked = {frozenset((link.subject, link.object)) for link in teller.view.links}
    for one, two, side in teller.placed_pairs():
        if {one.tag, two.tag} not in linked and told.isdisjoint((one.tag, f"{side} {two.tag}")):
            told |= {one.tag, f"{side} {two.tag}"}
            yield teller.say("side", "say", one=one.the, two=two.the, side=side, **{"is": one.be}), [one.tag, two.tag]
        if len(told) == 2 * MOST_SENTENCES["side"]:
            return


def _links(teller: Teller, before: str, known: set[str], details: Sequence[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """What is done and where by and with the `known` things, unless the captions told `before` or the `details` say so."""
    told: set[frozenset[str]] = set()
    number = 0
    nouns = Counter(_name(teller, item) for item in teller.view.mentions if item.tag in known)
    for link in teller.shuffled(teller.view.links):
        subject, target = teller.view.mentioned(link.subject), teller.view.mentioned(link.object)
        one, two = (_again(item, teller, nouns) for item in (subject, target))
        if not one.startswith("the ") and frozenset(("any", one)) in told:
            continue  # a man and again a man would be two
        said = {
            frozenset((link.subject, link.object)),
            frozenset((link.subject, link.verb)),
            frozenset((link.verb, link.object)),
            frozenset((subject.spoken, link.verb, target.spoken)),
            frozenset(("once", link.object)),
            frozenset(("any", one)),
        }
        new = {link.subject, link.object} <= known and link.verb != "has"
        if not new or said & told or _tells(before, link.verb, target) or _detailed(details, subject, target):
            continue
        told |= said
        number += 1
        words = {"the": one, "is": subject.be, "verb": link.verb, "object": two}
        yield teller.say("link", "say", **words), [subject.tag, target.tag]
        if number == MOST_SENTENCES["link"]:
            return


def _detailed(details: Sequence[str], *items: Subject) -> bool:
    """Whether one of the details speaks of all of these things."""
    return any(all(_speaks_of(text, item) for item in items) for text in details)


def _speaks_of(text: str, item: Subject) -> bool:
    words = text.lower().rstrip(".").split()
    core = item.thing.phrase.core
    return any(word == core.replace(" ", "") or could_be(word, core) for word in (*words, *map(" ".join, pairwise(words))))


def _again(item: Subject, teller: Teller, nouns: Counter[str]) -> str:
    """A thing that was mentioned before: "the man" where no other man was, be there one or not."""
    return item.the if not teller.facts.exhaustive and nouns[_name(teller, item)] == 1 else item.spoken


def _tells(text: str, verb: str, target: Subject) -> bool:
    """Whether a text has the target's name and a form of the verb."""
    words = text.lower().replace(".", "").split()
    known = [word for word in words if vocabulary.meanings(word) & vocabulary.kinds().keys()]
    core = target.thing.phrase.core
    named = target.thing.phrase.head in words or any(could_be(word, core) for word in known)
    starts = ("lay", "lie", "lyi") if verb.startswith("lying") else (verb[:3],)
    return named and (verb in ("wearing", "on", "in", "at") or any(word.startswith(starts) for word in words))


def _regions(teller: Teller) -> Iterator[tuple[str, list[str]]]:
    """Details in the words of their describers, none that says again what another one said."""
    said: set[str] = set()
    told = 0
    usual = usual_words(teller.view.scene)
    for region in teller.shuffled(teller.view.scene.regions):
        text = region_text(region.text)
        text = text if text and plausible(text, usual) else None
        words = set(text.split()) if text else set()
        if not text or len(words & said) > len(words) / 2:
            continue
        said |= words
        told += 1
        many = text.startswith(("two ", "three ", "four ", "some ", "a couple of "))
        yield teller.say("region", "say", text=text, **{"is": "are" if many else "is"}), [region.tag]
        if told == MOST_SENTENCES["region"]:
            return
