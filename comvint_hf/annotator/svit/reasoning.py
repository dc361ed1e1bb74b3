"""Complex reasoning: questions that need the image and common sense; answers go from what is seen to the conclusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from comvint_hf.annotator.svit import object_reasoning, rule_reasoning
from comvint_hf.annotator.svit.context import Context
from comvint_hf.annotator.svit.shape_reasoning import DRAWN
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs

MOST_OF_A_KIND = 2
"""How many questions of one kind a scene gets, so that no kind rules the set."""
_Maker = Callable[[Context], Iterator[Pair]]


def complex_reasoning(prompt: Prompt, random: Random) -> Pairs:
    """Answer the prompt `svit/complex_reasoning`: as many pairs as the scene supports, at most `count`."""
    context = Context(prompt, random, "svit_reasoning")
    makers = DRAWN if context.view.rendered else PICTURED
    pairs: list[Pair] = []
    seen: set[str] = set()
    for make in context.shuffled(makers):
        kept = 0
        for pair in make(context):
            if pair.question not in seen:
                seen.add(pair.question)
                pairs.append(pair)
                kept += 1
            if kept == MOST_OF_A_KIND:
                break
    return Pairs.model_construct(pairs=context.shuffled(pairs)[: prompt.blanks.get("count", 15)])


PICTURED: tuple[_Maker, ...] = (
    object_reasoning.purpose,
    object_reasoning.trait_request,
    object_reasoning.remove,
    object_reasoning.warning,
    object_reasoning.advice,
    object_reasoning.perspective,
    object_reasoning.pair,
    object_reasoning.total,
    object_reasoning.enough,
    object_reasoning.sorts,
    rule_reasoning.setting,
    rule_reasoning.inside_or_outside,
    rule_reasoning.activity,
    rule_reasoning.group_activity,
    rule_reasoning.next_action,
    rule_reasoning.skill,
    rule_reasoning.weather,
    rule_reasoning.reason_for,
    rule_reasoning.hidden_use,
    rule_reasoning.hidden_material,
)
