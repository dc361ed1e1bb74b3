"""Detail descriptions: what is certain about a scene in flowing sentences, in an order drawn by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random

from comvint_hf.annotator.svit import captions
from comvint_hf.annotator.svit.context import Context, shared
from comvint_hf.annotator.svit.referring_questions import common_words, has_common_words, region_text
from comvint_hf.annotator.svit.templates import clause
from comvint_hf.annotator.svit.turns import plain_colour
from comvint_hf.annotator.svit.view import LARGE, Subject
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import ONLY_ONES, article, be, format_count, join_phrases
from comvint_hf.annotator.words.vocabulary import all_classes_of, could_be
from comvint_hf.errors import NothingLeftError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Description
from comvint_hf.text import plural, singular

MOST_SENTENCES = {"place": 5, "side": 3, "attribute": 5, "link": 5, "region": 4}
"""How many sentences of one kind a description has at most: it is to be read, not to be searched."""
FEWEST_SENTENCES, FEWEST_WORDS, FEWEST_THINGS = 5, 30, 3
"""Fewer are no description of a photo; where a caption says what goes on, four sentences will do."""
UNJOINED = ("As for", "Looking", "It ")
"""Openings of sentences that read badly after "and" or "while"."""
_Part = Callable[[], Iterator[tuple[str, list[str]]]]


def detail_description(prompt: Prompt, random: Random) -> Description:
    """Answer the prompt `svit/detail_description`; the tags of what it mentions are its evidence."""
    context = Context(prompt, random, "svit_description")
    told = list(_describe_rendered(context) if context.view.rendered else _describe_photo(context))
    tags = [tag for _, mentioned in told for tag in mentioned]
    text = " ".join(sentence for sentence, _ in told)
    opened = bool(told) and told[0][0] in captions.caption_sentences(context.view.scene)
    if not context.view.rendered and (
        len(told) < FEWEST_SENTENCES - opened or len(text.split()) < FEWEST_WORDS or len(set(tags)) < FEWEST_THINGS
    ):
        raise NothingLeftError(f"{prompt.scene.id} shows too little that can be described with certainty.")
    return Description.model_construct(evidence=list(dict.fromkeys(tags)), description=text)


def _describe_rendered(context: Context) -> Iterator[tuple[str, list[str]]]:
    """The number of shapes, then each with its place, then the writing: short and regular."""
    objects = context.facts.objects
    words = {
        "number": format_count("shape", len(objects)),
        "are": be(len(objects)),
        "ground": context.view.scene.meta.get("background", "plain"),
    }
    yield context.render("total", "say", **words), []
    for subject in context.view.all_subjects:
        name = " ".join((*subject.obj.attributes, subject.obj.noun))
        yield context.render("item", "say", a=f"{article(name)} {name}", where=context.where(subject)), [subject.tag]
    for text in context.view.scene.texts:
        yield context.render("text", "say", text=text.text), []


def _describe_photo(context: Context) -> Iterator[tuple[str, list[str]]]:
    """What goes on, what there is, then looks, places, relations and details in an order of the seed."""
    opening = [
        caption
        for caption in context.shuffled(captions.caption_sentences(context.view.scene))
        if _uses_same_names(context, caption)
    ]
    opening = [*opening[:1], *[caption for caption in opening[1:] if captions.adds_content(caption, opening[0])][:1]]
    named = _named(context, opening[0]) if opening else []
    others = [item for item in _different(context, named) if not (opening and _may_mention(context, item, opening[0], named))]
    yield from ((caption, [item.tag for item in named]) for caption in opening[:1])
    yield from _contents(context, named, others)
    known = {item.tag for item in (*named, *others)}
    details = list(_regions(context))
    parts: list[_Part] = [
        lambda: join_sentences(context, [told for told in _looks(context, " ".join(opening)) if known.issuperset(told[1])]),
        lambda: join_sentences(context, [told for told in _location_sentences(context) if known.issuperset(told[1])]),
        lambda: join_sentences(context, [told for told in _side_sentences(context) if known.issuperset(told[1])]),
        lambda: join_sentences(context, list(_links(context, " ".join(opening), known, [text for text, _ in details]))),
        lambda: iter(details),
        lambda: ((caption, []) for caption in opening[1:]),
    ]
    for part in context.shuffled(parts):
        yield from part()
    yield from ((context.render("text", "say", text=text.text), []) for text in context.view.scene.texts)


def _may_mention(context: Context, item: Subject, caption: str, named: list[Subject]) -> bool:
    """Whether a caption may speak of an object that it does not name by its tag: of one adult of several, or of it without a tag."""
    if item.person and captions.names_several_people(caption):
        return True
    words = caption.lower().rstrip(".").replace(",", "").split()
    untied = not captions.named_tags(context.view.scene, caption) or any(known.obj.noun == item.obj.noun for known in named)
    return not untied and item.obj.noun.split(" ")[-1].lower() in words


def _named(context: Context, caption: str) -> list[Subject]:
    """What a caption names that one may speak of; nothing where the corpus does not tie captions to objects."""
    second = context.facts.second_names
    tags = {second.get(tag, tag) for tag in captions.named_tags(context.view.scene, caption)}
    return [item for item in context.view.all_subjects if item.tag in tags]


def _uses_same_names(context: Context, caption: str) -> bool:
    """Whether a caption calls objects what we call them: a guy of one sentence and a young man of the next would be two."""
    words = set(caption.lower().rstrip(".").replace(",", "").split())
    return all(words.issuperset(item.obj.noun.lower().split(" ")) for item in _named(context, caption))


def _contents(context: Context, named: list[Subject], others: list[Subject]) -> Iterator[tuple[str, list[str]]]:
    """The objects in view that were not `named` yet: numbers where they are certain, "a" or "some" where they are not."""
    groups: dict[str, list[Subject]] = {}
    for item in others:
        groups.setdefault(_name(context, item), []).append(item)
    ranked = sorted(groups.values(), key=lambda items: -sum(item.obj.box.area for item in items))[:10]
    before = {item.obj.noun for item in named}
    phrases = [(_several(context, items, items[0].obj.noun in before), items) for items in ranked]
    wordings = context.shuffled(context.speaker.tables["count"]["more"])
    for number, start in enumerate(range(0, len(phrases), 5)):
        chunk = phrases[start : start + 5]
        text = join_phrases([phrase for phrase, _ in chunk])
        verb = "are" if len(chunk[0][1]) > 1 or chunk[0][1][0].be_a == "are" else "is"
        form = wordings[number] if number or named else context.speaker.draw(context.speaker.tables["count"]["say"])
        yield context.speaker.fill(form, list=text, are=verb), [item.tag for _, items in chunk for item in items]


def _name(context: Context, item: Subject) -> str:
    """What an object is counted by: in Visual Genome a window and the windows are annotated beside one another."""
    phrase = item.obj.phrase
    if not context.facts.traits.free_text_names:
        return phrase.text
    return phrase.head if phrase.text == phrase.core and could_be(phrase.core, phrase.head) else singular(phrase.text)


def _different(context: Context, named: list[Subject]) -> list[Subject]:
    """The objects in view beside those `named`, without any that may be another one under a second name."""
    kept = [*named]
    for item in context.view.all_subjects:
        if not any(item is other or _same(context, item, other) for other in kept):
            kept.append(item)
    return kept[len(named) :]


def _same(context: Context, one: Subject, two: Subject) -> bool:
    if one.person != two.person and "piece of clothing" in all_classes_of(one.obj.phrase.core) | all_classes_of(
        two.obj.phrase.core
    ):
        return False
    if _unlike(one, two):
        return False
    if one.person and two.person and one.obj.plural != two.obj.plural and shared(one, two) > 0.7:
        return True  # the woman is one of the women
    related = one.obj.noun != two.obj.noun and could_be(one.obj.phrase.core, two.obj.phrase.core)
    return not context.facts.are_distinct(one.obj, two.obj) or (related and shared(one, two) > 0.5)


def _unlike(one: Subject, two: Subject) -> bool:
    """Whether their names are known to mean different objects: a shirt and a backpack in one box are two."""
    cores = one.obj.phrase.core, two.obj.phrase.core
    return all(vocabulary.classes_of(core) & vocabulary.kind_table().keys() for core in cores) and not could_be(*cores)


def _several(context: Context, items: list[Subject], more: bool) -> str:
    """Objects of one noun, with their number if it is certain; there are `more` where one was named before."""
    nouns = {item.obj.noun for item in items}
    noun = items[0].obj.noun if len(nouns) == 1 else _name(context, items[0])
    if singular(noun) in ONLY_ONES:
        return f"the {singular(noun)}"
    if more:
        single = len(items) == 1 and items[0].obj.phrase.number == "singular"
        return f"another {noun}" if single else f"some other {plural(noun)}"
    if len(items) == 1 and (not context.facts.exhaustive or len(context.facts.candidates_for(noun)) == 1):
        return items[0].a
    number = context.facts.count(noun) if items[0].obj.phrase.number == "singular" else None
    if number:
        return format_count(noun, number)
    return f"several {plural(noun)}" if len(items) > 2 and context.facts.exhaustive else f"some {plural(noun)}"


def _looks(context: Context, before: str) -> Iterator[tuple[str, list[str]]]:
    """Colours and the like, unless the captions told `before` say so."""
    told, known = 0, set(before.lower().rstrip(".").split())
    for subject in context.shuffled(context.view.subjects):
        words = {"the": subject.the, "is": subject.be, "it": subject.it, "has": subject.has}
        shade = plain_colour(subject)
        if shade and {shade, subject.obj.phrase.head.lower()} <= known:
            continue
        if shade:
            yield context.render("attribute", "say", **words, attribute=shade), [subject.tag]
        else:
            found = [text for _, text in context.view.attributes(subject.obj) if text not in subject.name]
            if not found:
                continue
            yield context.render("attribute_other", "say", **words, attribute=context.random.choice(found)), [subject.tag]
        told += 1
        if told == MOST_SENTENCES["attribute"]:
            return


def join_sentences(context: Context, told: list[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Join some neighbouring sentences into one, as a person would."""
    rest = list(told)
    while rest:
        sentence, tags = rest.pop(0)
        if rest and len(sentence.split()) < 14 and not _cannot_join(sentence, rest[0][0]) and context.draw_bool():
            after, more = rest.pop(0)
            sentence, tags = f"{sentence[:-1]}, {context.random.choice(('and', 'while'))} {clause(after)}.", [*tags, *more]
        yield sentence, tags


