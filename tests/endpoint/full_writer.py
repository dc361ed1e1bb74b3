"""A writer that fills in everything that is asked, and a judge: it reads the prompt's text and the schema, and nothing else.

It knows no recipe. Counts come from the schema's bounds, else from "Write 15 questions"; lengths from "two to five sentences";
references from the lists in the prompt. It is what a dry run is compared with.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from typing import Any

WORDS_A_SENTENCE = 15
NUMBERS = {
    name: number for number, name in enumerate(re.findall(r"\w+", "one two three four five six seven eight nine ten"), start=1)
}
NUMBER = r"(\d+|" + "|".join(NUMBERS) + ")"
SENTENCES = re.compile(rf"{NUMBER}(?: (?:to|or) {NUMBER})? (?:full )?sentences?(?! each)")
WRITE = re.compile(rf"\bwrite {NUMBER} (?:\w+ )?(?:question|conversation|pair|sample|rewrite|verdict)", re.IGNORECASE)
TURNS = re.compile(rf"{NUMBER} questions with their answers")
WRONG = re.compile(rf"{NUMBER} wrong")
LENGTH = re.compile(r"(?:about|around) (\d{2,4})(?: to (\d{2,4}))? words|(\d{2,4}) to (\d{2,4}) words")
SAMPLES = re.compile(r"^(?:Sample|Pair|Rewrite|Question) (\d+)\b", re.MULTILINE)
TAG = re.compile(r"\[([or]\d+)\]")
EXAMPLES = re.compile(
    r"<st>[^<]*<ed>\[\w+\](?:, \[\w+\])*|such as \[?\w+\]?(?: or \[?\w+\]?)?|^\[o\d+\].*: no box$", re.MULTILINE
)
"""What shows how to refer, and what has no place: a strong writer does not refer to these."""
BOX = re.compile(r"\[[01]\.\d+, [01]\.\d+")
PASSES = 0.8
VOCABULARY = re.findall(
    r"\w+",
    """person street house tree water table window field road child dog horse light morning garden wall river bridge train
    market kitchen bottle paper stone summer winter mountain doctor teacher driver player music picture colour number corner
    station village city island forest beach boat wheel basket coffee bread apple orange flower bird walks stands holds carries
    watches opens closes moves waits turns looks seems stays grows falls begins quickly slowly often probably certainly together
    behind beside between above under around because although while since until large small green white narrow wide heavy quiet
    bright empty busy wooden modern old young""",
)


def piece_tokens(text: str) -> int:
    """Tokens as OpenAI's tokenizers begin to cut: words, up to three digits, marks; most of these pieces are one token each."""
    return len(re.findall(r"\d{1,3}| ?[^\W\d_]+| ?[^\w\s]{1,2}|_+|\n+", text))


def answer(text: str, schema: dict[str, Any] | None) -> str:
    """Fill in the schema, for the same text always in the same way; without one, as in a chat, say yes."""
    if schema is None:
        return "Yes."
    return json.dumps(_Filler(text, schema).fill(schema, "", 0, True), ensure_ascii=False, separators=(",", ":"))


