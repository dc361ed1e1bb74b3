"""CHAIR: which COCO objects a caption mentions, and which of them are not in the image (Rohrbach et al. 2018).

Plurals are reduced by a few rules, not by the original's library, so scores of long captions can differ from the official
script's by up to a point. The synonym list is the user's file: 80 lines, the category's name first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, BenchmarkQuestion, json_lines_writer
from comvint_hf.evaluation.benchmarks.files import get_field, read_json, read_records
from comvint_hf.registry import benchmark
from comvint_hf.text import SingularRules, singular

_TOKEN = re.compile(r"'(?:s|re|ve|ll|d|m)\b|n't\b|[a-z0-9]+(?:[-.][a-z0-9]+)*|[^\sa-z0-9]")
_SINGULARS = {
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
SINGULAR_RULES = SingularRules(
    irregular=_SINGULARS,
    unchanged=frozenset(("is", "us", "as")),
    shortest=2,
    endings=((r"(ch|sh|x|ss|o)es$", r"\1"), (r"(?<=[^aeiouy])ies$", "y"), (r"(?<!u)s$", "")),
)
"""The blunt rule that CHAIR's word lists count on: it makes "proces" of "process"."""
_PAIRS = (
    *("motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light", "fire hydrant"),
    *("stop sign", "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove", "tennis racket", "wine glass"),
    *("hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier", "potted plant", "laptop computer", "home plate"),
    "train track",
)
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
# Word pairs that name one object. Without them the "baby" of a "baby bird" would count as a person.
_COMPOUNDS = (
    {pair: pair for pair in _PAIRS}
    | {f"{age} {animal}": animal for age in ("baby", "adult") for animal in _ANIMALS}
    | {f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")}
    | {"bow tie": "tie", "toilet seat": "toilet", "wine glas": "wine glass", "sport ball": "sports ball"}
)


PROMPT = "Describe this image in detail."
write_answers = json_lines_writer(lambda item, reply: {"image_id": int(item.id), "caption": reply})


@benchmark("chair")
def chair() -> Benchmark:
    """Declare CHAIR, which asks for captions and scores the objects that they mention."""
    return Benchmark(read_questions, score, write_answers, flags=("synonyms",))


class CaptionObjects(NamedTuple):
    """The COCO objects that a caption mentions, in order, those of them that are not in the image, and all its words."""

    image_id: str
    mentioned: list[str]
    hallucinated: list[str]
    words: list[str]


def read_questions(files: BenchmarkFiles) -> list[BenchmarkQuestion]:
    """Ask for a description of every image of `gold` that is in the folder under a COCO file name."""
    # A missing synonym list would be noticed only after the model has answered everything.
    gold, _, images = *_gold_files(files), files.require("images", "the folder of images")
    found = {int(match[1]): path.name for path in sorted(images.iterdir()) if (match := re.search(r"(\d{12})\.\w+$", path.name))}
    questions = [BenchmarkQuestion(image, found[int(image)], PROMPT) for image in read_json(gold) if int(image) in found]
    if not questions:
        raise InputError(f"{images} holds none of the images of {gold}; expected names like COCO_val2014_000000001290.jpg.")
    return questions


def _gold_files(files: BenchmarkFiles) -> tuple[Path, Path]:
    gold = files.require("gold", "image ids and their COCO objects as JSON")
    return gold, files.require("synonyms", "CHAIR's synonyms.txt")


def score(files: BenchmarkFiles) -> dict[str, Any]:
    """Score captions in percent, given the COCO names of each image's objects in `gold`.

    `chair_s` is the fraction of captions with a hallucinated object, `chair_i` the fraction of hallucinated mentions, `recall`
    the fraction of the images' objects that are mentioned.
    """
    answers, (gold, synonyms) = files.answers, _gold_files(files)
    truth = {str(image): set(names) for image, names in read_json(gold).items()}
    names = read_synonyms(synonyms)
    captions = [
        read_caption(
            str(get_field(record, ("image_id",), answers)), get_field(record, ("caption", "text"), answers), names, truth
        )
        for record in read_records(answers)
    ]
    mentions = sum(len(caption.mentioned) for caption in captions)
    hallucinated = sum(len(caption.hallucinated) for caption in captions)
    recalled = sum(len(set(caption.mentioned) & truth[caption.image_id]) for caption in captions)
    present = sum(len(truth[caption.image_id]) for caption in captions)
    return {
        "n": len(captions),
        "chair_s": 100 * sum(bool(caption.hallucinated) for caption in captions) / len(captions),
        "chair_i": 100 * hallucinated / mentions if mentions else 0.0,
        "recall": 100 * recalled / present if present else 0.0,
        "mentions": mentions,
        "hallucinated": hallucinated,
    }


def read_synonyms(path: Path) -> dict[str, str]:
    """Read the synonym list, whose lines are a category's name and its other names. Returns the category of each name."""
    names: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        own = [name.strip() for name in line.split(",") if name.strip()]
        names.update({name: own[0] for name in own})
    if not names:
        raise InputError(f"{path} is empty; expected CHAIR's synonyms.txt, a category and its other names on each line.")
    return names


def read_caption(image_id: str, text: str, names: Mapping[str, str], truth: Mapping[str, set[str]]) -> CaptionObjects:
    """Find the COCO objects of one caption. Raises `InputError` for an image without known objects."""
    if image_id not in truth:
        raise InputError(
            f"The captions have an image {image_id}, which the ground truth does not have; use the same set of images."
        )
    words = [singular(token, SINGULAR_RULES) for token in _TOKEN.findall(text.lower())]
    merged = list(_merge_compounds(words))
    if "toilet" in merged:
        # CHAIR counts "seat" as a chair, which the seat of a toilet is not.
        merged = [word for word in merged if word != "seat"]
    mentioned = [names[word] for word in merged if word in names]
    return CaptionObjects(image_id, mentioned, [name for name in mentioned if name not in truth[image_id]], words)


def _merge_compounds(words: Sequence[str]) -> Iterable[str]:
    position = 0
    while position < len(words):
        pair = " ".join(words[position : position + 2])
        yield _COMPOUNDS.get(pair, words[position])
        position += 2 if pair in _COMPOUNDS else 1
