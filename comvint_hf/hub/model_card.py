"""Draw the card of a tuned model from what lies in its folder: conventions, settings, adapter, scores.

The card is the folder's README.md. It says on which rows the model was tuned, which tokens carried loss, with which
settings, and how well it did. This file knows a model's folder; it knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comvint_hf.conventions import FILE, Conventions
from comvint_hf.dataset.shards import write_atomically
from comvint_hf.errors import InputError
from comvint_hf.hub.model_files import ADAPTER, hub_name, last

CARD, SETTINGS, SCORES = "README.md", "tuning.json", "results.json"
TAGS = ["comvint_hf", "multimodal", "grounding", "visual-instruction-tuning", "trl", "sft"]
TOLD = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "bf16",
    "max_length",
    "seed",
    "pack",
    "merged",
)
"""The settings that a reader of the card wants to know, of all that a trainer has."""
FIGURES = {
    "closed_accuracy": "closed questions, accuracy",
    "absent_accuracy": "questions about absent things, accuracy",
    "yes_ratio": "share of yes among yes and no",
    "mean_iou": "boxes, mean IoU",
    "acc_at_50": "boxes, share with IoU of at least 0.5",
    "description_f1": "descriptions, F1 of the things named",
}
LEARNT = {
    "instruction+response": "Loss lies on the instruction and the response (L2T), on nothing of the chat template, and not on the task "
    "sentences below.",
    "response": "Loss lies on the response alone, with the token that ends it, and on nothing of the chat template.",
}


def write_model_card(folder: Path | str, settings: Mapping[str, Any] | None = None, base: str | None = None) -> Path:
    """Draw README.md of a folder that tuning left; gives its path.

    `settings` (a trainer's, by name) are kept in tuning.json, so that the card can be drawn again when there are scores;
    `base` is the base model's name on the Hub, if it is not what the folder says. Raises `InputError` if the folder has no comvint.json.
    """
    folder = Path(folder)
    if not (folder / FILE).exists():
        raise InputError(f"{folder} has no {FILE}, so no tuned model lies there; expected the --output_dir of train/sft.py.")
    if settings is not None:
        kept = {name: _plain(settings[name]) for name in TOLD if settings.get(name) is not None}
        write_atomically(folder / SETTINGS, json.dumps(kept, indent=2) + "\n")
    write_atomically(folder / CARD, model_card(folder, base))
    return folder / CARD


def model_card(folder: Path, base: str | None = None, repo_id: str | None = None) -> str:
    """The text of a tuned model's card, called after its repository or, here, after what was tuned on what."""
    agreed, scores = _agreed(folder, base), _read(folder / SCORES)
    name = repo_id or _title(agreed)
    text = "\n\n".join(
        [
            f"# {name}",
            _opening(folder, agreed),
            "## Use it",
            _USE.format(name=repo_id or "ORG/NAME", which="" if repo_id else "    # this folder, or its name on the Hub"),
            "## What it was tuned on",
            _data(agreed),
            "## Which tokens carried loss",
            _mask(agreed),
            "## Settings",
            _table(("setting", "value"), {name: f"{value}" for name, value in _read(folder / SETTINGS).items()}),
            "## Scores",
            _scores(scores),
        ]
    )
    return f"---\n{_yaml(folder, name, agreed, scores)}\n---\n\n{text}\n"


def _title(agreed: Conventions) -> str:
    """
    >>> _title(Conventions(base_model="org/base", dataset="org/rows"))
    'base tuned on rows'
    """
    base, rows = (last(name).rpartition("/")[2] for name in (agreed.base_model, agreed.dataset))
    return f"{base or 'A model'} tuned on {rows or 'instruction rows'}"


def _agreed(folder: Path, base: str | None) -> Conventions:
    """The folder's conventions, the base as others find it; what is no name on the Hub is an absolute path, so that no link is made."""
    agreed = Conventions.read(folder)
    if base and base != agreed.base_model:
        agreed = agreed.model_copy(update={"base_model": base, "base_revision": None})
    here = {name: getattr(agreed, name) for name in ("base_model", "dataset")}
    placed = {name: str(Path(told).resolve()) for name, told in here.items() if told and not hub_name(told, folder)}
    return agreed.model_copy(update=placed)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float)) else str(getattr(value, "value", value))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _yaml(folder: Path, name: str, agreed: Conventions, scores: Mapping[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    adapter, base, data = (folder / ADAPTER).exists(), hub_name(agreed.base_model), hub_name(agreed.dataset)
    figures = [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=data or "comvint_hf",
            dataset_name=last(agreed.dataset) or "held-out rows",
            metric_type=figure,
            metric_name=told,
            metric_value=round(scores[figure], 4),
        )
        for figure, told in FIGURES.items()
        if scores.get(figure) is not None
    ]
    return ModelCardData(
        language="en",
        library_name="peft" if adapter else "transformers",
        pipeline_tag="image-text-to-text",
        tags=[*TAGS, *([agreed.recipe] if agreed.recipe else [])],
        base_model=base,
        base_model_relation=base and ("adapter" if adapter else "finetune"),
        datasets=[data] if data else None,
        model_name=name.rpartition("/")[2],
        eval_results=figures or None,
    ).to_yaml()


def _linked(name: str | None, kind: str = "") -> str:
    """A name on the Hub as a link, another one without its folders."""
    return f"[{name}](https://huggingface.co/{kind}{name})" if hub_name(name) else f"`{last(name) or 'unknown'}`"


def _opening(folder: Path, agreed: Conventions) -> str:
    what = "An adapter (LoRA) for" if (folder / ADAPTER).exists() else "A model tuned from"
    revision = f" at revision `{agreed.base_revision}`" if agreed.base_revision else ""
    made = f"{what} {_linked(agreed.base_model)}{revision}, made with comvint_hf's `train/sft.py`."
    if hub_name(agreed.base_model) or not (folder / ADAPTER).exists():
        return made
    return f"{made} That base is not on the Hub: whoever has it names its folder, `load_chat(..., base=FOLDER)`."


_USE = """\
```python
from comvint_hf import load_chat

chat = load_chat("{name}"){which}
print(chat.answer([{{"role": "user", "content": "What is in the picture?"}}], picture))
print(chat.ground("cup", picture))    # phrases and boxes, fractions of the image
```

`comvint.json` beside the weights says how boxes are written and how large pictures may be; `load_chat` and the Space read it."""


def _data(agreed: Conventions) -> str:
    rows = {
        "dataset": _linked(agreed.dataset, "datasets/"),
        "recipe": agreed.recipe,
        "written by": agreed.generator,
        "checked by": agreed.judge,
        "boxes": f"{agreed.box_dialect} dialect",
        "prompts": ", ".join(f"{name} `{digest}`" for name, digest in agreed.prompts.items()),
    }
    return _table(("what", "which"), {name: value for name, value in rows.items() if value})


def _mask(agreed: Conventions) -> str:
    said = LEARNT.get(agreed.learn or "", f"Learnt was: {agreed.learn or 'unknown'}.")
    sentences = "\n".join(f"- {sentence}" for sentence in agreed.templates)
    return f"{said}\n\nTask sentences without loss:\n\n{sentences}" if sentences else f"{said} There were no task sentences."


def _scores(scores: Mapping[str, Any]) -> str:
    found = {told: f"{scores[name]:.3f}" for name, told in FIGURES.items() if scores.get(name) is not None}
    if not found:
        return f"None yet: `python train/evaluate.py --model DIR --dataset DATASET --out DIR/{SCORES}`, then push again."
    counts = ", ".join(f"{count:,} {name}" for name, count in (scores.get("n") or {}).items())
    return _table(("figure", "value"), found) + (f"\n\nOver {counts}." if counts else "")


def _table(header: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [header, ("---", "---"), *((name, value.replace("|", "/")) for name, value in rows.items())]
    return "\n".join(f"| {name} | {value} |" for name, value in lines)
