"""Write the card (README.md) of a tuned model from the files in its folder: conventions, settings, adapter, scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comvint_hf.conventions import FILE, Conventions
from comvint_hf.dataset.foreign_text import escape_code, escape_markdown, one_line
from comvint_hf.dataset.shards import write_text_atomic
from comvint_hf.errors import InputError
from comvint_hf.hub.model_files import ADAPTER, hub_name, short_name
from comvint_hf.strict_reader import read_json_file

CARD, SETTINGS, SCORES = "README.md", "tuning.json", "results.json"
TAGS = ["comvint_hf", "multimodal", "grounding", "visual-instruction-tuning", "trl", "sft"]
SHOWN_SETTINGS = (
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
METRICS = {
    "closed_accuracy": "closed questions, accuracy",
    "absent_accuracy": "questions about absent objects, accuracy",
    "yes_ratio": "share of yes among yes and no",
    "mean_iou": "boxes, mean IoU",
    "acc_at_50": "boxes, share with IoU of at least 0.5",
    "description_f1": "descriptions, F1 of the objects named",
}
LOSS_TEXTS = {
    "instruction+response": "The instruction and the response carry loss (L2T). The chat template and the task sentences below do not.",
    "response": "The response and the token that ends it carry loss. The chat template does not.",
}


def write_model_card(folder: Path | str, settings: Mapping[str, Any] | None = None, base: str | None = None) -> Path:
    """Write the README.md of a tuned model's folder.

    Args:
        folder: The output folder of tuning.
        settings: The trainer's settings by name, kept in tuning.json so that the card can be written again with scores.
        base: The base model's name on the Hub, if the folder names another.

    Returns:
        The path of the card.

    Raises:
        InputError: If the folder has no comvint.json.
    """
    folder = Path(folder)
    if not (folder / FILE).exists():
        raise InputError(f"{folder} has no {FILE}, so it holds no tuned model: expected the --output_dir of train/sft.py.")
    if settings is not None:
        kept = {name: _plain(settings[name]) for name in SHOWN_SETTINGS if settings.get(name) is not None}
        write_text_atomic(folder / SETTINGS, json.dumps(kept, indent=2) + "\n")
    write_text_atomic(folder / CARD, render_model_card(folder, base))
    return folder / CARD


def render_model_card(folder: Path, base: str | None = None, repo_id: str | None = None) -> str:
    """Render the card of a tuned model; its title is the repository or, without one, "BASE tuned on DATASET"."""
    conventions, scores = _read_conventions(folder, base), _read_json(folder / SCORES)
    name = repo_id or _title(conventions)
    text = "\n\n".join(
        [
            f"# {escape_markdown(name)}",
            _summarize(folder, conventions),
            "## How to use it",
            _USE.format(name=repo_id or "ORG/NAME", comment="" if repo_id else "    # this folder, or its name on the Hub"),
            "## Training data",
            _describe_data(conventions),
            "## Tokens with loss",
            _describe_loss(conventions),
            "## Settings",
            _table(
                ("setting", "value"),
                {escape_markdown(name): escape_markdown(f"{value}") for name, value in _read_json(folder / SETTINGS).items()},
            ),
            "## Scores",
            _render_scores(scores),
        ]
    )
    return f"---\n{_yaml(folder, name, conventions, scores)}\n---\n\n{text}\n"


def _title(conventions: Conventions) -> str:
    """
    >>> _title(Conventions(base_model="org/base", dataset="org/rows"))
    'base tuned on rows'
    """
    base, rows = (short_name(name).rpartition("/")[2] for name in (conventions.base_model, conventions.dataset))
    return f"{base or 'A model'} tuned on {rows or 'instruction rows'}"


def _read_conventions(folder: Path, base: str | None) -> Conventions:
    """Read the folder's conventions. Names that are not on the Hub become absolute paths, which are never shown as links."""
    conventions = Conventions.read(folder)
    if base and base != conventions.base_model:
        conventions = conventions.model_copy(update={"base_model": base, "base_revision": None})
    names = {field: getattr(conventions, field) for field in ("base_model", "dataset")}
    # A relative folder such as build/rows looks like ORG/NAME, and a link to it would lead to a stranger's repository.
    local = {field: str(Path(name).resolve()) for field, name in names.items() if name and not hub_name(name, folder)}
    return conventions.model_copy(update=local)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float)) else str(getattr(value, "value", value))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    if not isinstance(content := read_json_file(path), dict):
        raise InputError(f"{path} holds no JSON object: write it anew, or remove it.")
    return content


