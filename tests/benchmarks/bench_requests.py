"""Requests, tokens and dollars of ComVint for a thousand images, by samples in a request and by what a provider had cached.

    python tests/benchmarks/bench_requests.py flickr30k:DIR coco:DIR visual_genome:DIR --limit 20 [--tokenizer tokenizer.json]

The writer is scripted: it answers all that it is asked, in words that mean nothing but in ordinary lengths, and the judge
passes 75 % of the rewrites. Prices are those of gpt-4o and gpt-4o-mini.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path
from typing import Any

from comvint_hf import LLMs, comvint, load_scenes
from comvint_hf.generation.client.cost import Price, find_price
from comvint_hf.generation.client.reply_parsing import build_schema
from comvint_hf.pipeline.prompts import open_tokenizer

PASS_RATE = 0.75
WORDS = {"reasoning": 45, "question": 22, "answer": 30, "topic": 2, "match": 18, "depth": 18, "soundness": 18}
VOCABULARY = [
    "the",
    "man",
    "in",
    "front",
    "of",
    "a",
    "small",
    "shop",
    "holds",
    "one",
    "green",
    "umbrella",
    "while",
    "two",
    "people",
    "behind",
    "him",
    "walk",
    "along",
    "this",
    "street",
    "and",
    "talk",
    "about",
    "rain",
    "that",
    "may",
    "fall",
    "later",
    "because",
    "dark",
    "clouds",
    "are",
    "near",
    "so",
    "they",
    "would",
    "probably",
    "stay",
    "under",
    "its",
    "wide",
    "roof",
]
CACHED_FROM, CACHED_STEP = 1024, 128
"""Tokens of the shortest beginning that OpenAI reuses, and its step."""


@dataclass
class FullWriter:
    """Answers every form in full, and counts. It sees the prompt and its schema only."""

    name: str
    price: Price
    count: Any
    deterministic: bool = False
    tokens: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    _earlier: dict[str, list[str]] = field(default_factory=dict)

    async def ask(self, prompt: Any, reply_type: Any) -> Any:
        schema = build_schema(reply_type, prompt.make_form)
        text = f"{prompt.text}\n\n{schema.describe()}"
        self.prompts[prompt.name] += 1
        self._random = random.Random(text)
        sent = schema.response_format("json_schema")["json_schema"]["schema"]
        reply = reply_type.model_validate(self._fill(sent, sent))
        tokens = self.count(text)
        self.tokens["prompt"] += tokens
        self.tokens["cached"] += self._count_cached(prompt.scene.id, text)
        self.tokens["reply"] += self.count(reply.model_dump_json(exclude_defaults=True))
        return reply

    def _count_cached(self, scene: str, text: str) -> int:
        """Tokens of the longest beginning that an earlier request of the image had too."""
        shared = max((self.count(commonprefix([text, other])) for other in self._earlier.get(scene, ())), default=0)
        self._earlier.setdefault(scene, []).append(text)
        return shared // CACHED_STEP * CACHED_STEP if shared >= CACHED_FROM else 0

    def cost(self, *, cached: bool) -> float:
        return self.price.compute_cost(self.tokens["prompt"], self.tokens["reply"], self.tokens["cached"] if cached else 0)

    def _fill(self, part: dict[str, Any], root: dict[str, Any], field: str = "", place: int = 1) -> Any:
        if "$ref" in part:
            return self._fill(root["$defs"][part["$ref"].rsplit("/", 1)[1]], root, field, place)
        if "enum" in part:
            return place if place in part["enum"] else self._random.choice(part["enum"])
        if "anyOf" in part:
            fits = [one for one in part["anyOf"] if place in one["properties"].get("number", {}).get("enum", [place])]
            return self._fill(fits[0], root, field, place)
        match part["type"]:
            case "object":
                self._passes = self._random.random() < PASS_RATE
                return {name: self._fill(inner, root, name, place) for name, inner in part["properties"].items()}
            case "array":
                count = max(part.get("minItems", 2), 2 if field == "evidence" else 0) if part.get("maxItems", 1) else 0
                count = min(count, part.get("maxItems", count))
                return [self._fill(part["items"], root, field, number) for number in range(1, count + 1)]
            case "boolean":
                return self._passes or field != "truly_harder"
            case "integer":
                return place if field == "number" else 6
        return self._write(field)

    def _write(self, field: str) -> str:
        start, length = self._random.randrange(len(VOCABULARY)), WORDS.get(field, 5)
        words = [VOCABULARY[(start + 7 * place + self._random.randrange(3)) % len(VOCABULARY)] for place in range(length)]
        if field == "question":
            words[:2] = ["Would", f"the {self._random.choice(VOCABULARY)}"]
        return f"{' '.join(words)}{'?' if field == 'question' else ''}"


def measure(spec: str, limit: int, together: int, count: Any) -> dict[str, float]:
    """Counts for a thousand images."""
    writer, judge = (FullWriter(name, find_price(name), count) for name in ("gpt-4o", "gpt-4o-mini"))
    recipe = comvint(rounds=2, together=together)

    async def run() -> tuple[int, int]:
        scenes = kept = 0
        for scene in load_scenes(spec, limit=limit):
            scenes += 1
            kept += sum(sample.reason is None for sample in await recipe.run(scene, LLMs(writer, judge)))
        return scenes, kept

    scenes, kept = asyncio.run(run())
    scale = 1000 / scenes
    return {
        "requests": round(scale * (writer.prompts.total() + judge.prompts.total())),
        "prompt tokens": round(scale * (writer.tokens["prompt"] + judge.tokens["prompt"])),
        "reply tokens": round(scale * (writer.tokens["reply"] + judge.tokens["reply"])),
        "$": round(scale * (writer.cost(cached=False) + judge.cost(cached=False)), 2),
        "$ with cached beginnings": round(scale * (writer.cost(cached=True) + judge.cost(cached=True)), 2),
        "rows": round(scale * kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="+")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--tokenizer", type=Path)
    asked = parser.parse_args()
    count, counted_by = open_tokenizer(asked.tokenizer, "gpt-4o")
    for spec in asked.scenes:
        for together in (1, 4, 8):
            found = measure(spec, asked.limit, together, count)
            print(json.dumps({"scenes": spec.partition(":")[0], "together": together, **found}), flush=True)
    print(f"Tokens are {counted_by}.")


if __name__ == "__main__":
    main()
