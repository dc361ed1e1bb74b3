"""Measures the recipes with a real model: what share of the samples asked for is kept, and why the others are not.

Serve a model first, for example with llama.cpp, then:

    python tests/real/yields.py --base-url http://127.0.0.1:8080/v1 --model NAME --scenes coco:DIR --limit 3
    python tests/real/yields.py --prompts --scenes coco:DIR --scenes flickr30k:DIR      # the size of every prompt; asks nobody

The first prints a table by recipe and task, and writes all samples to `--out` to be read. The second prints tokens as the
server counts them where `--base-url` is a llama.cpp server, and characters otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comvint_hf import LLMs, load_scenes
from comvint_hf.errors import ReplyError
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.reply_parsing import build_schema
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.llm import ScriptedLLM
from comvint_hf.generation.recipe import Recipe
from comvint_hf.generation.recipes.svit import SVIT_TASKS, svit
from comvint_hf.generation.recipes.svit.stages import CONVERSATIONS, REASONING_PAIRS, REFERRING_PAIRS
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.types import Sample, Scene

WANTED = {
    "conversation": CONVERSATIONS,
    "complex_reasoning": REASONING_PAIRS,
    "referring_qa": REFERRING_PAIRS,
    "detail_description": 1,
}
"""Samples that SVIT asks for, an image."""
GENERATIONS = 5
"""Dialogues that VLIT asks for, an image."""


def open_recipes(tasks: str) -> dict[str, Recipe]:
    """One recipe for each task, so that requests and failures are counted by task."""
    names = tasks.split(",") if tasks else [*SVIT_TASKS, "vlit"]
    return {name: vlit(GENERATIONS) if name == "vlit" else svit((name,)) for name in names}


async def build(asked: argparse.Namespace) -> None:
    settings = LLMSettings(base_url=asked.base_url, timeout=asked.timeout, patience=asked.timeout, concurrency=asked.concurrency)
    asked.out.mkdir(parents=True, exist_ok=True)
    llm = OpenAILLM(asked.model, settings, cache=asked.out / "replies.sqlite", temperature=asked.temperature)
    print("| source | task | wanted | kept | share | requests | reasons |\n|---|---|---|---|---|---|---|", flush=True)
    with (asked.out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for spec in asked.scenes:
            scenes = list(load_scenes(spec, limit=asked.skip + asked.limit))[asked.skip :]
            for task, recipe in open_recipes(asked.tasks).items():
                before = llm.usage.total.requests
                made = await asyncio.gather(*(recipe.run(scene, LLMs.one(llm)) for scene in scenes))
                samples = [sample for group in made for sample in group]
                for sample in samples:
                    file.write(json.dumps(to_line(task, sample), ensure_ascii=False) + "\n")
                file.flush()
                wanted = len(scenes) * WANTED.get(task, GENERATIONS)
                print(format_line(spec, task, wanted, samples, llm.usage.total.requests - before), flush=True)
    await llm.close()
    llm.cache.close()


def to_line(task: str, sample: Sample) -> dict[str, Any]:
    turns = [message.content for message in sample.messages]
    return {
        "task": task, "scene": sample.scene.id, "reason": sample.reason, "topic": sample.topic,
        "evidence": sample.evidence, "turns": turns,
    }  # fmt: skip


def format_line(spec: str, task: str, wanted: int, samples: list[Sample], requests: int) -> str:
    kept = sum(sample.reason is None for sample in samples)
    reasons = Counter((sample.reason or "").partition(":")[0] for sample in samples if sample.reason)
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    source = spec.partition(":")[0]
    return f"| {source} | {task} | {wanted} | {kept} | {kept / wanted:.0%} | {requests} | {told} |"


def measure_prompts(asked: argparse.Namespace) -> None:
    print("| prompt | source | images | mean | largest |\n|---|---|---|---|---|")
    for spec in asked.scenes:
        sizes: dict[str, list[int]] = defaultdict(list)
        scenes = list(load_scenes(spec, limit=asked.limit))
        for scene in scenes:
            for name, text in collect_prompts(scene, asked.tasks):
                sizes[name].append(count_tokens(text, asked.base_url))
        for name, counts in sizes.items():
            source = spec.partition(":")[0]
            print(f"| {name} | {source} | {len(scenes)} | {statistics.mean(counts):,.0f} | {max(counts):,} |", flush=True)


def collect_prompts(scene: Scene, tasks: str) -> Iterator[tuple[str, str]]:
    """The first prompts of a scene with the description of their reply, as they are sent."""
    found: list[tuple[str, str]] = []

    def note(prompt: Any, reply_type: Any) -> Any:
        schema = build_schema(reply_type, prompt.make_form)
        found.append((prompt.name, f"{prompt.text}\n\n{schema.describe()}"))
        raise ReplyError("only the prompt is wanted")

    for recipe in open_recipes(tasks).values():
        asyncio.run(recipe.run(scene, LLMs.one(ScriptedLLM(note))))
    yield from found


def count_tokens(text: str, base_url: str | None) -> int:
    if not base_url:
        return len(text)
    body = json.dumps({"content": text}).encode()
    request = urllib.request.Request(f"{base_url.removesuffix('/v1')}/tokenize", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return len(json.load(answer)["tokens"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", help="address of the server")
    parser.add_argument("--model", default="model", help="its name for the model")
    parser.add_argument("--scenes", action="append", required=True, help="SOURCE:PATH; may be given several times")
    parser.add_argument("--limit", type=int, default=3, help="images of each source")
    parser.add_argument("--skip", type=int, default=0, help="images to leave out before them")
    parser.add_argument("--tasks", default="", help="some of SVIT's tasks and vlit, with commas; all by default")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--timeout", type=float, default=7200.0, help="seconds for a reply, which a small machine may need")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--prompts", action="store_true", help="only measure the prompts")
    parser.add_argument("--out", type=Path, default=Path("build/yields"), help="folder of the samples and the reply cache")
    asked = parser.parse_args()
    started = time.monotonic()
    if asked.prompts:
        measure_prompts(asked)
    else:
        asyncio.run(build(asked))
        print(f"in {time.monotonic() - started:,.0f} s; all samples are in {asked.out / 'samples.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    main()
