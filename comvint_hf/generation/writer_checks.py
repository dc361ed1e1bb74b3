"""Checks of what only language models write: wrong names, questions that tell their answer, copies of the prompt.

The samples of the embedded annotator are true by construction and pass without a look.
"""

from __future__ import annotations

import re

from comvint_hf.generation.phrases import is_name_of
from comvint_hf.grounding import BARE_TAG, REFERENCE
from comvint_hf.types import Object, Sample

ANNOTATIONS = "annotations"
"""The generator of samples that are true by construction."""
_WORD = re.compile(r"\w+")
_POLAR = "is are was were do does did has have can could will would should may might am"
POLAR_WORDS = frozenset(_POLAR.split(" "))
"""Words that a yes/no question begins with."""
_NOTHING = "a an the is are was were be it its they their he his she her there this that these of and so because"
TELLING_NOTHING = frozenset(_NOTHING.split(" "))
"""Words that are no part of what an answer says."""
COPIED = re.compile(
    r"\b(?:write as somebody|never speak of captions|plain names; no references|reply with one json|the one that fits best|"
    r"point at a thing by|references that the answer rests on|what it is like, box|as fractions of the picture|"
    r"that need reasoning, each with|between a curious person)",
    re.IGNORECASE,
)
"""Words of the prompts that stand in no answer."""
_PLACEHOLDERS = frozenset(("string", "question", "answer", "", "topic", "description", "text"))


def check_phrases(sample: Sample) -> str | None:
    """Reject a phrase between markers that cannot be a name of what it points at."""
    if sample.generator == ANNOTATIONS:
        return None
    for message in sample.messages:
        for match in REFERENCE.finditer(message.content):
            items = [item for tag in BARE_TAG.findall(match["tags"]) if (item := sample.scene.by_tag.get(tag)) is not None]
            wrong = next((item for item in items if not is_name_of(match["phrase"], item, sample.scene)), None)
            if wrong is not None:
                name = wrong.name if isinstance(wrong, Object) else wrong.text
                return f"phrase is not its object: {match['phrase']!r} for [{wrong.tag}] {name!r}"
    return None


def check_tells_answer(sample: Sample) -> str | None:
    """Reject a pair whose question holds every word of its answer.

    The answer to a yes/no question or a choice may repeat it, and an answer that points at things says where they are.
    """
    if sample.format != "open" or sample.generator == ANNOTATIONS:
        return None
    for question, answer in zip(sample.messages[::2], sample.messages[1::2], strict=False):
        asked = _WORD.findall(question.content.casefold())
        told = set(_WORD.findall(answer.content.casefold())) - TELLING_NOTHING
        open_question = asked and asked[0] not in POLAR_WORDS and "or" not in asked
        if open_question and told and told <= set(asked) and not REFERENCE.search(answer.content):
            return f"the question tells its answer: {answer.content[:60]!r}"
    return None


def check_prompt_copy(sample: Sample) -> str | None:
    """Reject a text that repeats an instruction of the prompt or a placeholder of the form."""
    if sample.generator == ANNOTATIONS:
        return None
    for message in sample.messages:
        if COPIED.search(message.content) or message.content.strip().rstrip("?.") in _PLACEHOLDERS:
            return f"copy of the prompt: {message.content[:60]!r}"
    return None
