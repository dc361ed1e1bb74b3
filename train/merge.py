"""Merge an adapter into its base model: one model that needs no peft and is checked against the trained one."""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

import json
from pathlib import Path

import click

from comvint_hf.cli import handle_errors, usage_errors
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError, make_output_folder
from comvint_hf.hub.model_card import SETTINGS, write_model_card
from comvint_hf.serving.loading import check_device, check_model, load_model_processor, read_conventions, resolve_base
from comvint_hf.training.merge import QUANTIZATIONS, TOLERANCE, BaseCheckpoint, MergeResult, check_new_folder, merge_adapter

DTYPES = click.Choice(["float32", "bfloat16", "float16"])


@click.command(context_settings={"max_content_width": 110})
@click.option("--adapter", required=True, metavar="DIR|ORG/NAME", help="The output folder of train/sft.py --use_peft.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="A new folder for the merged model.")
@click.option("--base", metavar="DIR|ORG/NAME", help="The adapter's base model, if it has moved.")
@click.option(
    "--quantised",
    type=click.Choice(list(QUANTIZATIONS)),
    help="The base's quantisation in training, if there is no comvint.json.",
)
@click.option("--dtype", type=DTYPES, help="The dtype of the stored weights.  [default: the base's]")
@click.option(
    "--tolerance",
    default=TOLERANCE,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="The allowed difference of logits, as a share of the adapter's effect on them.",
)
@click.option("--device", default="cpu", show_default=True, help="The device to compute on: cpu, cuda, ...")
@handle_errors
def main(
    adapter: str, out: Path, base: str | None, quantised: str | None, dtype: str | None, tolerance: float, device: str
) -> None:
    """Merge an adapter into its base and write one model, with its processor, comvint.json and a card.

    \b
      python train/merge.py --adapter build/adapter --out build/merged
      python train/evaluate.py --model build/merged --dataset DIR
      comvint push build/merged ORG/NAME

    The base is loaded as in training. After QLoRA that is the base rounded to four bits: it is brought to full precision, rounded
    weights and all, because the adapter was trained beside these. The base before rounding is another model, and merging into the
    packed weights would round the adapter away.

    The merged model is written, loaded again, and compared with the base and its adapter on a small batch; if the logits
    differ too much, nothing is kept. Storing in bfloat16 rounds too: if the difference is too large, store with --dtype float32.

    All arithmetic is float32: a model of 7B parameters needs about 30 GB of memory, more while it is loaded again.
    """
    make_output_folder(out.parent)
    with usage_errors():
        check_new_folder(out)
        check_device(device)
        conventions = read_conventions(adapter)
        base_name, revision = resolve_base(adapter, base, conventions)
        if base_name == adapter:
            check_model(adapter)
            raise InputError(f"{adapter} has no adapter_config.json, so it is a whole model and there is nothing to merge.")
    if quantised is None and conventions.base_dtype is None:
        click.echo("There is no comvint.json, so the base is taken as not quantised in training (use --quantised nf4 if it was).")
    quantization = conventions.quantization if quantised is None else QUANTIZATIONS[quantised]
    result = merge_adapter(
        adapter,
        BaseCheckpoint(base_name, revision, conventions.base_dtype, quantization),
        load_model_processor(adapter, base_name, revision),
        out,
        dtype=dtype,
        device=device,
        tolerance=tolerance,
    )
    summary = f"{Path(adapter).name} into its base, {'rounded as in training' if quantization else 'not quantised'}; {format_result(result)}"
    conventions = conventions.model_copy(update={"base_model": base_name, "base_revision": revision})
    write_description(out, conventions, Path(adapter, SETTINGS), summary)
    click.echo(f"{out} holds the merged model: {format_result(result)}.")


def format_result(result: MergeResult) -> str:
    return f"logits differ by at most {result.difference:.2g}, where the adapter moves them by up to {result.effect:.2g}"


def write_description(out: Path, conventions: Conventions, settings_file: Path, summary: str) -> None:
    """Write comvint.json and the card, with the training settings if the adapter's folder is local."""
    conventions.write(out)
    settings = json.loads(settings_file.read_text(encoding="utf-8")) if settings_file.exists() else {}
    write_model_card(out, {**settings, "merged": summary})


if __name__ == "__main__":
    main()
