"""Harder versions of a program: one more hop through the picture, or one more piece of knowledge.

Every version that leaves this file evaluates to a value on the scene and takes more steps than the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.synthesis.annotator.comvint.candidates import DRAWN_COLOURS, among
from comvint_hf.synthesis.annotator.comvint.references import answerable, broad_nouns, describable, landmarks, relational, telling
from comvint_hf.synthesis.annotator.facts.scene_facts import SIDES, Facts, Thing
from comvint_hf.synthesis.annotator.programs.evaluation import complexity, evaluate
from comvint_hf.synthesis.annotator.programs.finding import find, resolve, use_of_thing
from comvint_hf.synthesis.annotator.programs.knowing import GENERAL, fields
from comvint_hf.synthesis.annotator.programs.notation import THING, Program, Ref, Where, refs_in, replace, the
from comvint_hf.synthesis.annotator.words import knowledge, lexicon
from comvint_hf.synthesis.annotator.words.lexicon import is_a


def harder(program: Program, facts: Facts, random: Random) -> Iterator[tuple[str, Program]]:
    """Versions of a program that take one step more, as ("hop" or "knowledge", program), in random order.

    The right answer stays as it is, but where a question for a thing becomes one for what the thing is for.
    """
    before = evaluate(program, facts)
    steps = [*_hops(program, facts, random), *_deeper(program, facts, random), *_onward(program, facts)]
    random.shuffle(steps)
    for change, step in steps:
        version = tidy(step)
        if version is None:
            continue
        after = evaluate(version, facts) if before and complexity(version) > complexity(program) else None
        free = change == "knowledge" or program.head != version.head or program.head not in SAME_VALUE
        if before and after and (free or after.value == before.value):
            yield change, version


SAME_VALUE = frozenset(("colour", "shape", "size", "across", "vertical", "who", "corners", "mixed", "like", "twin", *GENERAL))


def _hops(program: Program, facts: Facts, random: Random) -> Iterator[tuple[str, Program]]:
    """Reach one thing through another, or count only what lies on one side."""
    for ref in refs_in(program):
        if ref.article == "the" and ref.simple:
            found = resolve(ref, facts)
            if found is None:
                continue
            used = set((evaluate(program, facts) or ((), ()))[1])
            for longer in relational(found[0], facts, random):
                outcome = resolve(longer, facts)
                if outcome and not set(outcome[1][1:]) & used and needed(longer, facts) and _safe(program, ref, longer, found[0]):
                    yield "hop", replace(program, ref, longer)
            for kind in () if facts.drawn else broad_nouns(found[0], facts)[1:]:
                if kind != ref.noun and kind != "person":
                    yield "knowledge", replace(program, ref, the(kind))
            use = use_of_thing(found[0])
            if use and not facts.drawn and program.head != "use" and telling(found[0], use):
                veiled = the(THING, where=Where("for", use))
                if (served := resolve(veiled, facts)) and served[0] is found[0]:
                    yield "knowledge", replace(program, ref, veiled)
        elif ref.article == "any" and ref.where is None and facts.exhaustive and program.head in ("count",):
            for anchor, other in describable(facts) if facts.drawn else landmarks(facts):
                if anchor.noun != ref.noun or facts.drawn:
                    side = random.choice(SIDES if facts.drawn else SIDES[:2])
                    longer = ref._replace(where=Where("side", side, other))
                    counted = find(longer, facts)
                    if counted and counted.sure:
                        yield "hop", replace(program, ref, longer)


def needed(ref: Ref, facts: Facts) -> bool:
    """Whether a reference would be open without what narrows it: else the detour is idle."""
    return ref.noun == THING or resolve(ref._replace(where=None), facts) is None


def tidy(program: Program) -> Program | None:
    """A comparison with its described things last, so that a list of them can be read; `None` if it has two."""
    if program.head not in ("further", "nearer", "bigger", "order"):
        return program
    first = program.refs[: program.head == "nearer"]
    listed = program.refs[len(first) :]
    long = tuple(ref for ref in listed if not ref.simple)
    if len(long) > 1:
        return None
    return Program(program.head, (*program.words, *first, *(ref for ref in listed if ref.simple), *long))


def _safe(program: Program, old: Ref, new: Ref, thing: Thing) -> bool:
    """Whether the longer reference keeps what is asked hidden: not the shape in a question for the shape."""
    if program.head in ("shape", "corners", "twin"):
        return new.noun == "object"
    if program.head in fields() and program.refs and old == program.refs[0]:
        return new.noun != thing.noun
    return True


def _onward(program: Program, facts: Facts) -> Iterator[tuple[str, Program]]:
    """From who does one thing to what else it wears, holds or sits on."""
    if program.head not in ("what", "who"):
        return
    outcome = evaluate(program, facts)
    first, second = (facts.by_tag[tag] for tag in outcome.tags[:2]) if outcome and len(outcome.tags) > 1 else (None, None)
    subject, target = (second, first) if program.head == "what" else (first, second)
    simple = next((ref for known, ref in describable(facts) if known is target), None)
    if subject is None or simple is None or subject.plural:
        return
    for noun in dict.fromkeys((subject.noun, "person" if is_a(subject.phrase.core, "person") else subject.noun)):
        whose = the(noun, where=Where("does", program.words[0], simple))
        for link in facts.links_from.get(subject.tag, ()):
            other = facts.by_tag[link.object]
            if other is target or not answerable(other) or not lexicon.relations()[link.verb].animate:
                continue
            if "object" in lexicon.relations()[link.verb].asks and not is_a(other.phrase.core, "person"):
                yield "hop", Program("what", (whose, link.verb))
            yield "hop", Program("colour", (the(other.noun, where=Where("done", link.verb, whose)),))


def _deeper(program: Program, facts: Facts, random: Random) -> Iterator[tuple[str, Program]]:
    """Ask what the thing is for that was asked for."""
    if program.head == "what":
        subject, verb = program.refs[0], program.words[0]
        outcome = evaluate(program, facts)
        if lexicon.relations()[verb].animate and outcome and not facts.by_tag[outcome.tags[0]].animate:
            for field in fields():
                yield "knowledge", Program(field, (the(THING, where=Where("done", verb, subject)),))
    if program.head == "name":
        ref = program.refs[0]
        for field in fields():
            yield "knowledge", Program(field, (ref._replace(article="the"),))
    if program.head == "colour":
        found = resolve(program.refs[0], facts)
        hints = [knowledge.colours()[colour].hint for colour in (DRAWN_COLOURS if facts.drawn else sorted(knowledge.colours()))]
        if found and found[0].colour in knowledge.colours():
            words = among(knowledge.colours()[found[0].colour].hint, hints, 2, random)
            yield "knowledge", Program("like", (program.refs[0], *words))
    if program.head == "count" and program.refs[0].where is None and not program.refs[0].attributes:
        for head in ("all_corners",) if facts.drawn else ("all_legs", "all_wheels"):
            yield "knowledge", Program(head, program.refs)
    if program.head == "tool":
        used = resolve(the(THING, where=Where("for", program.words[0])), facts)
        for anchor, ref in landmarks(facts):
            if used and facts.apart(used[0], anchor):
                yield "hop", Program("across", (the(THING, where=Where("for", program.words[0])), ref))
    if program.head in ("all_legs", "all_wheels"):
        ref = program.refs[0]
        for anchor, other in landmarks(facts):
            if anchor.noun != ref.noun:
                for side in SIDES[:2]:
                    longer = ref._replace(where=Where("side", side, other))
                    counted = find(longer, facts)
                    if counted and counted.sure:
                        yield "hop", Program(program.head, (longer,))
