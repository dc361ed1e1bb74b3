"""Tune a multimodal model on instruction rows: TRL's SFTTrainer with our collator, and nothing else of our own.

python train/sft.py --config train/demo.yaml
python train/sft.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name ORG/NAME --output_dir DIR \
    --use_peft --load_in_4bit --dtype bfloat16
"""

from dataclasses import dataclass, field

from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from trl import ModelConfig, ScriptArguments, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from comvint_hf import L2TCollator, attach_images
from comvint_hf.cli import calm
from comvint_hf.data.hub import push_model
from comvint_hf.data.model_card import write_model_card
from comvint_hf.errors import writable
from comvint_hf.tuning import ordering, qlora, run
from comvint_hf.tuning.trainer import TreeTrainer, quiet_progress
from comvint_hf.tuning.tree import require_tree_attention


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
    boxes: str = field(default="family", metadata={"help": "How the model writes boxes: family, or a dialect such as fraction."})
    images: str | None = field(default=None, metadata={"help": "Folder or repository of pictures for rows that hold none."})
    text_only: bool = field(default=False, metadata={"help": "Train on rows without their picture, on purpose."})
    pack: str | None = field(
        default=None,
        metadata={
            "help": "tree: lay the rows of one image out as one sequence that reads the image once. Loss and gradients of a batch "
            "are those of its rows one at a time, but a batch is then of images: --per_device_train_batch_size counts them, all rows "
            "of an image are learnt in the same step, and steps differ in how many rows they hold. Expect noisier steps than from as "
            "many rows of different images; take several images a step (batch size or --gradient_accumulation_steps)."
        },
    )
    branches: int = field(
        default=64,
        metadata={"help": "With --pack tree: at most so many rows a sequence; an image with more comes several times."},
    )
    alike: bool = field(
        default=False, metadata={"help": "Fill each batch with rows (or trees) of about one length, batches in random order."}
    )
    freeze: list[str] = field(default_factory=lambda: ["vision_tower"], metadata={"help": "Modules a full run leaves alone."})


@calm(go_on="To go on from the last checkpoint, run the same command with --resume_from_checkpoint true.")
def main() -> None:
    script, training, model_args, ours = run.read_settings(ScriptArguments, Tuning, ModelConfig, Ours)
    writable(training.output_dir)
    checkpoint = run.checkpoint_to_resume(training.resume_from_checkpoint, training.output_dir)
    processor = run.load_processor(model_args)
    train, test = read_rows(script, training, ours)

    # What of a row is learnt, and in which order rows come
    collator = L2TCollator(
        processor,
        learn=ours.learn,
        templates=run.task_templates(ours.templates, train),
        max_length=training.max_length,
        text_only=ours.text_only,
        pack=ours.pack,
        boxes=ours.boxes,
    )
    print(f"{len(collator.templates)} task templates carry no loss: {'; '.join(collator.templates) or 'none'}")
    with run.reading():
        train, test = (run.fitting(rows, collator) if rows is not None else None for rows in (train, test))
    train = ordering.arranged(train, training, alike=ours.alike, pack=ours.pack, branches=ours.branches)
    if test is not None:
        test = ordering.arranged_for_evaluation(test, alike=ours.alike, pack=ours.pack, branches=ours.branches)

    # The model: what is quantised, what is trained
    model = load_model(model_args, checkpoint)
    adapter = get_peft_config(model_args)
    if adapter is None:
        qlora.freeze(model, ours.freeze)
    elif adapter.target_modules is None:
        adapter.target_modules = qlora.lora_targets(model)
    if ours.pack:
        require_tree_attention(model)

    with run.agreeing():
        trainer = (TreeTrainer if ours.pack else SFTTrainer)(
            model=model,
            args=training,
            train_dataset=train,
            eval_dataset=test,
            data_collator=collator,
            processing_class=processor,
            peft_config=adapter,
        )
    quiet_progress(trainer)
    qlora.check(trainer.model)
    print(qlora.table(trainer.model))

    with run.reading():
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
        boxes=collator.boxes,
    )
    if trainer.is_world_process_zero():
        write_model_card(training.output_dir, {**training.to_dict(), "pack": ours.pack})
        if training.push_to_hub:
            print(f"Pushed: {push_model(training.output_dir, trainer.hub_model_id, token=training.hub_token)}")


def read_rows(script: ScriptArguments, training: Tuning, ours: Ours) -> tuple:
    """The rows to train on, and those to evaluate on where --eval_strategy asks for it."""
    train, test = run.load_rows(script, evaluate=training.eval_strategy != "no")
    if ours.images:
        train = attach_images(train, ours.images)
        test = attach_images(test, ours.images) if test is not None else None
    train = run.trainable_rows(train, text_only=ours.text_only)
    return train, run.trainable_rows(test, text_only=ours.text_only) if test is not None else None


def load_model(model_args: ModelConfig, checkpoint: str | None) -> PreTrainedModel:
    """The model as the flags say, its weights from the checkpoint where a full run goes on."""
    name = model_args.model_name_or_path
    weights = run.weights_of(name, checkpoint)
    with run.loading(name):
        config = AutoConfig.from_pretrained(name, revision=model_args.model_revision)
        return AutoModelForImageTextToText.from_pretrained(
            weights,
            revision=model_args.model_revision if weights == name else None,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
            quantization_config=qlora.decoder_only(get_quantization_config(model_args), config),
        )


if __name__ == "__main__":
    main()
