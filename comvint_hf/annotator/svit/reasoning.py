"""Complex reasoning: questions that need the picture and common sense; answers go from what is seen to the conclusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from comvint_hf.annotator.svit import object_reasoning as things
from comvint_hf.annotator.svit import rule_reasoning as rules
from comvint_hf.annotator.svit.context import Teller
from comvint_hf.annotator.svit.shape_reasoning import DRAWN
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs

MOST_OF_A_KIND = 2
"""How many questions of one kind a scene gets, so that no kind rules the set."""
_Maker = Callable[[Teller], Iterator[Pair]]


def complex_reasoning(prompt: Prompt, random: Random) -> Pairs:
    """Answer the prompt `svit/complex_reasoning`: as many pairs as the scene supports, at most `count`."""
    teller = Teller(prompt, random, "svit_reasoning")
    makers = DRAWN if teller.view.drawn else PICTURED
    pairs: list[Pair] = []
    seen: set[str] = set()
    for make in teller.shuffled(makers):
        kept = 0
        for pair in make(teller):
            if pair.question not in seen:
                seen.add(pair.question)
                pairs.append(pair)
                kept += 1
            if kept == MOST_OF_A_KIND:
                break
    return Pairs.model_construct(pairs=teller.shuffled(pairs)[: prompt.blanks.get("count", 15)])


PICTURED: tuple[_Maker, ...] = (
    things.purpose,
    things.wish,
    things.remove,
    things.danger,
    things.advice,
    things.perspective,
    things.pair,
    things.total,
    things.enough,
    things.sorts,
    rules.setting,
    rules.indoors,
    rules.activity,
    rules.pastime,
    rules.next_moment,
    rules.skill,
    rules.weather,
    rules.why,
    rules.hidden,
    rules.material,
)