def _cannot_join(sentence: str, after: str) -> bool:
    """Whether two sentences read badly as one: an opening that must begin one, or the same subject twice."""
    return after.startswith(UNJOINED) or sentence.split()[:2] == after.split()[:2]


def _location_sentences(context: Context) -> Iterator[tuple[str, list[str]]]:
    ranked = sorted(context.view.subjects, key=lambda item: -item.obj.box.area)[:1]
    for subject in [item for item in ranked if item.obj.box.area > LARGE and len(item.obj.boxes) == 1]:
        verbs = {
            "takes": "take" if subject.obj.plural else "takes",
            "dominates": "dominate" if subject.obj.plural else "dominates",
        }
        yield context.render("large", "say", the=subject.the, **verbs), [subject.tag]
    placed = [item for item in context.view.subjects if item.place and not item.outer]
    different = {item.place: item for item in context.shuffled(placed)}
    for subject in [*different.values()][: MOST_SENTENCES["place"]]:
        words = {"the": subject.the, "is": subject.be, "where": context.where(subject)}
        yield context.render("place", "again", **words), [subject.tag]


def _side_sentences(context: Context) -> Iterator[tuple[str, list[str]]]:
    told: set[str] = set()
    linked = {frozenset((link.subject, link.object)) for link in context.view.links}
    for one, two, side in context.position_pairs():
        if {one.tag, two.tag} not in linked and told.isdisjoint((one.tag, f"{side} {two.tag}")):
            told |= {one.tag, f"{side} {two.tag}"}
            yield context.render("side", "say", one=one.the, two=two.the, side=side, **{"is": one.be}), [one.tag, two.tag]
        if len(told) == 2 * MOST_SENTENCES["side"]:
            return


