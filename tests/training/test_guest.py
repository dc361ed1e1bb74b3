"""The collator as a guest: in TRL's SFTTrainer, transformers' Trainer and a plain DataLoader, none of them changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from comvint_hf import L2TCollator, by_image

TASK = "Answer with yes or no."


@pytest.fixture(scope="module")
def processor(processor_of):
    return processor_of("llava")


@pytest.fixture
def model(processor):
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = LlamaConfig(vocab_size=len(processor.tokenizer), max_position_embeddings=256, **sizes)
    vision = SiglipVisionConfig(image_size=32, patch_size=16, vision_use_head=False, **sizes)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return LlavaForConditionalGeneration(config)


def rows(image: Any) -> list[dict]:
    return [
        {
            "image_id": f"shapes/{number // 2}",
            "images": [image.rotate(90 * (number // 2))],
            "messages": [{"role": "user", "content": f"Is it number {number}? {TASK}"}, {"role": "assistant", "content": "yes"}],
        }
        for number in range(6)
    ]


def losses(trainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def settings(folder) -> dict:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "max_steps": 4,
        "learning_rate": 0.01,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "seed": 1,
    }


def sft(model, processor, dataset, folder, collator, **more) -> Any:
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(**{**settings(folder), "gradient_checkpointing": False, "bf16": False, **more})
    return SFTTrainer(model=model, args=arguments, train_dataset=dataset, processing_class=processor, data_collator=collator)


def test_in_trls_sft_trainer(model, processor, image, tmp_path) -> None:
    """With TRL's own column pruning, on a Dataset whose rows hold images."""
    from datasets import Dataset, Features, Image, List, Value

    turn = {"role": Value("string"), "content": Value("string")}
    features = Features({"image_id": Value("string"), "images": List(Image()), "messages": List(turn)})
    dataset = Dataset.from_list(rows(image), features=features)
    got = losses(sft(model, processor, dataset, tmp_path, L2TCollator(processor, templates=[TASK])))
    assert len(got) == 4 and got[-1] < got[0]


def test_trees_in_trls_sft_trainer(model, processor, image, tmp_path) -> None:
    """Groups as one column `rows`; the first loss is the one of separate rows."""
    from datasets import Dataset

    groups = [{"rows": group} for group in by_image(rows(image))]
    collator = L2TCollator(processor, templates=[TASK], pack="tree")
    batch = [*groups[0]["rows"], *groups[1]["rows"]]
    with torch.no_grad():
        wanted = model(**L2TCollator(processor, templates=[TASK])(batch)).loss.item()
        assert model(**collator(groups[:2])).loss.item() == pytest.approx(wanted, rel=1e-5)
    places = Dataset.from_list([{"images": [], "place": place} for place in range(len(groups))])
    more = {"remove_unused_columns": False, "dataset_kwargs": {"skip_prepare_dataset": True}}

    def by_place(found: list[dict]) -> dict[str, torch.Tensor]:
        return collator([groups[row["place"]] for row in found])

    got = losses(sft(model, processor, places, tmp_path, by_place, **more))
    assert len(got) == 4 and got[-1] < got[0]


def test_in_transformers_trainer(model, processor, image, tmp_path) -> None:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(**settings(tmp_path), remove_unused_columns=False)
    collator = L2TCollator(processor, learn="response")
    got = losses(Trainer(model=model, args=arguments, train_dataset=rows(image), data_collator=collator))
    assert len(got) == 4 and got[-1] < got[0]


def test_in_a_data_loader_with_a_worker(model, processor, image) -> None:
    from torch.utils.data import DataLoader

    collator = L2TCollator(processor, templates=[TASK])
    batches = list(DataLoader(rows(image), batch_size=3, collate_fn=collator, num_workers=1))
    assert len(batches) == 2
    assert torch.equal(batches[0]["labels"], collator(rows(image)[:3])["labels"])
    assert torch.isfinite(model(**batches[0]).loss)
