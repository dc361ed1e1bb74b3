"""Answers to ComVint's prompts from the scene alone (PAPERS section 2): synthesise, complicate, verify, reformulate.

A sample's reasoning is a chain of programs (`programs/program.py`). Complicating reads its last one and takes a step further;
verifying reads the chain, holds the texts against it and evaluates it on the scene; reformulating asks for the same value
by yes or no or among four options.
"""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.annotator.answers import closed, presence
from comvint_hf.annotator.answers.turns import LONGEST_QUESTION
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.facts.scene import Facts, facts_of
from comvint_hf.annotator.language import templates
from comvint_hf.annotator.programs import candidates
from comvint_hf.annotator.programs import complicate as harder
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.program import Program, claim, extend, parse_chain, refs_in
from comvint_hf.annotator.programs.search import resolve
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.english import COLOURS
from comvint_hf.errors import InputError, NothingLeftError, ReplyError
from comvint_hf.generation.filters import is_length_outlier, normalise_text
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.comvint.stages import Choice, Closed, Rewrite, Syntheses, Synthesis
from comvint_hf.generation.recipes.comvint.verification import CRITERIA, FIRST_CRITERIA, FirstVerdict, Verdict
from comvint_hf.types import construct_unchecked

EXISTENCE_SHARE = 0.4
"""Share of yes/no questions about drawn scenes that ask whether something is there."""


def synthesize(prompt: Prompt, random: Draws) -> Syntheses:
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


def complicate(prompt: Prompt, random: Draws) -> Rewrite:
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


def verify(prompt: Prompt, random: Draws) -> Verdict:
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


def verify_first(prompt: Prompt, random: Draws) -> FirstVerdict:
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


def boolean(prompt: Prompt, random: Draws) -> Closed:
    """The same question by yes or no, with the wanted answer. Raises `NothingLeftError` where no claim leaves the image to decide."""
    facts, sample, wanted = facts_of(prompt.scene), prompt.sample, prompt.blanks["wanted"]
    program = _last_program(sample.reasoning)
    for version in _yes_no_programs(program, facts, random, wanted, made_harder=sample.rounds > 0):
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
    raise NothingLeftError(f"nothing certain can be asked here that is answered by {wanted} and told by the image alone")


def _yes_no_programs(program: Program, facts: Facts, random: Draws, wanted: str, *, made_harder: bool) -> Iterator[Program]:
    """Yes/no programs with the wanted answer, the preferred one first; what was made harder stays so."""
    if facts.rendered and random.random() < EXISTENCE_SHARE:
        ask = presence.existence_with_location if made_harder else presence.existence
        yield from ask(program, facts, random, wanted)
    if value := closed.claimed_value(program, facts, random, wanted == "yes"):
        yield claim(program, value)
    if not made_harder:
        yield from presence.existence(program, facts, random, wanted)


def choice(prompt: Prompt, random: Draws) -> Choice:
    """The same question with three wrong options. Raises `NothingLeftError` where there are none that leave the image to decide."""
    facts, sample = facts_of(prompt.scene), prompt.sample
    for version in _choice_programs(_last_program(sample.reasoning), facts, random):
        right = evaluate(version, facts)
        if right is None:
            continue
        values = (right.value, *closed.wrong_options(version, facts, random))
        correct, *wrong = (templates.brief(version, facts, value, random) for value in values)
        if len({normalise_text(option) for option in (correct, *wrong)}) == 4 and not is_length_outlier(correct, wrong):
            return construct_unchecked(
                Choice,
                reasoning=extend(sample.reasoning, version),
                topic=templates.form_of(version).topic,
                evidence=list(right.tags),
                question=templates.pick(version, facts, random),
                correct=correct,
                wrong=wrong,
            )
    raise NothingLeftError("there are no three options here that are surely wrong and leave it to the image which is right")


def _choice_programs(program: Program, facts: Facts, random: Draws) -> Iterator[Program]:
    """The program, or the one among four that comes closest to it."""
    if program.head in closed.AMONG:
        yield from candidates.among_four(program, facts, random)
    elif facts.rendered and program.head in ("across", "vertical"):
        yield from (Program("relative", refs) for refs in (program.refs, program.refs[::-1]))
    elif program.head == "more":
        yield from (Program("difference", refs) for refs in (program.refs, program.refs[::-1]))
        yield Program("total", program.refs)
    elif program.head in ("like", "twin"):
        yield from candidates.among_four_words(program, facts, random)
    else:
        yield program
    if facts.rendered and program.refs and program.refs[0].article == "the":
        yield from (Program(head, (program.refs[0],)) for head in ("colour", "shape") if _is_hidden(head, program))


def _is_hidden(head: str, program: Program) -> bool:
    """Whether a drawn object can be asked for its colour or shape, which the question does not name."""
    ref = program.refs[0]
    like = ref.where.word if ref.where and ref.where.how == "like" else ""
    if head == program.head:
        return False
    if head == "colour":
        return not set(ref.attributes) & set(COLOURS.values()) and like not in {
            known.hint for known in knowledge.colours().values()
        }
    return ref.noun == "object" and like not in {shape.like for shape in knowledge.shapes().values()}


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
