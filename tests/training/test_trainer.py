"""What L2TTrainer tells of message trees: tokens, the loss of an evaluation, and why FlexAttention does not train on a CPU."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from training.tiny.families import TINY, collator_of, processor_of
from training.tiny.trees import rows_of_images
from trl import SFTConfig, SFTTrainer

from comvint_hf import L2TCollator, by_image
from comvint_hf.errors import ModelError
from comvint_hf.training.packing.masks import MasksByLayer, read_attention
from comvint_hf.training.trainer import L2TTrainer, convert_block_masks

SETTINGS = {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "per_device_eval_batch_size": 1,
    "max_steps": 1,
    "learning_rate": 0.0,
    "logging_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "max_length": None,
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "remove_unused_columns": False,
    "dataset_kwargs": {"skip_prepare_dataset": True},
}


def gemma() -> Any:
    """A Gemma 3 with layers of both kinds, whose window is shorter than a row."""
    model = TINY["Gemma 3"].model(processor_of("Gemma 3"))
    text = model.config.get_text_config()
    text.sliding_window, text.layer_types = 12, ["sliding_attention", "full_attention"]
    return type(model)(model.config)


def trained(kind: type, model: Any, collator: L2TCollator, folder: Any) -> tuple[Any, list[dict]]:
    """A run of one step over all rows, in entries of one image, and the batches it took."""
    groups, batches = [{"rows": group} for group in by_image(rows_of_images())], []

    def collate(found: list[dict]) -> dict[str, Any]:
        batches.append(collator([groups[entry["place"]] for entry in found]))
        return batches[-1]

    places = Dataset.from_list([{"images": [], "place": place} for place in range(len(groups))])
    trainer = kind(
        model,
        SFTConfig(str(folder), **SETTINGS),
        data_collator=collate,
        train_dataset=places,
        eval_dataset=places,
        processing_class=collator.processor,
    )
    trainer.train()
    return trainer, [dict(batch) for batch in batches[:2]]


def logged(trainer: Any, name: str) -> float:
    return next(entry[name] for entry in trainer.state.log_history if name in entry)


@pytest.mark.parametrize("name", ["Gemma 3", "Qwen2-VL", "LLaVA-1.5, SigLIP"])
def test_tokens_and_losses_of_training_and_evaluation_are_those_of_the_rows(name, tmp_path) -> None:
    model = gemma() if name == "Gemma 3" else TINY[name].model(processor_of(name))
    collator = collator_of(name, pack="tree", attention=read_attention(model))
    trainer, batches = trained(L2TTrainer, model, collator, tmp_path)
    single = [collator_of(name)([row]) for row in rows_of_images()]
    labels = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in single)
    wanted = sum(trainer.model(**batch, num_items_in_batch=labels).loss.item() for batch in single)
    padding = collator.processor.tokenizer.pad_token_id
    assert logged(trainer, "num_tokens") == sum(int((batch["input_ids"] != padding).sum()) for batch in batches)
    assert logged(trainer, "loss") == pytest.approx(wanted, rel=1e-4)
    assert logged(trainer, "eval_loss") == pytest.approx(wanted, rel=1e-5), "one image has more rows than the other"


def test_trls_own_trainer_takes_masks_by_layer(tmp_path) -> None:
    model = gemma()
    trainer, batches = trained(SFTTrainer, model, collator_of("Gemma 3", pack="tree", attention=read_attention(model)), tmp_path)
    assert all(isinstance(batch["attention_mask"], MasksByLayer) for batch in batches)
    assert logged(trainer, "num_tokens") == sum(int((batch["input_ids"] != 0).sum()) for batch in batches)


def test_flex_attention_is_refused_without_a_gpu_and_its_masks_are_made_before_the_model(tmp_path) -> None:
    name = "LLaVA-1.5, SigLIP"
    model = TINY[name].model(processor_of(name))
    model.set_attn_implementation({"text_config": "flex_attention", "vision_config": "sdpa"})
    collator = collator_of(name, pack="tree", attention=read_attention(model))
    with pytest.raises(ModelError, match="computes no gradients on a CPU: train with --attn_implementation sdpa"):
        trained(L2TTrainer, model, collator, tmp_path)
    batch = collator(rows_of_images())
    _, named = convert_block_masks(model, (), batch)
    assert named["attention_mask"].shape == (2, 1, *batch["input_ids"].shape[1:] * 2)
    assert batch["attention_mask"].ndim == 3 and named["labels"] is batch["labels"]