class _Filler:
    def __init__(self, text: str, schema: dict[str, Any]) -> None:
        self.text, self.definitions = text, schema.get("$defs", {})
        self.random = random.Random(hashlib.sha256(text.encode()).hexdigest())
        self.tags = sorted(set(TAG.findall(EXAMPLES.sub("", text))))
        self.points = "<st>" in text
        placed = {tag for line in text.split("\n") if BOX.search(line) for tag in TAG.findall(line)}
        self.placed = [tag for tag in self.tags if tag in placed] or self.tags

    def fill(self, part: dict[str, Any], name: str, place: int, passes: bool) -> Any:
        if "$ref" in part:
            return self.fill(self.definitions[part["$ref"].rsplit("/", 1)[1]], name, place, passes)
        if "anyOf" in part:
            numbers = [option.get("properties", {}).get("number", {}).get("enum", (place + 1,)) for option in part["anyOf"]]
            fitting = [option for option, allowed in zip(part["anyOf"], numbers, strict=True) if place + 1 in allowed]
            return self.fill(fitting[place % len(fitting)], name, place, passes)
        if "const" in part:
            return part["const"]
        if name == "number" and "enum" in part:
            return place + 1
        if "enum" in part:
            wanted = re.search(rf'must be "({"|".join(map(re.escape, map(str, part["enum"])))})"', self.text)
            return wanted[1] if wanted else self.random.choice(part["enum"])
        kind = part.get("type")
        if kind == "object":
            passes = self.random.random() < PASSES
            return {key: self.fill(inner, key, place, passes) for key, inner in part["properties"].items()}
        if kind == "array":
            return self.fill_list(part, name)
        if kind == "boolean":
            return passes
        if kind in ("integer", "number"):
            return place + 1 if name in ("number", "sample", "index", "id", "pair", "item") else 7
        return self.write(part, name)

    def fill_list(self, part: dict[str, Any], name: str) -> list[Any]:
        items = part["items"]
        if "evidence" in name:
            known = items.get("enum") or self.tags
            count = min(len(known), self.random.randint(2, 4), part.get("maxItems", 4))
            return self.random.sample(known, max(count, min(part.get("minItems", 0), len(known))))
        return [self.fill(items, name, place, True) for place in range(self.count(part, name))]

    def count(self, part: dict[str, Any], name: str) -> int:
        if "minItems" in part or "maxItems" in part:
            return part.get("maxItems", part.get("minItems"))
        pattern, default = {"turns": (TURNS, 4), "wrong": (WRONG, 3)}.get(name, (WRITE, 1))
        found = pattern.search(self.text)
        return _number(found[1]) if found else max([default, *map(int, SAMPLES.findall(self.text))])

    def write(self, part: dict[str, Any], name: str) -> str:
        if "evidence" in name:
            return self.random.choice(self.tags)
        if name == "topic":
            return " ".join(self.random.sample(VOCABULARY, 2))
        if name in ("correct", "wrong"):
            return " ".join(["the", *self.random.sample(VOCABULARY, 4)])
        if name == "question":
            words = " ".join(self.random.choices(VOCABULARY, k=self.random.randint(7, 13)))
            return self.point(f"Does the {{}} {words}?", part)
        words = self.length(name)
        sentences = [
            self.random.choices(VOCABULARY, k=WORDS_A_SENTENCE - 1) for _ in range(max(1, round(words / WORDS_A_SENTENCE)))
        ]
        text = " ".join(f"The {' '.join(sentence)}." for sentence in sentences)
        return self.point(f"The {{}} {text}", part) if name in ("answer", "description") else text

    def length(self, name: str) -> float:
        """Words of a text: what the prompt says of it, else two sentences; a description is long."""
        if name == "answer":
            asked = [pair for pair in SENTENCES.findall(self.text) if pair[0]]
            ends = [_number(end) for end in (asked[-1] if asked else ("2",)) if end]
            return WORDS_A_SENTENCE * sum(ends) / len(ends)
        if "description" in name:
            found = LENGTH.search(self.text)
            ends = [int(end) for end in found.groups() if end] if found else [330]
            return sum(ends) / len(ends)
        return WORDS_A_SENTENCE * (4 if "step by step" in self.text and name == "reasoning" else 2)

    def point(self, text: str, part: dict[str, Any]) -> str:
        points = "<st>" in part["pattern"] if "pattern" in part else self.points
        if not points or not self.tags:
            return text.format("scene")
        tag = self.random.choice([tag for tag in self.placed if tag.startswith("o")] or self.placed)
        named = re.search(rf"\[{tag}\] ([\w' -]+)|([\w' -]+) \[{tag}\]", EXAMPLES.sub("", self.text))
        name = next((found.strip() for found in named.groups() if found), "thing") if named else "thing"
        return text.format(f"<st>{name}<ed>[{tag}]")


def _number(text: str) -> int:
    return NUMBERS.get(text) or int(text)


def endpoint_settings(count: Callable[[str], int] = piece_tokens) -> dict[str, Any]:
    """The settings of an `Endpoint` with this writer, which counts tokens by `count`."""
    return {"answer": answer, "count_tokens": count, "keep_requests": False}
