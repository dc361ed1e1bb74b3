"""Tune a multimodal model on instruction rows: TRL's SFTTrainer with our collator, and nothing else of our own.

python train/sft.py --config train/demo.yaml
python train/sft.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name ORG/NAME --output_dir DIR \
    --use_peft --load_in_4bit --dtype bfloat16
"""

from dataclasses import dataclass, field

from datasets import load_dataset
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from trl import ModelConfig, ScriptArguments, SFTConfig, SFTTrainer, TrlParser, get_peft_config, get_quantization_config

from comvint_hf import L2TCollator, attach_images
from comvint_hf.cli import calm
from comvint_hf.tuning import qlora, run


@dataclass
class Tuning(SFTConfig):
    """TRL's settings; only the defaults that would cut or blind a multimodal row are others."""

    max_length: int | None = field(default=None, metadata={"help": "Leave out rows of more tokens; nothing is ever cut."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator reads more than TRL's columns."})


@dataclass
class Ours:
    """What TRL has no flag for."""

    learn: str = field(default="instruction+response", metadata={"help": "instruction+response (L2T) or response (VIT)."})
    templates: str = field(default="mine", metadata={"help": "Task sentences without loss: mine, none, or a file."})
    images: str | None = field(default=None, metadata={"help": "Folder or repository of pictures for rows that hold none."})
    text_only: bool = field(default=False, metadata={"help": "Train on rows without their picture, on purpose."})
    pack: str | None = field(default=None, metadata={"help": "tree: lay rows of one image out as one sequence."})
    alike: bool = field(
        default=False, metadata={"help": "Fill each batch with rows of about one length, batches in random order."}
    )
    freeze: list[str] = field(default_factory=lambda: ["vision_tower"], metadata={"help": "Modules a full run leaves alone."})


@calm
def main() -> None:
    script, training, model_args, ours = TrlParser((ScriptArguments, Tuning, ModelConfig, Ours)).parse_args_and_config()

    # The rows
    rows = load_dataset(script.dataset_name, script.dataset_config, streaming=script.dataset_streaming)
    train, test = rows[script.dataset_train_split], rows.get(script.dataset_test_split)
    if ours.images:
        train = attach_images(train, ours.images)
        test = attach_images(test, ours.images) if test is not None else None
    train = run.trainable_rows(train, text_only=ours.text_only)

    # What of a row is learnt
    processor = AutoProcessor.from_pretrained(model_args.model_name_or_path, revision=model_args.model_revision)
    collator = L2TCollator(
        processor,
        learn=ours.learn,
        templates=run.task_templates(ours.templates, train),
        max_length=training.max_length,
        text_only=ours.text_only,
        pack=ours.pack,
    )
    print(f"{len(collator.templates)} task templates carry no loss: {'; '.join(collator.templates) or 'none'}")
    train = run.without_long(train, collator)
    if ours.alike:
        training.train_sampling_strategy, training.max_steps = "sequential", run.steps(training, train)
        batches = training.max_steps * training.gradient_accumulation_steps * training.world_size
        train = run.alike(train, training.train_batch_size, batches, training.seed)

    # The model: what is quantised, what is trained
    checkpoint = run.checkpoint_to_resume(training.resume_from_checkpoint, training.output_dir)
    weights = run.weights_of(model_args.model_name_or_path, checkpoint)
    config = AutoConfig.from_pretrained(model_args.model_name_or_path, revision=model_args.model_revision)
    model = AutoModelForImageTextToText.from_pretrained(
        weights,
        revision=model_args.model_revision if weights == model_args.model_name_or_path else None,
        dtype=model_args.dtype,
        attn_implementation=model_args.attn_implementation,
        quantization_config=qlora.decoder_only(get_quantization_config(model_args), config),
    )
    adapter = get_peft_config(model_args)
    if adapter is None:
        qlora.freeze(model, ours.freeze)
    elif adapter.target_modules is None:
        adapter.target_modules = qlora.lora_targets(model)

    trainer = SFTTrainer(
        model=model,
        args=training,
        train_dataset=train,
        eval_dataset=run.trainable_rows(test, text_only=ours.text_only) if training.eval_strategy != "no" else None,
        data_collator=collator,
        processing_class=processor,
        peft_config=adapter,
    )
    run.quiet_progress(trainer)
    qlora.check(trainer.model)
    print(qlora.table(trainer.model))

    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_metrics("train", result.metrics)
    trainer.save_model()
    processor.save_pretrained(training.output_dir)
    run.write_conventions(
        training.output_dir,
        dataset=script.dataset_name,
        base_model=model_args.model_name_or_path,
        base_revision=None if model_args.model_revision == "main" else model_args.model_revision,
        learn=ours.learn,
        templates=collator.templates,
    )
    if training.push_to_hub:
        trainer.push_to_hub(dataset_name=script.dataset_name)


if __name__ == "__main__":
    main()
