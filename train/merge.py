"""Merge an adapter into its base: one model that needs no peft, and the proof that it answers as before."""

import json
from pathlib import Path

import click

from comvint_hf.cli import calm, wrong_use
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError, writable
from comvint_hf.hub.model_card import SETTINGS, write_model_card
from comvint_hf.serving.loading import base_of, check_device, find_model, processor_of, read_conventions
from comvint_hf.training.merge import QUANTISED, TOLERANCE, Base, Merged, merge, refuse_used

DTYPES = click.Choice(["float32", "bfloat16", "float16"])


@click.command(context_settings={"max_content_width": 110})
@click.option("--adapter", required=True, metavar="DIR|ORG/NAME", help="What train/sft.py --use_peft left.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The merged model's new folder.")
@click.option("--base", metavar="DIR|ORG/NAME", help="The adapter's base, if it has moved.")
@click.option(
    "--quantised", type=click.Choice(list(QUANTISED)), help="How the base was rounded in training, if comvint.json does not tell."
)
@click.option("--dtype", type=DTYPES, help="How weights are stored.  [default: as the base's]")
@click.option(
    "--tolerance",
    default=TOLERANCE,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="How far logits may differ, as a share of what the adapter does to them.",
)
@click.option("--device", default="cpu", show_default=True, help="Where it is computed: cpu, cuda, ...")
@calm
def main(
    adapter: str, out: Path, base: str | None, quantised: str | None, dtype: str | None, tolerance: float, device: str
) -> None:
    """Merge an adapter into its base and write one model, with its processor, comvint.json and a card.

    \b
      python train/merge.py --adapter build/adapter --out build/merged
      python train/evaluate.py --model build/merged --dataset DIR
      comvint push build/merged ORG/NAME

    The base is taken as it was in training. After QLoRA that is the base rounded to four bits: it is brought to full precision as
    it is, rounded weights and all, because these are what the adapter was trained beside. The base before rounding is another
    model, and merging into the packed weights would round the adapter away.

    The merged model is written, loaded again, and compared with the base and its adapter on a small batch; if the logits
    differ too much, nothing is kept. Storing in bfloat16 rounds too: if that is too much, store with --dtype float32.

    Everything is computed in float32: a model of 7B parameters needs about 30 GB of memory, more while it is loaded again.
    """
    writable(out.parent)
    with wrong_use():
        refuse_used(out)
        check_device(device)
        agreed = read_conventions(adapter)
        place, revision = base_of(adapter, base, agreed)
        if place == adapter:
            find_model(adapter)
            raise InputError(f"{adapter} has no adapter_config.json, so it is a whole model and there is nothing to merge.")
    if quantised is None and agreed.base_dtype is None:
        click.echo(
            "No comvint.json says how the base was loaded in training: taken as not quantised (--quantised nf4 if it was)."
        )
    quantization = agreed.quantization if quantised is None else QUANTISED[quantised]
    found = merge(
        adapter,
        Base(place, revision, agreed.base_dtype, quantization),
        processor_of(adapter, place, revision),
        out,
        dtype=dtype,
        device=device,
        tolerance=tolerance,
    )
    told = (
        f"{Path(adapter).name} into its base, {'rounded as in training' if quantization else 'not quantised'}; {in_words(found)}"
    )
    describe(out, agreed.model_copy(update={"base_model": place, "base_revision": revision}), Path(adapter, SETTINGS), told)
    click.echo(f"{out} holds the merged model: {in_words(found)}.")


def in_words(found: Merged) -> str:
    return f"logits differ by at most {found.difference:.2g}, where the adapter moves them by up to {found.effect:.2g}"


def describe(out: Path, agreed: Conventions, settings: Path, told: str) -> None:
    """Write comvint.json and the card, with the settings of the training where the adapter's folder is here."""
    agreed.write(out)
    kept = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    write_model_card(out, {**kept, "merged": told})


if __name__ == "__main__":
    main()
