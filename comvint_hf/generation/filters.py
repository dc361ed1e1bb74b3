"""Checks of a sample's text: each returns a reason to reject the sample, or `None`. They ask no LLM.

They run before any judge is asked, because they cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from comvint_hf.answers import options
from comvint_hf.errors import UnknownTagError
from comvint_hf.generation.leaks import find_leak
from comvint_hf.generation.refusals import REFUSAL, REFUSAL_WORDS, begins_with_refusal, straighten_quotes
from comvint_hf.generation.writer_checks import ANNOTATIONS, check_phrases, check_prompt_copy, check_tells_answer
from comvint_hf.grounding import BARE_TAG, GROUNDED, REFERENCE, find_bad_box, parse, render, strip_grounding
from comvint_hf.types import FAILED, VERIFIED, VERIFIED_FIRST, Edit, Message, Sample, construct_unchecked

if TYPE_CHECKING:
    from comvint_hf.generation.llm import LLMs

Check = Callable[[Sample], str | None]
MAX_WORDS: dict[str, int] = {"conversation": 120, "referring_qa": 120, "detail_description": 900}
"""Most words of a turn by task. A prompt asks for at most half as many."""
MAX_REASONING_WORDS = 300
"""The same for all other tasks, whose answers reason step by step."""
QUESTION_WORDS = 3, 80
"""Bounds of a reasoning question without options and task template; its prompt asks for at most 60 words."""
REASONING_TASKS = ("cross_modal", "outside_knowledge")
"""Tasks whose answers must rest on something in the image."""
GROUNDING_TOPIC = "grounding"
"""The topic of referring questions that ask for a place and refer to none themselves."""
WORD = re.compile(r"\w+")
MIN_LANGUAGE_WORDS = 12
"""Shorter texts may have no word of `ENGLISH_WORDS`."""
ENGLISH_WORDS = frozenset(
    WORD.findall(
        """the is are of and what which its it on with this that these there how who does an to be was were at by from for his
        her their they would you he she him them not yes can could has have or some any as into near behind while between
        through because both each than then when where why one two three man woman people person wearing"""
    )
)
"""Words that almost every English text contains and that other languages do not share."""

PLACEHOLDER = re.compile(r"<image>|<image_soft_token>|<\|image_pad\|>|<img>|\[IMG\]", re.IGNORECASE)
BROKEN_MARKUP = re.compile(r"<st>|<ed>")
OPEN_QUESTION = re.compile(r"(?:what|which|who|whose|why|how)\b", re.IGNORECASE)
TOLERATED_LETTERS = 12
"""A difference of so many letters does not give the right option away: "car" beside "fire engine" is no hint."""


def check_turns(sample: Sample) -> str | None:
    """Reject a sample with an empty turn."""
    return "empty turn" if not sample.messages or any(not message.content.strip() for message in sample.messages) else None


def check_source_leak(sample: Sample) -> str | None:
    """Reject text that talks about its source, such as the captions, instead of the image."""
    # Requests for a description are the recipe's own, and who asks for a place may ask for its bounding box.
    asked_by_us = sample.task == "detail_description" or sample.topic == GROUNDING_TOPIC
    for message in sample.messages[1::2] if asked_by_us else sample.messages:
        # References are no talk about tags; tags outside their markers are left to their own check.
        text = BARE_TAG.sub("", strip_grounding(message.content)) if "[" in message.content else message.content
        if found := find_leak(text, is_quoted=sample.generator == ANNOTATIONS):
            return f"source leak: {found!r}"
    return None


def check_refusal(sample: Sample) -> str | None:
    """Reject an answer that refuses, and a question that begins as a refusal does."""
    for number, message in enumerate(sample.messages):
        text = straighten_quotes(message.content)
        if number % 2 and any(map(text.lower().__contains__, REFUSAL_WORDS)) and (found := REFUSAL.search(text)):
            return f"refusal: {found[0]!r}"
        if begins_with_refusal(text):
            return f"refusal: {text[:30]!r}"
    return None


def check_placeholder(sample: Sample) -> str | None:
    """Reject a literal image placeholder, which processors would replace by an image."""
    return _find_pattern(PLACEHOLDER, sample.messages, "image placeholder", ("<", "["))


def check_references(sample: Sample) -> str | None:
    """Reject references to objects that the scene does not have, coordinates that the writer made up, and broken markers."""
    for message in sample.messages:
        # Most texts refer to nothing, and rendering is slow.
        if "<" not in message.content and "[" not in message.content:
            continue
        try:
            render(message.content, sample.scene)
        except UnknownTagError as error:
            return f"unknown reference: {error}"
        if GROUNDED.search(message.content) and not sample.seen:
            return "coordinates instead of a reference"
        if (bad := find_bad_box(message.content)) is not None:
            return f"a box outside the image: {bad}"
        # Whatever is left of the markers once the whole references are gone belongs to a broken one.
        if BROKEN_MARKUP.search(GROUNDED.sub("", REFERENCE.sub("", message.content))):
            return "broken grounding markers"
    unknown = [entry for entry in sample.evidence if entry not in sample.scene.by_tag and not (sample.seen and parse(entry))]
    return f"unknown evidence: [{unknown[0]}]" if unknown else None


def check_length(sample: Sample) -> str | None:
    """Reject text that is too long for its task."""
    most = MAX_WORDS.get(sample.task, MAX_REASONING_WORDS)
    longest = max((len(message.content.split()) for message in sample.messages), default=0)
    return f"too long: {longest} words, at most {most}" if longest > most else None


def check_grounding(sample: Sample) -> str | None:
    """Reject a referring sample whose question or answer has no reference.

    Questions of the topic "grounding" need none: they ask by name where an object is, so that a model learns to find it.
    """
    referring = sample.messages[1::2] if sample.topic == GROUNDING_TOPIC else sample.messages
    missing = [message.role for message in referring if not points_at_something(message.content)]
    return f"no object referred to by the {missing[0]}" if missing else None


def points_at_something(text: str) -> bool:
    """Whether a text refers to something, by its tag or by a box that a seeing writer gave."""
    return bool(REFERENCE.search(text) or GROUNDED.search(text))


def check_loose_tags(sample: Sample) -> str | None:
    """Reject a tag outside the markers: a reader would see the name twice, or a bare code."""
    tagged = (message.content for message in sample.messages if "[" in message.content)
    loose = [tag for text in tagged for tag in BARE_TAG.findall(REFERENCE.sub("", text))]
    return f"tag outside markers: [{loose[0]}]" if loose else None


def check_copy(sample: Sample) -> str | None:
    """Reject a rewrite that repeats an earlier question, apart from case, articles and punctuation."""
    now = normalise_text(sample.instruction)
    # Notes repeat the version that they are about, so they are no earlier version.
    same = any(normalise_text(edit.instruction) == now for edit in sample.history if not is_note(edit))
    return "the rewrite is a copy" if same else None


def check_evidence(sample: Sample) -> str | None:
    """Reject a reasoning sample without evidence in the image.

    The answer "No" may rest on an absent object. Written text, and scenes without tags, cannot be referred to.
    """
    if sample.evidence or sample.task not in REASONING_TASKS or (sample.format, sample.response) == ("bool", "No"):
        return None
    quoted = any(text.text in message.content for text in sample.scene.texts for message in sample.messages)
    return None if quoted or not sample.scene.by_tag else "no evidence"


def check_question_length(sample: Sample) -> str | None:
    """Reject a reasoning question that is too short or too long."""
    words = len(sample.instruction.partition("\n")[0].split())
    least, most = QUESTION_WORDS
    if sample.task not in REASONING_TASKS or least <= words <= most:
        return None
    return f"question of {words} words, expected {least} to {most}"


def check_language(sample: Sample) -> str | None:
    """Reject text that is certainly not English: another script, or a dozen words without a common English one."""
    text = " ".join(message.content for message in sample.messages)
    if not text.isascii():
        # A few foreign letters are names ("café"), most of a text is another language.
        letters = [letter for letter in text if letter.isalpha()]
        if sum(not letter.isascii() for letter in letters) > 0.3 * len(letters):
            return "not English: another script"
    # Nearly every English text has a "the", and looking for it is the cheapest test.
    if " the " in text:
        return None
    lowered = text.lower()
    if not ENGLISH_WORDS.isdisjoint(lowered.split()):
        return None
    words = WORD.findall(lowered)
    return "not English" if len(words) >= MIN_LANGUAGE_WORDS and ENGLISH_WORDS.isdisjoint(words) else None


def check_yes_no(sample: Sample) -> str | None:
    """Reject a yes/no sample whose answer is neither, or whose question asks for more."""
    if sample.format != "bool":
        return None
    if sample.response not in ("Yes", "No"):
        return f"answer is {sample.response!r}, expected Yes or No"
    # "What colour is the car?" cannot be answered by yes, whatever task template follows it.
    opening = OPEN_QUESTION.match(sample.instruction)
    return f"a yes/no question that asks {opening[0].lower()!r}" if opening else None


def check_options(sample: Sample) -> str | None:
    """Reject a multiple choice without four different options, or whose right option stands out by its length."""
    if sample.format != "choice":
        return None
    listed = options(sample.instruction)
    if sample.response not in listed or len({normalise_text(option) for option in listed.values()}) != 4:
        return f"expected four different options, found {list(listed.values())}"
    right = listed.pop(sample.response)
    return f"the right option stands out by its length: {right!r}" if is_length_outlier(right, list(listed.values())) else None


def is_length_outlier(right: str, wrong: Sequence[str]) -> bool:
    """Whether the right option is over twice as long as every wrong one, or under half as long, by more than a word or two.

    >>> is_length_outlier("The man who holds the umbrella", ["The dog", "The cat"]), is_length_outlier("Traffic light", ["Dog", "Cat"])
    (True, False)
    """
    size, sizes = len(right), [len(option) for option in wrong]
    longer = size > 2 * max(sizes) and size - max(sizes) > TOLERATED_LETTERS
    return longer or 2 * size < min(sizes) and min(sizes) - size > TOLERATED_LETTERS


@lru_cache(maxsize=4096)
def normalise_text(text: str) -> str:
    """Reduce a text to its words in lower case, without articles and punctuation, to compare texts.

    >>> normalise_text("The red Cup."), normalise_text("a red cup")
    ('red cup', 'red cup')
    """
    return " ".join(word for word in WORD.findall(text.casefold()) if word not in ("a", "an", "the"))


# The first reason is the one that is published, so the order is part of the dataset.
CHECKS: tuple[Check, ...] = (
    check_turns, check_placeholder, check_source_leak, check_refusal, check_references, check_loose_tags, check_phrases, check_prompt_copy, check_length,
    check_question_length, check_language, check_evidence, check_yes_no, check_options, check_tells_answer,
)  # fmt: skip
REWRITE_CHECKS = (*CHECKS, check_copy)


def find_failure(sample: Sample, checks: Sequence[Check]) -> str | None:
    """Return the first reason to reject the sample, or `None`."""
    for find_reason in checks:
        if reason := find_reason(sample):
            return reason
    return None


async def check(sample: Sample, llms: LLMs) -> list[Sample]:
    """Reject the sample if a check finds a reason. This is a stage."""
    reason = find_failure(sample, REWRITE_CHECKS)
    return [sample.reject(reason) if reason else sample]


def make_note(stage: str, sample: Sample) -> Edit:
    """Make a history entry about the present version. (`Sample.rewrite` makes entries of earlier versions.)"""
    return construct_unchecked(Edit, stage=stage, instruction=sample.instruction, response=sample.response)


def is_note(edit: Edit) -> bool:
    """Whether a history entry records a verdict or a failed attempt, not an earlier version."""
    return edit.stage.startswith((VERIFIED, VERIFIED_FIRST)) or FAILED in edit.stage


def previous_version(sample: Sample) -> Edit:
    """Return the version that the last rewrite started from."""
    return next(edit for edit in reversed(sample.history) if not is_note(edit))


def make_failure_note(number: int, attempt: Sample) -> Edit:
    """Make the history entry of a complication that failed."""
    return make_note(f"complicate {number}{FAILED}{attempt.reason}", attempt)


def _find_pattern(pattern: re.Pattern[str], messages: Sequence[Message], name: str, needed: Sequence[str]) -> str | None:
    """The reason to reject messages that match a pattern; texts with none of the `needed` substrings are skipped."""
    for message in messages:
        if any(map(message.content.lower().__contains__, needed)) and (found := pattern.search(message.content)):
            return f"{name}: {found[0]!r}"
    return None