def _links(context: Context, before: str, known: set[str], details: Sequence[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """What is done and where by and with the `known` objects, unless the captions told `before` or the `details` say so."""
    told: set[frozenset[str]] = set()
    number = 0
    nouns = Counter(_name(context, item) for item in context.view.all_subjects if item.tag in known)
    for link in context.shuffled(context.view.links):
        subject, target = context.view.subject_of(link.subject), context.view.subject_of(link.object)
        one, two = (_repeat_name(item, context, nouns) for item in (subject, target))
        if not one.startswith("the ") and frozenset(("any", one)) in told:
            continue  # a man and again a man would be two
        said = {
            frozenset((link.subject, link.object)),
            frozenset((link.subject, link.verb)),
            frozenset((link.verb, link.object)),
            frozenset((subject.with_article, link.verb, target.with_article)),
            frozenset(("once", link.object)),
            frozenset(("any", one)),
        }
        new = {link.subject, link.object} <= known and link.verb != "has"
        if not new or said & told or _has_relation(before, link.verb, target) or _detailed(details, subject, target):
            continue
        told |= said
        number += 1
        words = {"the": one, "is": subject.be, "verb": link.verb, "object": two}
        yield context.render("link", "say", **words), [subject.tag, target.tag]
        if number == MOST_SENTENCES["link"]:
            return


def _detailed(details: Sequence[str], *items: Subject) -> bool:
    """Whether one of the details speaks of all of these objects."""
    return any(all(_has_name_of(text, item) for item in items) for text in details)


def _has_name_of(text: str, item: Subject) -> bool:
    words = text.lower().rstrip(".").split()
    core = item.obj.phrase.core
    return any(word == core.replace(" ", "") or could_be(word, core) for word in (*words, *map(" ".join, pairwise(words))))


def _repeat_name(item: Subject, context: Context, nouns: Counter[str]) -> str:
    """An object that was mentioned before: "the man" where no other man was, be there one or not."""
    return item.the if not context.facts.exhaustive and nouns[_name(context, item)] == 1 else item.with_article


def _has_relation(text: str, verb: str, target: Subject) -> bool:
    """Whether a text has the target's name and a form of the verb."""
    words = text.lower().replace(".", "").split()
    known = [word for word in words if vocabulary.classes_of(word) & vocabulary.kind_table().keys()]
    core = target.obj.phrase.core
    named = target.obj.phrase.head in words or any(could_be(word, core) for word in known)
    starts = ("lay", "lie", "lyi") if verb.startswith("lying") else (verb[:3],)
    return named and (verb in ("wearing", "on", "in", "at") or any(word.startswith(starts) for word in words))


def _regions(context: Context) -> Iterator[tuple[str, list[str]]]:
    """Details in the words of their describers, none that says again what another one said."""
    said: set[str] = set()
    told = 0
    usual = common_words(context.view.scene)
    for region in context.shuffled(context.view.scene.regions):
        text = region_text(region.text)
        text = text if text and has_common_words(text, usual) else None
        words = set(text.split()) if text else set()
        if not text or len(words & said) > len(words) / 2:
            continue
        said |= words
        told += 1
        many = text.startswith(("two ", "three ", "four ", "some ", "a couple of "))
        yield context.render("region", "say", text=text, **{"is": "are" if many else "is"}), [region.tag]
        if told == MOST_SENTENCES["region"]:
            return
