"""TextVQA: short answers about text in images, scored against ten human answers by the rule of the m4c evaluator.

The answer is normalised: case, articles, number words, apostrophes, punctuation. Its accuracy is the mean over all subsets of
nine human answers of min(1, matches / 3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, BenchmarkQuestion, json_lines_writer
from comvint_hf.evaluation.benchmarks.files import get_field, read_json, read_records
from comvint_hf.registry import benchmark

_PUNCTUATION = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
_FINAL_PERIOD = re.compile(r"\.(?!\d)")
_DIGIT_COMMA = re.compile(r"\d,+\d")
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
} | {"none": "0"}
_SHORT_FORMS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# A short form that lacks one apostrophe gets it back; the last entry is an error of the official table, kept for equal scores.
_CONTRACTIONS = {
    word[: mark.start()] + word[mark.end() :]: word for word in _SHORT_FORMS.split() for mark in re.finditer("'", word)
} | {"somebody'd": "somebodyd"}


# LLaVA's format, in which `question_id` is the image's id.
write_answers = json_lines_writer(lambda item, reply: {"question_id": item.id, "prompt": item.text, "text": reply})


@benchmark("textvqa")
def textvqa() -> Benchmark:
    """Declare TextVQA."""
    return Benchmark(read_questions, score, write_answers)


def read_questions(files: BenchmarkFiles) -> list[BenchmarkQuestion]:
    """Read LLaVA's question file (question_id, image, text) or the official one ({"data": [...]})."""
    items = _read_items(files.require("questions", "TextVQA's questions, LLaVA's .jsonl or the official .json"))
    if "image_id" in items[0] and "text" not in items[0]:
        return [BenchmarkQuestion(item["image_id"], f"{item['image_id']}.jpg", item["question"]) for item in items]
    return [BenchmarkQuestion(item["question_id"], item["image"], item["text"]) for item in items]


def score(files: BenchmarkFiles) -> dict[str, float]:
    """Score answers in percent, each matched by image and question. Raises `InputError` for an unknown question."""
    answers, gold = files.answers, files.gold or files.require("questions", "TextVQA's .json with ten answers each")
    references = _read_references(gold)
    scores = []
    for number, record in enumerate(read_records(answers), start=1):
        image = str(get_field(record, ("question_id", "image_id"), answers))
        question = str(get_field(record, ("prompt", "question"), answers)).split("\n")[0].strip().lower()
        if (image, question) not in references:
            raise InputError(f"{answers}, answer {number}: {gold} has no question {question!r} for the image {image}.")
        scores.append(accuracy(str(get_field(record, ("text", "answer"), answers)), references[image, question]))
    return {"n": len(scores), "accuracy": 100 * sum(scores) / len(scores)}


def accuracy(answer: str, references: Sequence[str]) -> float:
    """Compute the accuracy of an answer, from 0 to 1.

    >>> accuracy("Two.", ["2"] * 4 + ["three"] * 6)
    1.0
    """
    matches = list(map(normalise, references)).count(normalise(answer))
    if not matches:
        return 0.0
    # Leaving a matching reference out leaves one match less.
    without_match, without_other = min(1.0, (matches - 1) / 3), min(1.0, matches / 3)
    return (matches * without_match + (len(references) - matches) * without_other) / len(references)


def normalise(text: str) -> str:
    """Normalise an answer as the official evaluator does.

    >>> normalise("The two  dogs, isnt it?")
    "2 dogs isn't it"
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _strip_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = (_NUMBERS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def _strip_punctuation(text: str) -> str:
    cleaned = text
    for mark in _PUNCTUATION:
        # The official rule looks at the original text here, not at the cleaned one.
        at_word_edge = f"{mark} " in text or f" {mark}" in text or _DIGIT_COMMA.search(text)
        cleaned = cleaned.replace(mark, "" if at_word_edge else " ")
    return _FINAL_PERIOD.sub("", cleaned)


def _read_references(path: Path) -> dict[tuple[str, str], list[str]]:
    references: dict[tuple[str, str], list[str]] = {}
    for record in _read_items(path):
        image = record["image_id"] if "image_id" in record else Path(get_field(record, ("image_path",), path)).stem
        references[str(image), record["question"].strip().lower()] = get_field(record, ("answers", "gt_answers"), path)
    return references


def _read_items(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json" and isinstance(document := read_json(path), dict):
        return document.get("data", [document])
    return read_records(path)
