"""What engine tests and benchmarks ask: small forms and prompts without a scene, and a client for a process of its own.

`python tests/endpoint/asking.py URL CACHE COUNT` asks COUNT questions, prints one line of JSON and exits with 1 if any failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from comvint_hf.errors import ReplyError
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.llm import LLM, Reply
from comvint_hf.generation.prompt import Prompt, add_prompts

add_prompts({"toy/question": "{{ text }}"})


class QA(Reply):
    """A question and its answer."""

    question: str
    answer: str


class Pairs(Reply):
    topic: str = ""
    pairs: list[QA]


def toy_prompt(number: int, words: int = 20, **blanks: Any) -> Prompt:
    """A prompt with a text of its own, about no scene."""
    text = f"Write question number {number} and its answer." + " More about it." * (words // 3)
    return Prompt("toy/question", text=text, **blanks)


@asynccontextmanager
async def opened(url: str, cache: Cache | Path | str, model: str = "toy-model", **options: Any) -> AsyncIterator[OpenAILLM]:
    """An LLM on the local endpoint, closed again with its cache unless that was given open; waits are short."""
    llm = OpenAILLM(model, base_url=url, cache=cache, **{"poll": 0.01, **options})
    llm.requester.health.first_wait = 0.02
    try:
        yield llm
    finally:
        await llm.close()
        if not isinstance(cache, Cache):
            llm.cache.close()


async def ask_all(llm: LLM, prompts: Iterable[Prompt], form: type[Reply] = QA, at_once: int = 128) -> list[Any]:
    """Ask all prompts, `at_once` under way; the replies in order, with `ReplyError`s in the place of failed ones."""
    numbered = enumerate(prompts)
    replies: dict[int, Any] = {}

    async def worker() -> None:
        for number, prompt in numbered:
            try:
                replies[number] = await llm.ask(prompt, form)
            except ReplyError as error:
                replies[number] = error

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return [replies[number] for number in sorted(replies)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("cache")
    parser.add_argument("count", type=int)
    parser.add_argument("--model", default="toy-model")
    parser.add_argument("--budget", type=float)
    parser.add_argument("--prices", type=Path)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()

    async def run() -> list[Any]:
        options = {"concurrency": asked.concurrency, "prices": asked.prices, "budget": asked.budget}
        async with opened(asked.url, asked.cache, asked.model, **options) as llm:
            replies = await ask_all(llm, (toy_prompt(number) for number in range(asked.first, asked.first + asked.count)))
            print(json.dumps(llm.usage.summary()), flush=True)
            return replies

    failures = [reply for reply in asyncio.run(run()) if isinstance(reply, ReplyError)]
    print(*failures, sep="\n", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
