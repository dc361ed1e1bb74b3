"""Answers to ComVint's prompts from the scene alone (PAPERS section 2): synthesise, complicate, verify, reformulate.

A sample's reasoning is a chain of programs (`programs/program.py`). Complicating reads its last one and takes a step further;
verifying reads the chain, holds the texts against it and evaluates it on the scene; reformulating asks for the same value
by yes or no or among four options.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.annotator.comvint import candidates, existence, templates, wrong_answers
from comvint_hf.annotator.comvint import complicate as harder
from comvint_hf.annotator.facts.scene import Facts, facts_of
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.program import Program, claim, extend, parse_chain, refs_in
from comvint_hf.annotator.programs.search import resolve
from comvint_hf.errors import InputError, NothingLeftError, ReplyError
from comvint_hf.generation.filters import is_length_outlier, normalise_text
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.comvint.stages import Choice, Closed, Rewrite, Syntheses, Synthesis
from comvint_hf.generation.recipes.comvint.verification import CRITERIA, FIRST_CRITERIA, FirstVerdict, Verdict
from comvint_hf.types import Sample, construct_unchecked

LONGEST_QUESTION = 26
"""Words of a question; a version that would be longer is left alone."""
EXISTENCE_SHARE = {True: 0.4, False: 0.3}
"""Share of yes/no questions that ask whether something is there, on rendered scenes and on photos."""
SERVING_SHARE = 0.5
"""Share of those, in outside knowledge, that ask whether something serves a use."""
UNCLAIMED = ("exists", "serves", "tool")
"""Heads of which no value is claimed: nobody need look to know that the bottle is not what one travels through a town with."""
POOL = 6
"""Wrong options to choose from by their length."""


def synthesize(prompt: Prompt, random: Random) -> Syntheses:
    """First questions of the wanted kind, of as many different forms as the scene offers."""
    facts, count = facts_of(prompt.scene), prompt.blanks["count"]
    taken = {text.casefold() for text in prompt.blanks.get("avoid", ())}
    offer = candidates.cross_modal if prompt.blanks["kind"] == "cross_modal" else candidates.outside_knowledge
    made: list[Synthesis] = []
    for program in candidates.select_programs(offer(facts, random), count + len(taken), facts, random):
        question = templates.ask(program, facts, random)
        if question.casefold() not in taken and len(made) < count:
            made.append(
                construct_unchecked(
                    Synthesis,
                    reasoning=str(program),
                    evidence=list(_evidence_tags(program, facts)),
                    topic=templates.form_of(program).topic,
                    question=question,
                    answer=templates.answer(program, facts, random),
                )
            )
    return construct_unchecked(Syntheses, samples=made)


def complicate(prompt: Prompt, random: Random) -> Rewrite:
    """One more hop or one more piece of knowledge. Raises `NothingLeftError` where the scene offers none."""
    facts, sample = facts_of(prompt.scene), prompt.sample
    program = _last_program(sample.reasoning)
    for change, version in harder.complicate_program(program, facts, random):
        question = templates.ask(version, facts, random)
        if len(question.split()) <= LONGEST_QUESTION:
            return construct_unchecked(
                Rewrite,
                change=change,
                reasoning=extend(sample.reasoning, version),
                topic=templates.form_of(version).topic,
                evidence=list(_evidence_tags(version, facts)),
                question=question,
                answer=templates.answer(version, facts, random),
            )
    raise NothingLeftError("nothing that is known of this picture takes the question one step further")


def verify(prompt: Prompt, random: Random) -> Verdict:
    """Hold a rewrite against the scene: what its text says, whether that is so, and whether it takes more steps."""
    facts, sample, before = facts_of(prompt.scene), prompt.sample, prompt.blanks["before"]
    try:
        *_, first, last = parse_chain(sample.reasoning)
    except (InputError, ValueError):
        return _fail_all("its reasoning is no chain of programs that could be evaluated")
    outcome = evaluate(last, facts)
    asked = templates.is_question_for(sample.instruction, last, facts)
    right = outcome is not None and templates.is_answer_to(sample.response, last, facts)
    known = templates.is_question_for(before.instruction, first, facts)
    absent = [ref.noun for ref in refs_in(last) if ref.article == "the" and resolve(ref, facts) is None]
    steps = complexity(first), complexity(last)
    more = steps[1] > steps[0] and sample.instruction.casefold() != before.instruction.casefold()
    return construct_unchecked(
        Verdict,
        match=f"Nothing here is a {absent[0]}."
        if absent
        else f"It rests on {', '.join(outcome.tags) or 'the whole picture'}."
        if outcome
        else "Open.",
        depth=f"It takes {steps[1]} steps where the first version took {steps[0]}.",
        soundness=f"The scene gives {outcome.value!r}." if outcome else "The scene does not give an answer.",
        about_this_image=outcome is not None and set(sample.evidence) >= set(outcome.tags) and asked,
        consistent=asked and known,
        nothing_absent=not absent and asked,
        needs_picture=outcome is not None,
        truly_harder=more,
        answer_right=right,
        answerable=outcome is not None,
        complexity=min(10, 1 + steps[1]),
    )


def verify_first(prompt: Prompt, random: Random) -> FirstVerdict:
    """Hold a first version against the scene."""
    facts, sample = facts_of(prompt.scene), prompt.sample
    try:
        program = _last_program(sample.reasoning)
    except ReplyError as error:
        verdict = dict.fromkeys(FIRST_CRITERIA, False)
        return construct_unchecked(FirstVerdict, match=str(error), soundness="Unknown.", complexity=1, **verdict)
    outcome = evaluate(program, facts)
    asked = templates.is_question_for(sample.instruction, program, facts)
    known = outcome is not None
    return construct_unchecked(
        FirstVerdict,
        match=f"It rests on {', '.join(outcome.tags) or 'the whole picture'}." if outcome else "Open.",
        soundness=f"The scene gives {outcome.value!r}." if outcome else "The scene does not give an answer.",
        about_this_image=known and asked,
        consistent=asked,
        nothing_absent=known and asked,
        needs_picture=known,
        answer_right=known and templates.is_answer_to(sample.response, program, facts),
        answerable=known,
        complexity=min(10, 1 + complexity(program)),
    )


def _fail_all(reason: str) -> Verdict:
    """Judge everything false: in doubt a rewrite is discarded."""
    return construct_unchecked(
        Verdict, match=reason, depth=reason, soundness=reason, complexity=1, **dict.fromkeys(CRITERIA, False)
    )


def boolean(prompt: Prompt, random: Random) -> Closed:
    """A question whose right answer is the wanted one: a claim about the value, or whether something is there at all."""
    facts, sample, wanted = facts_of(prompt.scene), prompt.sample, prompt.blanks["wanted"]
    program = _last_program(sample.reasoning)
    for version in _yes_no_programs(program, facts, random, wanted, sample):
        question = templates.ask(version, facts, random)
        if len(question.split()) <= LONGEST_QUESTION:
            return construct_unchecked(
                Closed,
                reasoning=extend(sample.reasoning, version),
                topic=templates.form_of(version).topic,
                evidence=list(_evidence_tags(version, facts)),
                question=question,
                answer=wanted,
            )
    raise NothingLeftError(f"nothing certain can be asked here that is answered by {wanted}")


def _yes_no_programs(program: Program, facts: Facts, random: Random, wanted: str, sample: Sample) -> Iterator[Program]:
    """Yes/no programs with the wanted answer, the preferred one first; what was made harder stays so."""
    there = random.random() < EXISTENCE_SHARE[facts.rendered]
    if there and sample.rounds:
        yield from existence.existence_with_location(program, facts, random, wanted)
    elif there and sample.task == "outside_knowledge" and random.random() < SERVING_SHARE:
        yield from existence.ask_use(program, facts, random, wanted)
    if there and not sample.rounds and (sample.task == "cross_modal" or facts.rendered):
        yield from existence.existence(program, facts, random, wanted)
    if program.head == "tool":
        yield from existence.ask_use(program, facts, random, wanted)
    right = evaluate(program, facts)
    if right is not None and program.head not in UNCLAIMED:
        values = [right.value] if wanted == "yes" else wrong_answers.wrong_values(program, facts, random, 1)
        yield from (claim(program, value) for value in values)
    if not sample.rounds:
        yield from existence.existence(program, facts, random, wanted)


def choice(prompt: Prompt, random: Random) -> Choice:
    """The same question with three options that are surely wrong, or the closest one for which there are three."""
    facts, sample = facts_of(prompt.scene), prompt.sample
    for version in wrong_answers.multiple_choice_programs(_last_program(sample.reasoning), facts, random):
        right = evaluate(version, facts)
        options = _options(version, right.value, facts, random) if right else []
        if right and len(options) == 4:
            return construct_unchecked(
                Choice,
                reasoning=extend(sample.reasoning, version),
                topic=templates.form_of(version).topic,
                evidence=list(right.tags),
                question=templates.pick(version, facts, random),
                correct=options[0],
                wrong=options[1:],
            )
    raise NothingLeftError("there are no three options here that are surely wrong and about as long as the right one")


def _options(program: Program, right: str, facts: Facts, random: Random) -> list[str]:
    """The right option and three wrong ones, none of them given away by its length; fewer than four where there are none."""
    correct = templates.brief(program, facts, right, random)
    wrong = [templates.brief(program, facts, value, random) for value in wrong_answers.wrong_values(program, facts, random, POOL)]
    different = [*{normalise_text(option): option for option in (correct, *wrong)}.values()][1:]
    chosen = _level(correct, different, random)
    return [correct, *chosen] if len(chosen) == 3 and not is_length_outlier(correct, chosen) else []


def _level(correct: str, wrong: list[str], random: Random) -> list[str]:
    """Three of the wrong options, of which as many are shorter than the right one as a draw says; the first ones are preferred."""
    shorter = [option for option in wrong if len(option) + random.random() < len(correct) + 0.5]
    others = [option for option in wrong if option not in shorter]
    few = random.randrange(4)
    chosen = [*shorter[:few], *others[: 3 - few]]
    return [*chosen, *(option for option in wrong if option not in chosen)][:3]


def _last_program(reasoning: str) -> Program:
    """The program that a sample stands on. Raises `ReplyError` for reasoning that somebody else wrote."""
    try:
        return parse_chain(reasoning)[-1]
    except InputError as error:
        raise ReplyError(f"the annotator goes on from its own reasoning only, a chain of programs; {error}") from error


def _evidence_tags(program: Program, facts: Facts) -> tuple[str, ...]:
    """What a program's value rests on."""
    outcome = evaluate(program, facts)
    return outcome.tags if outcome else ()
