"""The dry run beside a scripted full writer at a local endpoint: each recipe on each source, as a Markdown table.

`python tests/benchmarks/bench_estimate.py --shared ../shared/data --limit 20 --tokenizer tokenizer.json` counts the endpoint's
tokens by a real tokenizer (of the family of gpt-4o); without one, they are counted as its tokenizer begins to cut.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from endpoint.comparing import compare
from endpoint.full_writer import piece_tokens

from comvint_hf.formatting import format_cost
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.generation.recipes.svit import svit
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.sources import load_scenes

RECIPES = {"svit": svit(), "comvint, 2 rounds": comvint(rounds=2), "vlit": vlit()}
SOURCES = {
    "shapes": "shapes:1000",
    "COCO": "coco:{0}/coco",
    "Flickr30k": "flickr30k:{0}/flickr30k_entities",
    "Visual Genome": "visual_genome:{0}/visual_genome,coco:{0}/coco",
}


def load_counter(file: Path | None) -> Callable[[str], int]:
    if file is None:
        return piece_tokens
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="the folder of annotation files")
    parser.add_argument("--limit", type=int, default=5, help="scenes of each source")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json that counts the endpoint's tokens")
    asked = parser.parse_args()
    count = load_counter(asked.tokenizer)
    print("| source | recipe | scenes | requests: dry run / paid | tokens: dry run / paid | dollars: dry run / paid | ratio |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    for source, spec in SOURCES.items():
        if source != "shapes" and not asked.shared.is_dir():
            continue
        scenes = list(islice(load_scenes(spec.format(asked.shared)), asked.limit))
        for name, recipe in RECIPES.items():
            with tempfile.TemporaryDirectory() as folder:
                found = compare(recipe, scenes, Path(folder) / "replies.sqlite", count)
            tokens = [counts.prompt_tokens + counts.completion_tokens for counts in (found.estimated, found.paid)]
            print(
                f"| {source} | {name} | {len(scenes)} | {found.estimated.requests:,} / {found.paid.requests:,} | "
                f"{tokens[0]:,} / {tokens[1]:,} | {format_cost(found.estimated.cost)} / {format_cost(found.paid.cost)} | "
                f"{found.ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
