"""Collation time of L2TCollator against TRL's own vision collator, side by side in one run.

    python tests/benchmarks/bench_collator.py [--rounds 15] [--trees]

Batches of 8 photos of 640x480, resized to 336 (576 image tokens), conversations of 1, 5 and 15 turns with a box in each answer, which
`boxes="family"` turns into the family's dialect and frame. The collators take turns; medians of CPU time are printed with their ratios.
`--trees` adds one tree of 45 questions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from comvint_hf import L2TCollator
from comvint_hf.training.tiny_model import CHAT_TEMPLATE, train_tokenizer

TASK = "Answer the question using a single word or phrase."
QUESTION = "What is the man in the blue shirt holding in his left hand, next to the parked car?"
ANSWER = "He is holding <st>a small umbrella<ed>[0.412, 0.350, 0.633, 0.648], not opened although the street is still wet from the rain."
WANTED = {1: 1.1, 5: 1.2, 15: 1.5}


def processor() -> LlavaProcessor:
    """CLIP's processing at 336 px and a small byte-level tokenizer, with generation blocks for TRL's answers-only loss."""
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        tokenizer=train_tokenizer([QUESTION, ANSWER, TASK] * 3),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def rows(turns: int, number: int = 8) -> list[dict[str, Any]]:
    """Rows of new photos: noise upon a gradient, which costs as much to resize as any other picture."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 160, 640, dtype=np.uint8)[None, :, None]
    photos = [Image.fromarray(ramp + random.integers(0, 90, (480, 640, 3), dtype=np.uint8)) for _ in range(number)]
    pair = [{"role": "user", "content": f"{QUESTION}\n{TASK}"}, {"role": "assistant", "content": ANSWER}]
    return [{"images": [photo], "messages": pair * turns} for photo in photos]


def medians(collators: dict[str, Callable[[Any], Any]], batch: list[dict[str, Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of CPU a batch, each collator in turn, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in collators}
    for turn in range(rounds + 1):
        for name, collate in collators.items():
            fresh = [dict(row) for row in batch]
            start = time.process_time()
            collate(fresh)
            if turn:
                times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--trees", action="store_true")
    arguments = parser.parse_args()
    model_input = processor()
    collators = {
        "TRL default": DataCollatorForVisionLanguageModeling(model_input),
        "L2TCollator": L2TCollator(model_input, templates=[TASK]),
        "boxes='family'": L2TCollator(model_input, templates=[TASK], boxes="family"),
        "TRL answers only": DataCollatorForVisionLanguageModeling(model_input, assistant_only_loss=True),
    }
    print(f"{'turns':>5}  " + "  ".join(f"{name:>18}" for name in collators) + f"  {'ratios':>12}  {'wanted':>6}")
    for turns, wanted in WANTED.items():
        found = medians(collators, rows(turns), arguments.rounds)
        ratios = " / ".join(f"{found[name] / found['TRL default']:.2f}" for name in ("L2TCollator", "boxes='family'"))
        print(
            f"{turns:>5}  " + "  ".join(f"{found[name]:>15.1f} ms" for name in collators) + f"  {ratios:>12}  {wanted:>6.1f}",
            flush=True,
        )
    if arguments.trees:
        tree = L2TCollator(model_input, templates=[TASK], pack="tree")
        found = medians({"tree": tree}, [{"rows": rows(1, number=1) * 45}], arguments.rounds)
        print(f"one tree of 45 questions: {found['tree']:.1f} ms")


if __name__ == "__main__":
    main()
