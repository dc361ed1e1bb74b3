"""Count what ComVint asks through the local endpoint for each sample it keeps, by stage; prints one line a setting.

    python tests/benchmarks/bench_comvint.py --scenes shapes:60 --rounds 2

The endpoint answers from the annotations, so a rewrite that they cannot give costs its request and falls back, as with a
model whose rewrite does not pass. A kept sample has its share of everything that was asked, rejected samples included.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from endpoint.answers import RecordedReplies
from endpoint.asking import opened
from endpoint.server import Endpoint, serve

from comvint_hf import AnnotationLLM, LLMs, Recipe, load_scenes
from comvint_hf.generation.recipes.comvint import comvint

STAGES = ("synthesize", "complicate", "verify", "boolean", "choice")


async def measure(recipe: Recipe, scenes: str) -> tuple[dict[str, float], int, int]:
    """Requests a kept sample by stage, kept samples, and images."""
    recorded, chosen = RecordedReplies(), list(load_scenes(scenes))
    listening = LLMs.one(recorded.record(AnnotationLLM(), deterministic=False))
    for scene in chosen:
        await recipe.run(scene, listening)
    with tempfile.TemporaryDirectory() as folder, serve(Endpoint(answer=recorded.answer, keep_requests=False)) as url:
        async with opened(url, Path(folder) / "replies.sqlite") as llm:
            made = await asyncio.gather(*(recipe.run(scene, LLMs.one(llm)) for scene in chosen))
            counts = llm.usage.summary()["prompts"]
    kept = sum(sample.reason is None for group in made for sample in group)
    return {stage: counts.get(f"comvint/{stage}", {"requests": 0})["requests"] / kept for stage in STAGES}, kept, len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", default="shapes:60")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    for votes in (1, 3):
        stages, kept, images = asyncio.run(measure(comvint(rounds=asked.rounds, votes=votes), asked.scenes))
        told = ", ".join(f"{stage} {count:.2f}" for stage, count in stages.items())
        print(
            f"{asked.scenes}, {asked.rounds} rounds, {votes} votes: {sum(stages.values()):.2f} requests a kept sample ({told}); "
            f"{kept} kept of {images} images"
        )


if __name__ == "__main__":
    main()
