"""Checks that cost nothing: each looks at one sample and returns its reason to reject it, or None.

They run before any judge is asked. This file asks no language model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from comvint_hf.errors import UnknownTagError
from comvint_hf.generation.llm import LLMs
from comvint_hf.grounding import BARE_TAG, GROUNDED, REFERENCE, render
from comvint_hf.types import FAILED, VERIFIED, Edit, Message, Sample, trusted

Check = Callable[[Sample], str | None]
LONGEST_ANSWER_WORDS = 120
LONGEST_DESCRIPTION_WORDS = 700
QUESTION_WORDS = 3, 80
"""The bounds of a reasoning question, options and task template left out; its prompt asks for at most 60."""
REASONED = ("cross_modal", "outside_knowledge")
"""The tasks whose answers must rest on something of the picture."""
GROUNDING = "grounding"
"""The topic of referring questions that ask for a place and do not point at one themselves."""
WORD = re.compile(r"\w+")
ENGLISH_FROM_WORDS = 12
"""Texts of fewer words may do without any word of `ENGLISH`."""
ENGLISH = frozenset(
    WORD.findall(
        """the is are of and what which its it on with this that these there how who does an to be was were at by from for his
        her their they would you he she him them not yes can could has have or some any as into near behind while between
        through because both each than then when where why one two three man woman people person wearing"""
    )
)
"""Words that English texts can hardly do without, and that other languages do not share."""

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
LEAKING = (
    "caption", "description", "annotat", "bounding", "coordinates", "list", "information", "text", "data", "details", "mentioned",
    "specified", "stated", "graph", "tag",
)  # fmt: skip
"""Parts of words of which any text has one that `LEAKS` finds something in, in lower case."""
REFUSALS = re.compile(
    r"\b(?:as an ai|i(?:'m| am) (?:sorry|unable|not able)|i (?:cannot|can't) (?:see|view|answer|determine|assist|help)|"
    r"cannot be determined|no information (?:is|was) (?:given|provided)|as a language model)\b",
    re.IGNORECASE,
)
REFUSING = ("as an ai", "i'm", "i am", "i can", "cannot be", "no information", "language model")
"""The same for `REFUSALS`."""
PLACEHOLDERS = re.compile(r"<image>|<image_soft_token>|<\|image_pad\|>|<img>|\[IMG\]", re.IGNORECASE)
BROKEN_MARKUP = re.compile(r"<st>|<ed>")
OPTION = re.compile(r"^([A-D])\. (.*)$", re.MULTILINE)
OPEN_QUESTION = re.compile(r"(?:what|which|who|whose|why|how)\b", re.IGNORECASE)
A_WORD_OR_TWO = 12
"""Letters by which the right option may stand out: who sees "car" beside "fire engine" has learnt nothing."""


def empty(sample: Sample) -> str | None:
    """Reject a sample with an empty turn."""
    return "empty turn" if not sample.messages or any(not message.content.strip() for message in sample.messages) else None


def leak(sample: Sample) -> str | None:
    """Reject text that talks about its source instead of the picture."""
    return _found(LEAKS, sample.messages, "source leak", LEAKING)


def refusal(sample: Sample) -> str | None:
    """Reject answers that refuse."""
    return _found(REFUSALS, sample.messages[1::2], "refusal", REFUSING)


def placeholder(sample: Sample) -> str | None:
    """Reject a literal image placeholder: processors would take it for a picture."""
    return _found(PLACEHOLDERS, sample.messages, "image placeholder", ("<", "["))


def references(sample: Sample) -> str | None:
    """Reject references to things the scene does not have, coordinates the writer made up, and broken markers."""
    for message in sample.messages:
        if "<" not in message.content and "[" not in message.content:
            continue
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
    tagged = (message.content for message in sample.messages if "[" in message.content)
    loose = [tag for text in tagged for tag in BARE_TAG.findall(REFERENCE.sub("", text))]
    return f"tag outside markers: [{loose[0]}]" if loose else None


def copy(sample: Sample) -> str | None:
    """Reject a rewrite that says what an earlier version said, but for case, articles and punctuation."""
    now = normal(sample.instruction)
    same = any(normal(edit.instruction) == now for edit in sample.history if not is_note(edit))
    return "the rewrite is a copy" if same else None


def unsupported(sample: Sample) -> str | None:
    """Reject a reasoning sample that rests on nothing of the picture.

    "No" may rest on what is absent; writing and scenes without any tag cannot be pointed at.
    """
    if sample.evidence or sample.task not in REASONED or (sample.format, sample.response) == ("bool", "No"):
        return None
    quoted = any(text.text in message.content for text in sample.scene.texts for message in sample.messages)
    return None if quoted or not sample.scene.by_tag else "no evidence"


def question_length(sample: Sample) -> str | None:
    """Reject a reasoning question of two words, and one that nobody would read to its end."""
    words = len(sample.instruction.partition("\n")[0].split())
    least, most = QUESTION_WORDS
    if sample.task not in REASONED or least <= words <= most:
        return None
    return f"question of {words} words, expected {least} to {most}"


def foreign(sample: Sample) -> str | None:
    """Reject text that is surely not English: another script, or a dozen words without one that English needs."""
    text = " ".join(message.content for message in sample.messages)
    if not text.isascii():
        letters = [letter for letter in text if letter.isalpha()]
        if sum(not letter.isascii() for letter in letters) > 0.3 * len(letters):
            return "not English: another script"
    if " the " in text:
        return None
    lowered = text.lower()
    if not ENGLISH.isdisjoint(lowered.split()):
        return None
    words = WORD.findall(lowered)
    return "not English" if len(words) >= ENGLISH_FROM_WORDS and ENGLISH.isdisjoint(words) else None


def closed(sample: Sample) -> str | None:
    """Reject a yes/no question that asks for more than yes or no, and an answer that is neither."""
    if sample.format != "bool":
        return None
    if sample.response not in ("Yes", "No"):
        return f"answer is {sample.response!r}, expected Yes or No"
    asks = OPEN_QUESTION.match(sample.instruction)
    return f"a yes/no question that asks {asks[0].lower()!r}" if asks else None


def options(sample: Sample) -> str | None:
    """Reject a multiple choice without four different options, and one whose right option stands out by its length."""
    if sample.format != "choice":
        return None
    listed = dict(OPTION.findall(sample.instruction))
    if sample.response not in listed or len({normal(option) for option in listed.values()}) != 4:
        return f"expected four different options, found {list(listed.values())}"
    right = listed.pop(sample.response)
    return f"the right option stands out by its length: {right!r}" if stands_out(right, list(listed.values())) else None


def stands_out(right: str, wrong: Sequence[str]) -> bool:
    """Whether the right option is over twice as long as every wrong one, or not half as long, by more than a word or two.

    >>> stands_out("The man who holds the umbrella", ["The dog", "The cat"]), stands_out("Traffic light", ["Dog", "Cat"])
    (True, False)
    """
    size, sizes = len(right), [len(option) for option in wrong]
    longer = size > 2 * max(sizes) and size - max(sizes) > A_WORD_OR_TWO
    return longer or 2 * size < min(sizes) and min(sizes) - size > A_WORD_OR_TWO


@lru_cache(maxsize=4096)
def normal(text: str) -> str:
    """The words of a text without case, articles and punctuation: what two writings of the same have in common.

    >>> normal("The red Cup."), normal("a red cup")
    ('red cup', 'red cup')
    """
    return " ".join(word for word in WORD.findall(text.casefold()) if word not in ("a", "an", "the"))


CLEAN: tuple[Check, ...] = (
    empty, placeholder, leak, refusal, references, loose_tag, too_long, question_length, foreign, unsupported, closed, options,
)  # fmt: skip


CLEAN_REWRITE = (*CLEAN, copy)


def first_failure(sample: Sample, checks: tuple[Check, ...]) -> str | None:
    """The first reason that any check gives."""
    for check in checks:
        if reason := check(sample):
            return reason
    return None


async def check(sample: Sample, llms: LLMs) -> list[Sample]:
    """Reject the sample if it is not clean; a stage."""
    reason = first_failure(sample, CLEAN_REWRITE)
    return [sample.reject(reason) if reason else sample]


def note(stage: str, sample: Sample) -> Edit:
    """A history entry about the sample as it stands; rewriting makes entries of what was there before."""
    return trusted(Edit, stage=stage, instruction=sample.instruction, response=sample.response)


def is_note(edit: Edit) -> bool:
    """Whether a history entry tells of a verdict or a failed attempt, not of an earlier version."""
    return edit.stage.startswith(VERIFIED) or FAILED in edit.stage


def before(sample: Sample) -> Edit:
    """The version that the last rewrite started from."""
    return next(edit for edit in reversed(sample.history) if not is_note(edit))


def failed(number: int, attempt: Sample) -> Edit:
    """The history entry of a complication that did not pass."""
    return note(f"complicate {number}{FAILED}{attempt.reason}", attempt)


def _found(pattern: re.Pattern[str], messages: Sequence[Message], name: str, needed: Sequence[str]) -> str | None:
    """What a pattern finds in any message; it is not looked for in texts without one of the words that it needs."""
    for message in messages:
        if any(map(message.content.lower().__contains__, needed)) and (found := pattern.search(message.content)):
            return f"{name}: {found[0]!r}"
    return None
