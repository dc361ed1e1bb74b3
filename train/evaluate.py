"""Evaluate a model on a dataset's held-out rows, or score it on a benchmark in the benchmark's own format."""

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from comvint_hf import L2TCollator, attach_images, load_chat
from comvint_hf.cli import calm, wrong_use
from comvint_hf.dataset.locate import require_place
from comvint_hf.errors import InputError, first_line, writable
from comvint_hf.evaluation.benchmarks import BENCHMARKS, Files
from comvint_hf.evaluation.benchmarks.files import write_records
from comvint_hf.evaluation.evaluate import answer_questions, evaluate, questions_of
from comvint_hf.evaluation.results import benchmark_tables, progress, results, table
from comvint_hf.evaluation.scoring import records, summarise
from comvint_hf.evaluation.visual_contribution import contributions
from comvint_hf.evaluation.visual_contribution import records as contribution_records
from comvint_hf.evaluation.visual_contribution import summarise as summarise_contributions
from comvint_hf.serving.loading import find_model

FILE = click.Path(path_type=Path, exists=True)
ROWS = ("dataset", "config", "split", "limit", "text_only")
FORMATS = ("answers", "questions", "gold", "synonyms", "category", "boxes", "suffix")
ASKING = ("base", "images", "suffix", "batch_size", "max_new_tokens", "device", "dtype")


