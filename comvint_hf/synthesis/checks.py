"""Checks that cost nothing: each looks at one sample and returns its reason to reject it, or None.

They run before any judge is asked. This file asks no language model.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from comvint_hf.errors import UnknownTagError
from comvint_hf.grounding import BARE_TAG, GROUNDED, REFERENCE, render
from comvint_hf.records import Edit, Sample
from comvint_hf.synthesis.llm import LLMs

Check = Callable[[Sample], str | None]
LONGEST_ANSWER_WORDS = 120
LONGEST_DESCRIPTION_WORDS = 700
GROUNDING = "grounding"
"""The topic of referring questions that ask for a place and do not point at one themselves."""
FAILED = " failed: "
"""What the history writes between a complication and the reason why it was not kept."""

LEAKS = re.compile(
    r"""\b(?:
        (?:based|according|judging|going|relying)\s+(?:up)?on?\s*(?:to)?\s+(?:the|these|your|its)\s+(?:given|provided|supplied|above)?\s*
            (?:captions?|descriptions?|annotations?|bounding\s+box(?:es)?|coordinates|region\s+descriptions?|object\s+list|information|context)
      | according\s+to\s+(?:the|these)\s+(?:given\s+|provided\s+)?(?:captions?|descriptions?|annotations?|information|context|data)
      | (?:the|these|this|given|provided|above)\s+(?:image\s+)?(?:captions?|annotations?|bounding\s+box(?:es)?)
      | (?:the|these)\s+(?:given|provided|above)\s+(?:descriptions?|information|context|text|data|coordinates|details)
      | (?:the|these)\s+(?:region\s+)?descriptions?\s+(?:say|says|mention|mentions|state|states|indicate|indicates|suggest|suggests|provided|given)
      | (?:is|are|was|were)\s+(?:not\s+)?(?:mentioned|specified|stated|annotated|listed)\s+in\s+the
      | (?:scene\s+graph|object\s+tags?|region\s+descriptions?)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
REFUSALS = re.compile(
    r"\b(?:as an ai|i(?:'m| am) (?:sorry|unable|not able)|i (?:cannot|can't) (?:see|view|answer|determine|assist|help)|"
    r"cannot be determined|no information (?:is|was) (?:given|provided)|as a language model)\b",
    re.IGNORECASE,
)
PLACEHOLDERS = re.compile(r"<image>|<image_soft_token>|<\|image_pad\|>|<img>|\[IMG\]", re.IGNORECASE)
BROKEN_MARKUP = re.compile(r"<st>|<ed>")


def empty(sample: Sample) -> str | None:
    """Reject a sample with an empty turn."""
    return "empty turn" if not sample.messages or any(not message.content.strip() for message in sample.messages) else None


def leak(sample: Sample) -> str | None:
    """Reject text that talks about its source instead of the picture."""
    return _found(LEAKS, sample, "source leak")


def refusal(sample: Sample) -> str | None:
    """Reject answers that refuse."""
    answers = sample.model_copy(update={"messages": sample.messages[1::2]})
    return _found(REFUSALS, answers, "refusal")


def placeholder(sample: Sample) -> str | None:
    """Reject a literal image placeholder: processors would take it for a picture."""
    return _found(PLACEHOLDERS, sample, "image placeholder")


def references(sample: Sample) -> str | None:
    """Reject references to things the scene does not have, coordinates the writer made up, and broken markers."""
    for message in sample.messages:
        try:
            render(message.content, sample.scene)
        except UnknownTagError as error:
            return f"unknown reference: {error}"
        if GROUNDED.search(message.content):
            return "coordinates instead of a reference"
        if BROKEN_MARKUP.search(REFERENCE.sub("", message.content)):
            return "broken grounding markers"
    unknown = [tag for tag in sample.evidence if tag not in sample.scene.by_tag]
    return f"unknown evidence: [{unknown[0]}]" if unknown else None


def too_long(sample: Sample) -> str | None:
    """Reject answers beyond what their task is for."""
    most = LONGEST_DESCRIPTION_WORDS if sample.task == "detail_description" else LONGEST_ANSWER_WORDS
    longest = max((len(message.content.split()) for message in sample.messages), default=0)
    return f"too long: {longest} words, at most {most}" if longest > most else None


def ungrounded(sample: Sample) -> str | None:
    """Reject a referring sample whose question or answer points at nothing.

    The one exception is the topic "grounding": its question asks where something is by its name alone, so that a model
    learns to find the place by itself, and only its answer has to point.
    """
    must = sample.messages[1::2] if sample.topic == GROUNDING else sample.messages
    bare = [message.role for message in must if not REFERENCE.search(message.content)]
    return f"no object referred to by the {bare[0]}" if bare else None


def loose_tag(sample: Sample) -> str | None:
    """Reject a tag that stands outside the markers: a reader would see its name twice, or a bare code."""
    loose = [tag for message in sample.messages for tag in BARE_TAG.findall(REFERENCE.sub("", message.content))]
    return f"tag outside markers: [{loose[0]}]" if loose else None


def copy(sample: Sample) -> str | None:
    """Reject a rewrite that says what was there before; attempts that failed are no rewrites."""
    before = next((edit for edit in reversed(sample.history) if FAILED not in edit.stage), None)
    same = before is not None and sample.instruction.casefold().strip() == before.instruction.casefold().strip()
    return "the rewrite is a copy" if same else None


CLEAN: tuple[Check, ...] = (empty, placeholder, leak, refusal, references, loose_tag, too_long)


def first_failure(sample: Sample, checks: tuple[Check, ...]) -> str | None:
    """The first reason that any check gives."""
    return next((reason for check in checks if (reason := check(sample))), None)


async def check(sample: Sample, llms: LLMs) -> list[Sample]:
    """Reject the sample if it is not clean; a stage."""
    reason = first_failure(sample, (*CLEAN, copy))
    return [sample.reject(reason) if reason else sample]


def failed(number: int, attempt: Sample) -> Edit:
    """The history entry of a complication that did not pass."""
    return Edit(stage=f"complicate {number}{FAILED}{attempt.reason}", instruction=attempt.instruction, response=attempt.response)


def _found(pattern: re.Pattern[str], sample: Sample, name: str) -> str | None:
    for message in sample.messages:
        if found := pattern.search(message.content):
            return f"{name}: {found[0]!r}"
    return None
