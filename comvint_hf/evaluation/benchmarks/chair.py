"""CHAIR: which COCO objects a caption speaks of, and which of them are not there (Rohrbach et al. 2018).

Knows the rule and a small plural-stripper of its own in place of the original's, so figures on long captions can differ
from the official script's by up to a point. The synonym list is the user's file (80 lines, the category's name first).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks.files import Question, field, read_json, read_records, write_records

_TOKEN = re.compile(r"'(?:s|re|ve|ll|d|m)\b|n't\b|[a-z0-9]+(?:[-.][a-z0-9]+)*|[^\sa-z0-9]")
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "oxen": "ox",
    "geese": "goose",
    "mice": "mouse",
    "knives": "knife",
    "calves": "calf",
    "wolves": "wolf",
    "shelves": "shelf",
    "leaves": "leaf",
    "loaves": "loaf",
    "buses": "bus",
    "scissors": "scissors",
    "this": "this",
    "tennis": "tennis",
    "shoes": "shoe",
    "cookies": "cookie",
}
_PAIRS = (
    *("motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light", "fire hydrant"),
    *("stop sign", "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove", "tennis racket", "wine glass"),
    *("hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier", "potted plant", "laptop computer", "home plate"),
    "train track",
)
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
# Two words that count as one thing; "baby bird" must not be heard as a person.
_COMPOUNDS = (
    {pair: pair for pair in _PAIRS}
    | {f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS}
    | {f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")}
    | {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass", "sport ball": "sports ball"}
)


class Caption(NamedTuple):
    """What one caption mentions: COCO names in order, those that are not in the picture, and all its words."""

    image_id: str
    mentioned: list[str]
    hallucinated: list[str]
    words: list[str]


def questions(gold: Path, images: Path, wording: str = "Describe this image in detail.") -> list[Question]:
    """Ask for a description of every picture of `gold` that lies under `images` with a COCO file name."""
    found = {int(match[1]): path.name for path in sorted(images.iterdir()) if (match := re.search(r"(\d{12})\.\w+$", path.name))}
    asked = [Question(image, found[int(image)], wording) for image in read_json(gold) if int(image) in found]
    if not asked:
        raise InputError(f"{images} holds none of the pictures of {gold}; expected names like COCO_val2014_000000001290.jpg.")
    return asked


def write(asked: Sequence[Question], replies: Sequence[str], path: Path) -> None:
    """Write captions as the official tool reads them."""
    pairs = zip(asked, replies, strict=True)
    write_records(path, ({"image_id": int(item.id), "caption": reply} for item, reply in pairs))


def score(answers: Path, gold: Path, synonyms: Path) -> dict[str, Any]:
    """Score captions in percent.

    `chair_s` is the share of captions with a hallucinated object, `chair_i` the share of mentions that are, `recall`
    the share of the pictures' objects that are mentioned. `gold` maps image ids to COCO names.
    """
    truth = {str(image): set(names) for image, names in read_json(gold).items()}
    names = read_synonyms(synonyms)
    captions = [
        read_caption(str(field(record, ("image_id",), answers)), field(record, ("caption", "text"), answers), names, truth)
        for record in read_records(answers)
    ]
    mentions = sum(len(caption.mentioned) for caption in captions)
    invented = sum(len(caption.hallucinated) for caption in captions)
    recalled = sum(len(set(caption.mentioned) & truth[caption.image_id]) for caption in captions)
    present = sum(len(truth[caption.image_id]) for caption in captions)
    return {
        "n": len(captions),
        "chair_s": 100 * sum(bool(caption.hallucinated) for caption in captions) / len(captions),
        "chair_i": 100 * invented / mentions if mentions else 0.0,
        "recall": 100 * recalled / present if present else 0.0,
        "mentions": mentions,
        "hallucinated": invented,
    }


def read_synonyms(path: Path) -> dict[str, str]:
    """Read the synonym list: each line a category's name, then its other names. Returns name -> category."""
    names: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        own = [name.strip() for name in line.split(",") if name.strip()]
        names.update({name: own[0] for name in own})
    if not names:
        raise InputError(f"{path} is empty; expected CHAIR's synonyms.txt, a category and its other names on each line.")
    return names


def read_caption(image_id: str, text: str, names: Mapping[str, str], truth: Mapping[str, set[str]]) -> Caption:
    """Find the COCO objects of one caption. Raises `InputError` for a picture that the truth does not hold."""
    if image_id not in truth:
        raise InputError(f"The captions speak of image {image_id}, which the ground truth does not hold; use the same image set.")
    words = [singular(token) for token in _TOKEN.findall(text.lower())]
    merged = list(_merged(words))
    if "toilet" in merged:
        # A toilet's seat is not a chair.
        merged = [word for word in merged if word != "seat"]
    mentioned = [names[word] for word in merged if word in names]
    return Caption(image_id, mentioned, [name for name in mentioned if name not in truth[image_id]], words)


def singular(word: str) -> str:
    """Strip a word's plural ending, in the blunt way that CHAIR's word lists count on.

    >>> [singular(word) for word in ("benches", "puppies", "knives", "process", "is")]
    ['bench', 'puppy', 'knife', 'proces', 'is']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 2 or not word.endswith("s") or word in ("is", "us", "as") or word.endswith("us"):
        return word
    if re.search(r"(?:ch|sh|x|ss|o)es$", word):
        return word[:-2]
    if re.search(r"[^aeiouy]ies$", word):
        return word[:-3] + "y"
    return word[:-1]


def _merged(words: Sequence[str]) -> Iterable[str]:
    position = 0
    while position < len(words):
        pair = " ".join(words[position : position + 2])
        yield _COMPOUNDS.get(pair, words[position])
        position += 2 if pair in _COMPOUNDS else 1
