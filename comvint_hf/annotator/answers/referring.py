"""Referring questions: about half ask for a place ("grounding") and get the reference, the others point at objects themselves."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.annotator.answers.offers import offers
from comvint_hf.annotator.answers.pairs import make_pair
from comvint_hf.annotator.answers.subjects import Subject, View, counts, part_of, view_of
from comvint_hf.annotator.answers.turns import turn
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.language.prose import say
from comvint_hf.annotator.language.regions import common_words, has_common_words, region_text
from comvint_hf.annotator.language.slots import phrase_variants
from comvint_hf.annotator.programs.program import THING
from comvint_hf.annotator.programs.references import relational
from comvint_hf.annotator.words.english import number_word
from comvint_hf.annotator.words.vocabulary import read_table
from comvint_hf.generation.filters import GROUNDING_TOPIC
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs
from comvint_hf.grounding import REFERENCE
from comvint_hf.text import plural

MOST_OF_A_KIND = 2
CLOSED_SHARE = 0.35
SMALLEST_REGION = 0.004
PLAIN = 7
"""How many of a list's first wordings drawn scenes use."""


def referring_qa(prompt: Prompt, random: Draws) -> Pairs:
    """Answer the prompt `svit/referring_qa`: at most `count` pairs, half of them grounding where the scene allows."""
    view, most = view_of(prompt.scene), prompt.blanks.get("count", 10)
    avoid = prompt.blanks.get("avoid", ())
    grounded = _distinct(random.shuffled((*_grounding(view, random), *_groups(view, random))))
    grounded = [pair for pair in grounded if pair.question not in avoid]
    pointed = [pair for pair in random.shuffled(_distinct(_pointing(view, random))) if pair.question not in avoid]
    half = min(max((most + 1) // 2, most - len(pointed)), len(pointed) + 1)
    pairs = grounded[:half]
    return Pairs.model_construct(pairs=random.shuffled([*pairs, *pointed[: most - len(pairs)]]))


def _distinct(pairs: Iterator[Pair] | list[Pair]) -> list[Pair]:
    return list({pair.question: pair for pair in pairs}.values())


def _say(view: View, draws: Draws, kind: str, form: str, /, **blanks: str) -> str:
    wordings = read_table("referring")[kind][form]
    return say(draws, wordings[:PLAIN] if view.rendered else wordings, **blanks)


def _grounding(view: View, draws: Draws) -> Iterator[Pair]:
    """Where something is, asked by its name alone: the answer points at it."""
    for subject in view.subjects:
        name = _name(subject, view, draws)
        question = _say(view, draws, "grounding", "ask_plural" if subject.obj.plural else "ask", name=name)
        words = {"the": subject.the_ref, "is": subject.be}
        if subject.place and not subject.outer and draws.random() < 0.5:
            answer = _say(view, draws, "grounding", "say", **words, where=view.where(subject, draws))
        else:
            answer = _say(view, draws, "grounding", "bare", **words)
        yield make_pair(GROUNDING_TOPIC, [subject.tag], question, answer)


def _name(subject: Subject, view: View, draws: Random) -> str:
    """What tells it from all others: on photos by what it has to do with another object, where it has."""
    if view.rendered:
        return subject.the
    refs = (ref for ref in relational(subject.obj, view.facts, draws) if ref.noun not in (THING, "piece of clothing"))
    ref = next((ref for ref in refs if ref.noun == subject.obj.noun), None)
    return phrase_variants(ref)[0] if ref else subject.the


def _groups(view: View, draws: Draws) -> Iterator[Pair]:
    """Where all of a kind are; only where their number is certain."""
    for noun, number, tags in draws.shuffled(counts(view)):
        if number > 1:
            refs = f"<st>{plural(noun)}<ed>" + ", ".join(f"[{tag}]" for tag in tags)
            words = {"things": plural(noun), "thing": noun, "number": number_word(number), "refs": refs}
            question, answer = (_say(view, draws, "group", form, **words) for form in ("ask", "say"))
            yield make_pair(GROUNDING_TOPIC, tags, question, answer)


def _pointing(view: View, draws: Draws) -> Iterator[Pair]:
    """Questions that point at what they ask about, a few of each kind."""
    kept: dict[str, int] = {}
    for offer in offers(view.facts, draws):
        pair = turn(offer.program, view.facts, draws, CLOSED_SHARE, "pointed")
        head = offer.program.head
        if pair and kept.get(head, 0) < MOST_OF_A_KIND and all(map(REFERENCE.search, (pair.question, pair.answer))):
            kept[head] = kept.get(head, 0) + 1
            yield pair
    for make in (_identity, _beside, _regions):
        for _, pair in zip(range(MOST_OF_A_KIND), make(view, draws), strict=False):
            yield pair


def _identity(view: View, draws: Draws) -> Iterator[Pair]:
    """What stands in a marked area."""
    for subject in draws.shuffled(view.subject_candidates):
        if len(subject.obj.boxes) == 1 and subject.be_a == "is" and not _contains(view, subject):
            question = _say(view, draws, "identity", "ask", area=_area(subject.tag))
            yield make_pair("identity", [subject.tag], question, _say(view, draws, "identity", "say", a=subject.a_ref))


def _area(tag: str) -> str:
    """A part of the image that a question points at without naming what is in it."""
    return f"<st>this area<ed>[{tag}]"


def _contains(view: View, subject: Subject) -> bool:
    """Whether the area shows another annotated object just as well."""
    return any(
        other.tag != subject.tag and part_of(subject, other) and other.obj.box.area > 0.3 * subject.obj.box.area
        for other in view.all_subjects
    )


def _beside(view: View, draws: Draws) -> Iterator[Pair]:
    """Something on one side of an object."""
    for one, two, where in view.position_pairs(draws):
        words = {"the": two.the_ref, "a": one.a_ref, "is": one.be_a, "side": where}
        question, answer = (_say(view, draws, "beside", form, **words) for form in ("ask", "say"))
        yield make_pair("relation", [one.tag, two.tag], question, answer)


def _regions(view: View, draws: Draws) -> Iterator[Pair]:
    """What a described region shows, in the words of its describer; only names of objects, no whole sentences."""
    usual = common_words(view.scene)
    for item in draws.shuffled(view.scene.regions):
        text = region_text(item.text)
        if text and has_common_words(text, usual) and item.box.area > SMALLEST_REGION:
            lead, _, rest = text.partition(" ")
            words = {"text": f"{lead} <st>{rest}<ed>[{item.tag}]", "area": _area(item.tag)}
            question, answer = (_say(view, draws, "region", form, **words) for form in ("ask", "say"))
            yield make_pair("identity", [item.tag], question, answer)
