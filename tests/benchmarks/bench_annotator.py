"""How many rows a second the embedded annotator writes on one core, rendering and writing left out, by recipe and source.

    python tests/benchmarks/bench_annotator.py [--shared DIR]

The bare loop beside it makes the same number of `Sample`s of ready text, so the ratio says what the annotating itself costs.
"""

import argparse
import asyncio
import time
from pathlib import Path

from comvint_hf import LLMs, Sample, load_scenes
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.generation.recipes.svit import svit


def seconds_of(work) -> tuple[float, int]:
    start = time.process_time()
    rows = work()
    return time.process_time() - start, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="Folder of real annotation files.")
    specs = {"shapes": "shapes:1000"}
    shared = parser.parse_args().shared
    if shared.is_dir():
        specs |= {"coco": f"coco:{shared}/coco", "flickr30k": f"flickr30k:{shared}/flickr30k_entities"}
    print(f"{'recipe':<18}{'source':<12}{'rows':>8}{'rows/s of CPU':>16}{'bare Samples/s':>16}")
    for recipe in (svit(), comvint(0), comvint(1), comvint(2)):
        for source, spec in specs.items():
            scenes = list(load_scenes(spec))
            llms = LLMs.one(AnnotationLLM())

            async def run(recipe=recipe, scenes=scenes, llms=llms) -> int:
                made = [await recipe.run(scene, llms) for scene in scenes]
                return sum(sample.reason is None for samples in made for sample in samples)

            taken, rows = seconds_of(lambda run=run: asyncio.run(run()))
            bare, _ = seconds_of(
                lambda scene=scenes[0], rows=rows: sum(
                    bool(Sample(scene=scene).write([("What is it?", "It is a circle.")])) for _ in range(rows)
                )
            )
            name = f"{recipe.name} {recipe.settings.get('rounds', '')}"
            print(f"{name:<18}{source:<12}{rows:>8,}{rows / taken:>16,.0f}{rows / bare:>16,.0f}", flush=True)


if __name__ == "__main__":
    main()