@click.command(context_settings={"max_content_width": 110})
@click.option("--model", metavar="DIR|ORG/NAME", help="An adapter, a merged or a full model.")
@click.option("--base", metavar="DIR|ORG/NAME", help="The adapter's base, if it has moved.")
@click.option("--dataset", metavar="DIR|ORG/NAME", help="Rows to ask.")
@click.option("--config", default="default", show_default=True, help="The dataset's configuration.")
@click.option("--split", default="test", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Ask only so many rows, drawn with --seed.")
@click.option("--seed", default=0, show_default=True)
@click.option("--vc", is_flag=True, help="Measure too how much likelier the picture makes the true answers than noise does.")
@click.option("--text-only", is_flag=True, help="Ask rows without their picture, on purpose.")
@click.option("--benchmark", type=click.Choice(list(BENCHMARKS)), help="Score a benchmark instead.")
@click.option("--answers", type=click.Path(path_type=Path), help="The benchmark's answer file: read, or written with --model.")
@click.option("--questions", type=FILE, help="The benchmark's question file.")
@click.option("--gold", type=FILE, help="The benchmark's true answers, where the questions do not hold them.")
@click.option("--images", type=FILE, help="The folder of photos, of the benchmark or of rows that hold none.")
@click.option("--synonyms", type=FILE, help="CHAIR's synonyms.txt.")
@click.option("--category", help="POPE: which set of a mixed answer file.")
@click.option(
    "--boxes", default="text", show_default=True, type=click.Choice(["text", "xywh", "xyxy"]), help="RefCOCO: what answers hold."
)
@click.option("--suffix", default="", help="A sentence to add to every benchmark question.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the figures go.  [default: results.json]")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option("--max-new-tokens", default=256, show_default=True, type=click.IntRange(1))
@click.option("--device", help="cuda, cpu, ...; cuda where there is one.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="What it is computed in; bfloat16 on cuda.")
@calm
def main(**given: Any) -> None:
    """Ask, judge, and print one table.

    \b
    A dataset's held-out rows; writes results.json and, beside it, every answer with its verdicts:
      python train/evaluate.py --model DIR --dataset DIR --out results.json
    The same with visual contribution (L2T's measure), row by row in results_vc.jsonl:
      python train/evaluate.py --model DIR --dataset DIR --out results.json --vc
    An answer file in a benchmark's official format:
      python train/evaluate.py --benchmark mme --answers FOLDER
      python train/evaluate.py --benchmark pope --answers FILE --questions coco_pope_random.json
      python train/evaluate.py --benchmark chair --answers FILE --gold objects.json --synonyms synonyms.txt
    The same, with a model that answers first:
      python train/evaluate.py --benchmark pope --model DIR --questions FILE --images DIR --answers FILE
    """
    with wrong_use():
        look_over(given)
    (score_benchmark if given["benchmark"] else score_dataset)(given)


def look_over(given: dict[str, Any]) -> None:
    """Raise `InputError` for flags that are missing, and for those that were given and would change nothing."""
    benchmark, model = given["benchmark"], given["model"]
    if given["vc"] and benchmark:
        raise InputError("--vc needs true answers beside the questions: use it with --dataset, not with --benchmark.")
    idle = {
        "--benchmark brings its own questions": ROWS if benchmark else (),
        "there is no --benchmark": () if benchmark else FORMATS,
        "no model is asked: name one with --model": () if model or benchmark == "refcoco" else ASKING,
        "only CHAIR's score needs synonyms": () if benchmark == "chair" else ("synonyms",),
        "only POPE has categories": () if benchmark == "pope" else ("category",),
        "only RefCOCO's answers are boxes": () if benchmark == "refcoco" else ("boxes",),
    }
    source = click.get_current_context().get_parameter_source
    for why, flags in idle.items():
        if named := [f"--{name.replace('_', '-')}" for name in flags if source(name) is not ParameterSource.DEFAULT]:
            raise InputError(f"{', '.join(named)} cannot be used, as {why}.")
    if not benchmark and not (model and given["dataset"]):
        raise InputError("Nothing to do: give --model and --dataset, or --benchmark and --answers. See --help.")
    if benchmark and given["answers"] is None:
        raise InputError("--answers is missing: expected the answer file to score, or with --model the file to write.")


def score_dataset(given: dict[str, Any]) -> None:
    out = given["out"] or Path("results.json")
    writable(out.parent)
    with wrong_use():
        find_model(given["model"], given["base"])
        rows = load_rows(given)
        chat = open_chat(given)
    with progress("asking", len(questions_of(rows))) as done:
        judged = evaluate(chat, rows, batch_size=given["batch_size"], text_only=given["text_only"], done=done)
    figures = summarise(judged)
    if given["vc"]:
        figures["visual_contribution"] = score_contribution(chat, rows, out.with_name(f"{out.stem}_vc.jsonl"), given)
    write_json(out, results(figures, given["model"], Path(__file__).parent))
    write_records(out.with_name(f"{out.stem}_answers.jsonl"), records(judged))
    Console().print(table(figures))
    click.echo(f"{out} holds the figures, {out.stem}_answers.jsonl every answer.")


def score_contribution(chat: Any, rows: Any, out: Path, given: dict[str, Any]) -> dict[str, Any]:
    collator = L2TCollator(chat.processor, learn="response", boxes=chat.conventions.box_dialect)
    # The logits of whole rows are held at once, so a batch is smaller than one of questions.
    size = min(given["batch_size"], 8)
    with progress("visual contribution", len(rows)) as done:
        found = contributions(chat, collator, rows, seed=given["seed"], batch_size=size, done=done)
    write_records(out, contribution_records(found))
    if found.left_out:
        click.echo(f"{len(found.left_out):,} rows have no visual contribution; the first: {found.left_out[0]}")
    return summarise_contributions(found)


def score_benchmark(given: dict[str, Any]) -> None:
    benchmark = BENCHMARKS[given["benchmark"]]
    names = ("answers", "questions", "gold", "images", "synonyms", "category", "boxes")
    files = Files(**{name: given[name] for name in names})
    if given["out"]:
        writable(given["out"].parent)
    if given["model"]:
        with wrong_use():
            find_model(given["model"], given["base"])
            asked = benchmark.questions(files)
            images = files.need("images", "the folder of the benchmark's photos")
            chat = open_chat(given)
        with progress("asking", len(asked)) as done:
            replies = answer_questions(chat, asked, images, suffix=given["suffix"], batch_size=given["batch_size"], done=done)
        benchmark.write(asked, replies, files.answers)
    with wrong_use():
        scores = benchmark.score(files)
    Console().print(*benchmark_tables(given["benchmark"], scores))
    if given["out"]:
        write_json(given["out"], {"benchmark": given["benchmark"], **results(scores, given["model"], Path(__file__).parent)})


def open_chat(given: dict[str, Any]) -> Any:
    wanted = ("base", "device", "dtype", "max_new_tokens")
    return load_chat(given["model"], **{name: given[name] for name in wanted})


def load_rows(given: dict[str, Any]) -> Any:
    from datasets import load_dataset

    require_place(given["dataset"], "dataset")
    try:
        rows = load_dataset(given["dataset"], given["config"], split=given["split"])
    except (ValueError, OSError) as error:
        raise InputError(
            f"The split {given['split']!r} of {given['dataset']} cannot be loaded ({first_line(error)}); check --dataset, --config "
            "and --split."
        ) from error
    if "messages" not in rows.column_names:
        raise InputError(
            f"{given['dataset']} has no column `messages` but {', '.join(rows.column_names)}; expected rows as builders write."
        )
    if given["limit"] and given["limit"] < len(rows):
        rows = rows.shuffle(seed=given["seed"]).select(range(given["limit"]))
    if given["images"] and "images" in rows.column_names:
        click.echo("--images changes nothing, as the rows hold their pictures.", err=True)
        return rows
    return attach_images(rows, given["images"]) if given["images"] else rows


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
