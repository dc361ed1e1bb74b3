"""The whole way with real weights: a served language model writes and judges, and a small LLaVA is tuned, merged and asked.

It shows what becomes of real replies. The figures are those of a very small model on your machine, and no measure of the recipes.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from real.weights import find_weights, make_serve_command
from real.yields import format_table

from comvint_hf.cli import handle_errors
from comvint_hf.errors import InputError

ROOT = Path(__file__).parents[2]
RECIPES: dict[str, tuple[str, ...]] = {"svit": (), "comvint": ("--count", "1"), "vlit": ("--generations", "2")}
QUESTION = "What is in the picture?"


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--gguf", type=click.Path(path_type=Path, dir_okay=False), help="The weights, as GGUF; fetched by the tools if left out."
)
@click.option("--name", default="qwen2.5-coder-0.5b", show_default=True, help="The weights that the tools fetch.")
@click.option(
    "--tools", default="../shared/tools/real_weights", show_default=True, type=click.Path(path_type=Path, file_okay=False)
)
@click.option("--serve", help="A server of your own, as for --serve of the builders.")
@click.option(
    "--scenes", default="coco:../shared/data/coco", show_default=True, help="The scenes, as for --scenes of the builders."
)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1), help="Scenes of each recipe.")
@click.option("--minutes", default=4.0, show_default=True, help="Stop a recipe after so long, with the scenes that are finished.")
@click.option("--steps", default=4, show_default=True, help="Steps of training; 0 for none.")
@click.option("--out", default="build/real", show_default=True, type=click.Path(path_type=Path, file_okay=False))
@handle_errors
def main(
    gguf: Path | None, name: str, tools: Path, serve: str | None, scenes: str, limit: int, minutes: float, steps: int, out: Path
) -> None:
    """Build every recipe with a real model as writer and judge, print the yield by reason, then tune, merge and ask a LLaVA."""
    weights = find_weights(gguf, name, tools, out)
    command = serve or make_serve_command(weights, tools)
    folders = {recipe: out / recipe for recipe in RECIPES}
    for recipe, flags in RECIPES.items():
        words = ["--scenes", scenes, "--limit", limit, "--llm", weights.stem, "--serve", command, "--concurrency", 2]
        words += ["--shard-scenes", 1, "--store-images", "none", "--out", folders[recipe], *flags]
        build(recipe, words, minutes)
    print(f"\n{weights.name} as writer and judge, {scenes}:\n\n{format_table(folders)}\n")
    if steps:
        answer = tune(find_text_weights(weights, tools, out), tools, out, steps)
        print(f"{QUESTION} {json.dumps(answer)} (after {steps} steps: no measure of anything)")


def build(recipe: str, words: list[Any], minutes: float) -> None:
    """Run a builder; after some minutes it is stopped, and run again over what is finished."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "builders" / f"{recipe}.py"), *map(str, words)]
    print(f"$ {shlex.join(command[3:])}", flush=True)
    started = time.monotonic()
    with subprocess.Popen(command) as child:
        try:
            code = child.wait(60 * minutes)
        except subprocess.TimeoutExpired:
            for _ in range(2):  # the first signal stops the build, the second its wait for replies under way
                child.terminate()
                time.sleep(1)
            code = child.wait()
    print(f"{recipe}: {time.monotonic() - started:.0f} s", flush=True)
    if code not in (0, 3, 130):
        raise InputError(f"builders/{recipe}.py ended with the code {code}; its sentence is above.")


def find_text_weights(weights: Path, tools: Path, out: Path) -> Path:
    """The smallest model, which training needs seconds for: the writer's own weights may be many times larger."""
    smallest = out / "smollm2-135m.gguf"
    return (
        weights
        if "135m" in weights.name.lower()
        else find_weights(smallest if smallest.is_file() else None, "smollm2-135m", tools, out)
    )


def tune(weights: Path, tools: Path, out: Path, steps: int) -> str:
    """Make a LLaVA of the weights, tune it with message trees, merge the adapter, and ask the merged model."""
    from real.llava import make_llava

    from comvint_hf import load_chat
    from comvint_hf.sources import load_scenes

    text, base, data, adapter, merged = (out / name for name in ("text", "llava", "shapes", "adapter", "merged"))
    if not (text / "config.json").is_file():
        run(tools / "gguf_to_hf", weights, text)
    make_llava(text, base)
    run(ROOT / "builders" / "svit.py", "--scenes", "shapes:12", "--tasks", "conversation,referring_qa", "--out", data)
    flags = [
        "--pack",
        "tree",
        "--per_device_train_batch_size",
        1,
        "--max_steps",
        steps,
        "--learning_rate",
        1e-4,
        "--logging_steps",
        1,
    ]
    flags += ["--use_peft", "--use_cpu", "--bf16", "false", "--save_strategy", "no", "--report_to", "none"]
    run(ROOT / "train" / "sft.py", "--model_name_or_path", base, "--dataset_name", data, "--output_dir", adapter, *flags)
    run(ROOT / "train" / "merge.py", "--adapter", adapter, "--out", merged)
    chat = load_chat(str(merged), max_new_tokens=24)
    return chat.answer([{"role": "user", "content": QUESTION}], next(iter(load_scenes("shapes:1"))).open())


def run(script: Path, *words: Any) -> None:
    """Run a script of this repository. Raises `InputError` where it fails."""
    command = [sys.executable, "-W", "ignore", str(script), *map(str, words)]
    print(f"$ {shlex.join(command[3:])}", flush=True)
    if code := subprocess.run(command, env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}, check=False).returncode:
        raise InputError(f"{script.name} ended with the code {code}; its sentence is above.")


if __name__ == "__main__":
    main()