def _number(scores: Mapping[str, Any], name: str) -> float | None:
    """A score that results.json holds as a number."""
    score = scores.get(name)
    return score if isinstance(score, int | float) and not isinstance(score, bool) else None


def _yaml(folder: Path, name: str, conventions: Conventions, scores: Mapping[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    adapter, base, data = (folder / ADAPTER).exists(), hub_name(conventions.base_model), hub_name(conventions.dataset)
    results = [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=data or "comvint_hf",
            dataset_name=short_name(conventions.dataset) or "held-out rows",
            metric_type=metric,
            metric_name=label,
            metric_value=round(score, 4),
        )
        for metric, label in METRICS.items()
        if (score := _number(scores, metric)) is not None
    ]
    return ModelCardData(
        language="en",
        library_name="peft" if adapter else "transformers",
        pipeline_tag="image-text-to-text",
        tags=[*TAGS, *([one_line(conventions.recipe)] if conventions.recipe else [])],
        base_model=base,
        base_model_relation=base and ("adapter" if adapter else "finetune"),
        datasets=[data] if data else None,
        model_name=name.rpartition("/")[2],
        eval_results=results or None,
    ).to_yaml()


def _link(name: str | None, kind: str = "") -> str:
    """Render a name on the Hub as a link, a folder by its last part."""
    return (
        f"[{name}](https://huggingface.co/{kind}{name})" if hub_name(name) else f"`{escape_code(short_name(name) or 'unknown')}`"
    )


def _summarize(folder: Path, conventions: Conventions) -> str:
    kind = "An adapter (LoRA) for" if (folder / ADAPTER).exists() else "A model tuned from"
    revision = f" at revision `{escape_code(conventions.base_revision)}`" if conventions.base_revision else ""
    made = f"{kind} {_link(conventions.base_model)}{revision}, made with comvint_hf's `train/sft.py`."
    if hub_name(conventions.base_model) or not (folder / ADAPTER).exists():
        return made
    return f"{made} The base is not on the Hub: pass its folder, `load_chat(..., base=FOLDER)`."


_USE = """\
```python
from comvint_hf import load_chat

chat = load_chat("{name}"){comment}
print(chat.answer([{{"role": "user", "content": "What is in the image?"}}], image))
print(chat.ground("cup", image))    # phrases and boxes, fractions of the image
```

`comvint.json` beside the weights stores how boxes are written and how large images may be; `load_chat` and the Space read it."""


def _describe_data(conventions: Conventions) -> str:
    rows = {
        "dataset": _link(conventions.dataset, "datasets/"),
        "recipe": escape_markdown(conventions.recipe or ""),
        "written by": escape_markdown(conventions.generator or ""),
        "checked by": escape_markdown(conventions.judge or ""),
        "boxes": f"{escape_markdown(conventions.box_dialect)} dialect",
        "prompts": ", ".join(f"{escape_markdown(name)} `{escape_code(digest)}`" for name, digest in conventions.prompts.items()),
    }
    return _table(("setting", "value"), {name: value for name, value in rows.items() if value})


def _describe_loss(conventions: Conventions) -> str:
    text = LOSS_TEXTS.get(conventions.learn or "", f"Tokens with loss: {escape_markdown(conventions.learn or 'unknown')}.")
    sentences = "\n".join(f"- {escape_markdown(sentence)}" for sentence in conventions.templates)
    return f"{text}\n\nTask sentences without loss:\n\n{sentences}" if sentences else f"{text} There were no task sentences."


def _render_scores(scores: Mapping[str, Any]) -> str:
    rows = {label: f"{score:.3f}" for name, label in METRICS.items() if (score := _number(scores, name)) is not None}
    if not rows:
        return f"None yet: `python train/evaluate.py --model DIR --dataset DATASET --out DIR/{SCORES}`, then push again."
    numbers = scores.get("n")
    numbers = numbers if isinstance(numbers, dict) else {}
    counts = ", ".join(f"{count:,} {escape_markdown(name)}" for name in numbers if (count := _number(numbers, name)) is not None)
    return _table(("metric", "value"), rows) + (f"\n\nOver {counts}." if counts else "")


def _table(header: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [header, ("---", "---"), *((name, value.replace("|", "/")) for name, value in rows.items())]
    return "\n".join(f"| {name} | {value} |" for name, value in lines)
