"""Evaluate a model on a dataset's held-out rows, or score it on a benchmark in the benchmark's own format."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from comvint_hf import L2TCollator, attach_images, load_chat
from comvint_hf.cli import handle_errors, remote_chat_options, usage_errors
from comvint_hf.cli.serve import serve_option
from comvint_hf.dataset.locate import check_exists
from comvint_hf.errors import InputError, first_line, make_output_folder
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, load_benchmark
from comvint_hf.evaluation.benchmarks.files import write_records
from comvint_hf.evaluation.evaluate import answer_questions, evaluate, list_questions
from comvint_hf.evaluation.results import build_results, render_benchmark_tables, render_table, show_progress
from comvint_hf.evaluation.scoring import answer_records, compute_metrics
from comvint_hf.evaluation.visual_contribution import aggregate_contributions, contribution_records, measure_contributions
from comvint_hf.registry import benchmarks
from comvint_hf.serving.loading import check_model, read_conventions
from comvint_hf.serving.remote import RemoteChat

FILE = click.Path(path_type=Path, exists=True)
BOXES = click.Choice(["text", "xywh", "xyxy"])
DTYPES = click.Choice(["float32", "bfloat16", "float16"])
DATASET_FLAGS = ("dataset", "config", "split", "limit", "text_only")
BENCHMARK_FLAGS = ("answers", "questions", "gold", "synonyms", "category", "boxes", "suffix")
OPTIONAL_FLAGS = ("synonyms", "category", "boxes")
MODEL_FLAGS = ("base", "base_url", "images", "suffix", "batch_size", "max_new_tokens", "device", "dtype")
LOCAL_FLAGS, REMOTE_FLAGS = ("base", "device", "dtype", "vc"), ("conventions", "temperature", "timeout", "extra_body", "headers")


@click.command(context_settings={"max_content_width": 110})
@click.option("--model", metavar="DIR|ORG/NAME", help="An adapter, a merged or a full model.")
@click.option("--base", metavar="DIR|ORG/NAME", help="The adapter's base model, if it has moved.")
@click.option("--base-url", "--endpoint", metavar="URL", help="Ask an OpenAI-compatible endpoint for --model instead.")
@click.option("--conventions", metavar="DIR|ORG/NAME", help="With --base-url: the model whose comvint.json applies.")
@click.option("--dataset", metavar="DIR|ORG/NAME", help="The dataset whose questions to ask.")
@click.option("--config", default="default", show_default=True, help="The dataset's config.")
@click.option("--split", default="test", show_default=True, help="The dataset's split.")
@click.option("--limit", type=click.IntRange(1), help="Ask only this many rows, drawn with --seed.")
@click.option("--seed", default=0, show_default=True, help="The seed of --limit and of the noise of --vc.")
@click.option("--vc", is_flag=True, help="Also measure how much more likely the image makes the true answers than noise does.")
@click.option("--text-only", is_flag=True, help="Ask rows that lack their image without it.")
@click.option("--benchmark", metavar="NAME|MODULE:NAME", help=f"Score {', '.join(benchmarks.names())}, or a benchmark of yours.")
@click.option("--answers", type=click.Path(path_type=Path), help="The benchmark's answer file: read, or with --model written.")
@click.option("--questions", type=FILE, help="The benchmark's question file.")
@click.option("--gold", type=FILE, help="The benchmark's true answers, if the question file lacks them.")
@click.option("--images", type=FILE, help="The folder of images, of the benchmark or of rows that lack theirs.")
@click.option("--synonyms", type=FILE, help="CHAIR: synonyms.txt.")
@click.option("--category", help="POPE: the set to score, if the answer file mixes several.")
@click.option("--boxes", default="text", show_default=True, type=BOXES, help="RefCOCO: how the answers hold boxes.")
@click.option("--suffix", default="", help="A sentence to add to every benchmark question.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file for the results.  [default: results.json]")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1), help="Questions a batch.")
@click.option("--max-new-tokens", default=256, show_default=True, type=click.IntRange(1), help="The longest answer.")
@remote_chat_options
@click.option("--device", help="cuda, cpu, ...  [default: cuda if there is one]")
@click.option("--dtype", type=DTYPES, help="The model's dtype.  [default: bfloat16 on cuda]")
@handle_errors
@serve_option
def main(**options: Any) -> None:
    """Ask a model, score its answers, and print one table.

    \b
    A dataset's held-out rows; writes results.json and, next to it, every answer with its scores:
      python train/evaluate.py --model DIR --dataset DIR --out results.json
    The same with the visual contribution (the measure of the L2T paper), row by row in results_vc.jsonl:
      python train/evaluate.py --model DIR --dataset DIR --out results.json --vc
    An answer file in a benchmark's official format:
      python train/evaluate.py --benchmark mme --answers FOLDER
      python train/evaluate.py --benchmark pope --answers FILE --questions coco_pope_random.json
      python train/evaluate.py --benchmark chair --answers FILE --gold objects.json --synonyms synonyms.txt
    A model behind an endpoint:
      python train/evaluate.py --model NAME --base-url http://localhost:8000/v1 --dataset DIR --out results.json
      python train/evaluate.py --model NAME --serve "vllm serve {model} --port {port}" --dataset DIR --out results.json
    The same, with a model that answers first:
      python train/evaluate.py --benchmark pope --model DIR --questions FILE --images DIR --answers FILE
    A benchmark of your own, declared in my_benchmark.py in the working directory:
      python train/evaluate.py --benchmark my_benchmark:my_task --answers FILE --questions FILE
    """
    with usage_errors():
        benchmark = load_benchmark(options["benchmark"]) if options["benchmark"] else None
        validate_options(options, benchmark)
    if benchmark:
        score_benchmark(benchmark, options)
    else:
        score_dataset(options)


def validate_options(options: dict[str, Any], benchmark: Benchmark | None) -> None:
    """Raise `InputError` for missing flags, and for flags that would have no effect."""
    if options["vc"] and benchmark:
        raise InputError("--vc needs true answers of whole rows: use it with --dataset, not with --benchmark.")
    used = benchmark.flags if benchmark else ()
    unused = {
        "--benchmark has its own questions": DATASET_FLAGS if benchmark else (),
        "there is no --benchmark": () if benchmark else BENCHMARK_FLAGS,
        "no model is asked: name one with --model": () if options["model"] else MODEL_FLAGS,
        "the model is behind --base-url": LOCAL_FLAGS if options["base_url"] else (),
        "there is no --base-url": () if options["base_url"] else REMOTE_FLAGS,
        f"the benchmark {options['benchmark']} does not use it": OPTIONAL_FLAGS if benchmark else (),
    }
    source = click.get_current_context().get_parameter_source
    for reason, flags in unused.items():
        given = [flag for flag in flags if flag not in used and source(flag) is not ParameterSource.DEFAULT]
        if given:
            names = ", ".join("--" + flag.replace("headers", "header").replace("_", "-") for flag in given)
            raise InputError(f"{names} cannot be used, as {reason}.")
    if not benchmark and not (options["model"] and options["dataset"]):
        raise InputError("Nothing to do: give --model and --dataset, or --benchmark and --answers. See --help.")
    if benchmark and options["answers"] is None:
        raise InputError("--answers is missing: expected the answer file to score, or with --model the file to write.")


def score_dataset(options: dict[str, Any]) -> None:
    out = options["out"] or Path("results.json")
    make_output_folder(out.parent)
    with usage_errors():
        if not options["base_url"]:
            check_model(options["model"], options["base"])
        rows = load_rows(options)
        chat = open_chat(options)
    with show_progress("asking", len(list_questions(rows))) as progress:
        scored = evaluate(chat, rows, batch_size=options["batch_size"], text_only=options["text_only"], on_progress=progress)
    metrics = compute_metrics(scored)
    if options["vc"]:
        metrics["visual_contribution"] = measure_visual_contribution(chat, rows, out.with_name(f"{out.stem}_vc.jsonl"), options)
    write_json(out, build_results(metrics, options["model"], Path(__file__).parent))
    write_records(out.with_name(f"{out.stem}_answers.jsonl"), answer_records(scored))
    Console().print(render_table(metrics))
    click.echo(f"{out} holds the metrics, {out.stem}_answers.jsonl every answer.")


def measure_visual_contribution(chat: Any, rows: Any, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    collator = L2TCollator(chat.processor, learn="response", boxes=chat.conventions.box_dialect)
    # The logits of all tokens of a batch are in memory at once, so fewer rows fit than questions.
    size = min(options["batch_size"], 8)
    with show_progress("visual contribution", len(rows)) as progress:
        results = measure_contributions(chat, collator, rows, seed=options["seed"], batch_size=size, on_progress=progress)
    write_records(out, contribution_records(results))
    if results.left_out:
        click.echo(f"{len(results.left_out):,} rows have no visual contribution; the first reason: {results.left_out[0]}")
    return aggregate_contributions(results)


def score_benchmark(benchmark: Benchmark, options: dict[str, Any]) -> None:
    names = ("answers", "questions", "gold", "images", "synonyms", "category", "boxes")
    files = BenchmarkFiles(**{name: options[name] for name in names})
    if options["out"]:
        make_output_folder(options["out"].parent)
    if options["model"]:
        with usage_errors():
            if not options["base_url"]:
                check_model(options["model"], options["base"])
            questions = benchmark.read_questions(files)
            images = files.require("images", "the folder of the benchmark's images")
            chat = open_chat(options)
        settings = {"suffix": options["suffix"], "batch_size": options["batch_size"]}
        with show_progress("asking", len(questions)) as progress:
            replies = answer_questions(chat, questions, images, on_progress=progress, **settings)
        benchmark.write_answers(questions, replies, files.answers)
    with usage_errors():
        scores = benchmark.score(files)
    Console().print(*render_benchmark_tables(options["benchmark"], scores))
    if options["out"]:
        results = build_results(scores, options["model"], Path(__file__).parent)
        write_json(options["out"], {"benchmark": options["benchmark"], **results})


def open_chat(options: dict[str, Any]) -> Any:
    if options["base_url"]:
        found = read_conventions(options["conventions"], required=True) if options["conventions"] else None
        names = ("max_new_tokens", "temperature", "extra_body", "headers")
        settings = {name: options[name] for name in names} | ({"timeout": options["timeout"]} if options["timeout"] else {})
        return RemoteChat(options["base_url"], options["model"], conventions=found, **settings)
    names = ("base", "device", "dtype", "max_new_tokens")
    return load_chat(options["model"], **{name: options[name] for name in names})


def load_rows(options: dict[str, Any]) -> Any:
    from datasets import load_dataset

    name, split, images = options["dataset"], options["split"], options["images"]
    check_exists(name, "dataset")
    try:
        rows = load_dataset(name, options["config"], split=split)
    except (ValueError, OSError) as error:
        raise InputError(
            f"The split {split!r} of {name} cannot be loaded ({first_line(error)}); check --dataset, --config and --split."
        ) from error
    if "messages" not in rows.column_names:
        raise InputError(
            f"{name} has no column `messages`, only {', '.join(rows.column_names)}; expected rows as the builders write them."
        )
    if options["limit"] and options["limit"] < len(rows):
        rows = rows.shuffle(seed=options["seed"]).select(range(options["limit"]))
    if images and "images" in rows.column_names:
        click.echo("--images has no effect, because the rows have their images.", err=True)
        return rows
    return attach_images(rows, images) if images else rows


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
