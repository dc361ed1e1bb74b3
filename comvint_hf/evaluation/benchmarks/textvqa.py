"""TextVQA: short answers about text in pictures, ten human answers a question. Knows the m4c rule of scoring.

An answer is normalised (case, articles, number words, apostrophes, punctuation) and earns, for each human answer left
out in turn, a third for every other human who gave the same, 1 at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks.files import Question, field, read_json, read_records, write_records

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
# Each short form with one apostrophe left out stands for it; the last entry is an oddity of the official table.
_CONTRACTIONS = {
    word[: mark.start()] + word[mark.end() :]: word for word in _SHORT_FORMS.split() for mark in re.finditer("'", word)
} | {"somebody'd": "somebodyd"}


def questions(path: Path) -> list[Question]:
    """Read LLaVA's question file (question_id, image, text) or the official one ({"data": [...]})."""
    if "image_id" in (first := _gold_records(path)[0]) and "text" not in first:
        return [Question(item["image_id"], f"{item['image_id']}.jpg", item["question"]) for item in _gold_records(path)]
    return [Question(item["question_id"], item["image"], item["text"]) for item in _gold_records(path)]


def write(asked: Sequence[Question], replies: Sequence[str], path: Path) -> None:
    """Write answers as LLaVA does: the image's id as `question_id`, the prompt, the text."""
    pairs = zip(asked, replies, strict=True)
    write_records(path, ({"question_id": item.id, "prompt": item.text, "text": reply} for item, reply in pairs))


def score(answers: Path, gold: Path) -> dict[str, float]:
    """Score answers in percent. Each is matched by image and question; one without a partner raises `InputError`."""
    truth = _truth(gold)
    scores = []
    for number, record in enumerate(read_records(answers), start=1):
        image = str(field(record, ("question_id", "image_id"), answers))
        question = str(field(record, ("prompt", "question"), answers)).split("\n")[0].strip().lower()
        if (image, question) not in truth:
            raise InputError(f"{answers}, answer {number}: {gold} has no question {question!r} for the image {image}.")
        scores.append(accuracy(str(field(record, ("text", "answer"), answers)), truth[image, question]))
    return {"n": len(scores), "accuracy": 100 * sum(scores) / len(scores)}


def accuracy(answer: str, humans: Sequence[str]) -> float:
    """The share that an answer earns from the humans' answers.

    >>> accuracy("Two.", ["2"] * 4 + ["three"] * 6)
    1.0
    """
    said, given = normalise(answer), [normalise(human) for human in humans]
    same = given.count(said)
    # Leaving one out: the `same` humans who agree each see one partner less.
    return (same * min(1.0, (same - 1) / 3) + (len(given) - same) * min(1.0, same / 3)) / len(given) if same else 0.0


def normalise(text: str) -> str:
    """Bring a short answer into the evaluator's form.

    >>> normalise("The two  dogs, isnt it?")
    "2 dogs isn't it"
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = (_NUMBERS.get(word, word) for word in text.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


def _without_punctuation(text: str) -> str:
    cleaned = text
    for mark in _PUNCTUATION:
        at_an_edge = f"{mark} " in text or f" {mark}" in text or _DIGIT_COMMA.search(text)
        cleaned = cleaned.replace(mark, "" if at_an_edge else " ")
    return _FINAL_PERIOD.sub("", cleaned)


def _truth(path: Path) -> dict[tuple[str, str], list[str]]:
    truth: dict[tuple[str, str], list[str]] = {}
    for record in _gold_records(path):
        image = record["image_id"] if "image_id" in record else Path(field(record, ("image_path",), path)).stem
        truth[str(image), record["question"].strip().lower()] = field(record, ("answers", "gt_answers"), path)
    return truth


def _gold_records(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json" and isinstance(document := read_json(path), dict):
        return document.get("data", [document])
    return read_records(path)
