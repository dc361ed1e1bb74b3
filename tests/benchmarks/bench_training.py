"""Training with message trees against one row at a time, and SFTTrainer with L2TCollator against without, side by side in one run.

    python tests/benchmarks/bench_training.py [--rounds 1] [--questions 15 45] [--at-once 1] [--steps 20]

The model is a random LLaVA (text: 256 wide, 4 layers, 4 heads, LLaVA's vocabulary; vision: 128 wide, 4 layers; 576 image tokens) on one photo
of 640x480. Trees: 15 and 45 questions and answers of about 50 tokens; rows are collated, go forward and backward, one at a time and as one
tree in turn, with each way to attend, and their gradients are compared. Trainer: both collators take turns in runs of a few steps of 2 rows. One thread, and time is
that of the CPU, so that other work of the machine does not count.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from bench_collator import processor, rows
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from comvint_hf import L2TCollator
from comvint_hf.training.packing.attention import use_sparse_attention
from comvint_hf.training.packing.masks import read_attention

WANTED = {15: 5.5, 45: 7.0}
THINGS = (
    "man",
    "woman",
    "dog",
    "horse",
    "car",
    "bicycle",
    "tree",
    "bench",
    "umbrella",
    "bottle",
    "cup",
    "table",
    "chair",
    "book",
)
PLACES = ("the left", "the right", "the middle", "the front", "the back")


def llava(model_input: Any) -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    text = LlamaConfig(vocab_size=32_064, hidden_size=256, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=4)
    vision = CLIPVisionConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, image_size=336, patch_size=14
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=model_input.image_token_id)
    )


def questions(number: int) -> list[dict[str, Any]]:
    """Rows of one photo, each with another question."""
    photo = rows(1, number=1)[0]["images"]
    made = []
    for place in range(number):
        thing, where = THINGS[place % len(THINGS)], PLACES[place % len(PLACES)]
        asked = f"What is the {thing} in {where} of the picture doing?"
        told = f"It is next to the {THINGS[(place * 7 + 3) % len(THINGS)]}."
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
        made.append({"image_id": "0", "images": photo, "messages": messages})
    return made


def learn(model: Any, batches: Callable[[], Any], labels: int) -> None:
    """Forward and backward, with the loss of a mean label over all batches."""
    model.zero_grad()
    for batch in batches():
        model(**batch, num_items_in_batch=labels, use_cache=False).loss.backward()


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def seconds(work: Callable[[], None]) -> float:
    """Of CPU, of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def trees(number: int, rounds: int, at_once: int) -> None:
    model_input, made = processor(), questions(number)
    model, sparse = llava(model_input).eval(), llava(model_input).eval()  # without dropout, so that gradients can be compared
    use_sparse_attention(sparse)
    single, tree = L2TCollator(model_input), L2TCollator(model_input, pack="tree", attention=read_attention(model))
    lengths, batch = single(made)["attention_mask"].sum(1).float(), tree(made)
    labels = int((batch["labels"][:, 1:] != -100).sum())
    rows_of = [made[at : at + at_once] for at in range(0, number, at_once)]
    ways = {
        f"rows, {at_once} at a time": (model, lambda: map(single, rows_of)),
        "tree, SDPA over the whole mask": (model, lambda: [tree(made)]),
        "tree, sparse SDPA": (sparse, lambda: [tree(made)]),
    }
    for one in (model, sparse):
        learn(one, lambda: [single(made[:1])], labels)  # to warm up
    times, found = [], {}
    for _ in range(rounds):
        times.append({})
        for name, (one, batches) in ways.items():
            times[-1][name] = seconds(lambda one=one, batches=batches: learn(one, batches, labels))
            found[name] = gradients(one)
    print(f"{number} questions, rows of {lengths.mean():.0f} tokens, tree of {batch['input_ids'].shape[1]}")
    took = {name: statistics.median(one[name] for one in times) for name in ways}
    rows_take, wanted = next(iter(took.values())), next(iter(found.values()))
    for name, took_it in took.items():
        apart = ((found[name] - wanted).norm() / wanted.norm()).item()
        print(
            f"  {name}: {number / took_it:.1f} samples/s, {rows_take / took_it:.2f} times; gradients differ by {apart:.1e}",
            flush=True,
        )
    print(f"  wanted: {WANTED.get(number)} times, 1e-5")


def trainer(steps: int, rounds: int) -> None:
    """Runs of SFTTrainer over the same rows, with our collator and with TRL's."""
    from datasets import Dataset, Features, Image, List, Value
    from trl import SFTConfig, SFTTrainer

    model_input = processor()
    turn = {"role": Value("string"), "content": Value("string")}
    data = Dataset.from_list(rows(1, number=8), features=Features({"images": List(Image()), "messages": List(turn)}))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"per_device_train_batch_size": 2, "report_to": "none", "save_strategy": "no", "use_cpu": True, "bf16": False}
        settings |= {"max_steps": steps, "max_length": None, "disable_tqdm": True, "gradient_checkpointing": False}

        def run(collator: Any) -> float:
            made = SFTTrainer(llava(model_input), SFTConfig(folder, **settings), collator, data, processing_class=model_input)
            return seconds(made.train)

        collator = L2TCollator(model_input)
        times = [(run(None), run(collator)) for _ in range(rounds + 1)][1:]
    without, ours = (steps / statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"SFTTrainer, steps/s of CPU: {without:.2f} with TRL's collator, {ours:.2f} with ours: {ours / without:.2f} times (wanted 0.97)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--questions", type=int, nargs="*", default=[15, 45])
    parser.add_argument("--at-once", type=int, default=1, help="rows a batch, against which a tree is measured")
    parser.add_argument("--steps", type=int, default=20, help="of each run of the trainer; 0 for none")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for number in arguments.questions:
        trees(number, arguments.rounds, arguments.at_once)
    if arguments.steps:
        trainer(arguments.steps, arguments.rounds)


if __name__ == "__main__":
    main()
