"""Turns of a conversation from programs: a question in words, its answer, and the tags it rests on.

Every question of the three recipes that has a program is put into words here, whichever prompt asked for it.
"""

from __future__ import annotations

from comvint_hf.annotator.answers import closed
from comvint_hf.annotator.answers.pairs import make_pair
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.language import templates
from comvint_hf.annotator.language.slots import Manner
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.program import Program, claim
from comvint_hf.annotator.words import vocabulary
from comvint_hf.generation.recipes.svit.stages import Pair

LONGEST_QUESTION = 26
"""Words of a question; what would be longer is left out."""
TOPICS = {
    "colour": "colour", "shape": "attribute", "size": "size", "bigger": "size", "exists": "existence", "name": "identity",
    "what": "activity", "who": "activity", "written": "text", "count": "count", "total": "count", "difference": "count",
    "more": "count", "across": "relation", "vertical": "relation", "relative": "relation", "further": "position",
    "nearer": "relation", "order": "position", "use": "knowledge", "all_corners": "count", "corners": "reasoning",
    "all_legs": "count", "all_wheels": "count",
}  # fmt: skip
"""SVIT's topic of each head; what is left out is knowledge."""


def topic_of(program: Program) -> str:
    """SVIT's topic of a program."""
    if program.head == "what" and vocabulary.relations()[program.words[0]].place:
        return "relation"
    return TOPICS.get(program.head, "knowledge")


def open_turn(program: Program, facts: Facts, draws: Draws, manner: Manner = "named") -> Pair | None:
    """A question for the program's value; `None` where the scene leaves it open or nobody would read so long a question."""
    outcome = evaluate(program, facts)
    question = templates.ask(program, facts, draws, manner) if outcome else ""
    if outcome is None or len(question.split()) > LONGEST_QUESTION:
        return None
    return make_pair(topic_of(program), outcome.tags, question, templates.answer(program, facts, draws, manner))


def closed_turn(program: Program, facts: Facts, draws: Draws, manner: Manner = "named") -> Pair | None:
    """A question whether the program's value is what it claims; a coin says which answer it is to have."""
    truth = closed.truth_of(program, facts, draws)
    value, outcome = closed.claimed_value(program, facts, draws, truth), evaluate(program, facts)
    if value is None or outcome is None:
        return None
    question = templates.ask(claim(program, value), facts, draws, manner)
    if len(question.split()) > LONGEST_QUESTION:
        return None
    return make_pair(topic_of(program), outcome.tags, question, templates.reply(program, facts, draws, truth, manner))


def turn(program: Program, facts: Facts, draws: Draws, share: float, manner: Manner = "named") -> Pair | None:
    """A closed question in `share` of the cases, where the balance allows it, else an open one."""
    closed_pair = closed_turn(program, facts, draws, manner) if closed.is_asked(program, facts, draws, share) else None
    return closed_pair or open_turn(program, facts, draws, manner)
