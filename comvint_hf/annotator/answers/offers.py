"""What a scene offers to ask: its programs with their values, sorted by the objects that they rest on.

Conversations follow the objects: each next question shares one with those before, so that a talk stays with what it is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random
from typing import NamedTuple

from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.programs import candidates
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import fields
from comvint_hf.annotator.programs.program import Outcome, Program

MOST_PROGRAMS = 32
NUMBERS = frozenset(("count", "total", "difference", "more", "all_legs", "all_wheels"))


class Offer(NamedTuple):
    """A program with its value; `knows` says that the answer needs knowledge beside the image."""

    program: Program
    outcome: Outcome
    knows: bool

    @property
    def form(self) -> tuple[str, ...]:
        """What makes two questions sound alike: numbers of any kind do, and "on" and "sitting on"."""
        program = self.program
        return ("number",) if program.head in NUMBERS else (program.head, *(word.split(" ")[-1] for word in program.words))

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(self.outcome.tags)


def offers(facts: Facts, draws: Draws) -> list[Offer]:
    """The programs that have a value here, of as many forms as there are, in random order; drawn once for a scene."""
    key = ("offers", draws.corpus_seed)
    if key not in facts.memory:
        random = Random(f"{draws.corpus_seed}/{facts.scene.id}/offers")
        groups = {**candidates.cross_modal(facts, random)}
        if not facts.rendered:
            groups |= candidates.outside_knowledge(facts, random)
        chosen = candidates.select_programs(groups, MOST_PROGRAMS, facts, random)
        found = [(program, evaluate(program, facts)) for program in chosen]
        facts.memory[key] = [Offer(program, outcome, program.head in fields()) for program, outcome in found if outcome]
    return draws.shuffled(facts.memory[key])


def follow(pool: list[Offer], tags: Collection[str], most: int) -> Iterator[Offer]:
    """Up to `most` offers, each sharing an object with `tags` or one before; they are taken out of the pool.

    What is seen comes before what is known, of which one is enough, and nothing is asked twice in the same way.
    """
    known, tags = False, set(tags)
    asked: set[tuple[str, ...]] = set()
    for _ in range(most):
        new = [offer for offer in pool if not (offer.knows and known) and offer.form not in asked]
        fitting = [offer for offer in new if not tags or not tags.isdisjoint(offer.tags)]
        offer = next((offer for offer in fitting if not offer.knows), next(iter(fitting), None))
        if offer is None:
            return
        pool.remove(offer)
        known |= offer.knows
        asked.add(offer.form)
        tags |= offer.tags
        yield offer
