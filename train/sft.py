"""Tune a multimodal model on instruction rows: TRL's SFTTrainer with our collator; what is left out is counted, what is trained checked.

python train/sft.py --config train/demo.yaml
python train/sft.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name ORG/NAME --output_dir DIR \
    --use_peft --load_in_4bit --dtype bfloat16

BLIP-2 and InstructBLIP, which TRL's trainer cannot take, are trained by transformers' Trainer with the same flags.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from trl import ModelConfig, ScriptArguments, SFTConfig, get_peft_config, get_quantization_config

from comvint_hf import L2TCollator, attach_images
from comvint_hf.box_formats import DIALECTS
from comvint_hf.cli import calm, wrong_use
from comvint_hf.conventions import whole
from comvint_hf.errors import ModelError, writable
from comvint_hf.hub.model_card import write_model_card
from comvint_hf.hub.push import push_model
from comvint_hf.model_families import family_of
from comvint_hf.training import arguments, batch_order, error_messages, lora, merge, run, skip_rows
from comvint_hf.training.packing.attention import use_sparse_attention
from comvint_hf.training.packing.masks import Attention, attention_of
from comvint_hf.training.skip_counts import PlainTuner, Telling, Tuner, told
from comvint_hf.training.trainer import quiet_progress


@dataclass
class Tuning(SFTConfig):
    """TRL's settings; only the defaults that would cut or blind a multimodal row are others."""

    max_length: int | None = field(default=None, metadata={"help": "Leave out rows of more tokens; nothing is ever cut."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator reads more than TRL's columns."})


@dataclass
class Ours:
    """What TRL has no flag for."""

    learn: Literal["instruction+response", "response"] = field(
        default="instruction+response", metadata={"help": "instruction+response (L2T) or response (VIT)."}
    )
    templates: str = field(default="mine", metadata={"help": "Task sentences without loss: mine, none, or a file."})
    boxes: str = field(
        default="family",
        metadata={"help": "How the model writes boxes: as its family does, or a dialect.", "choices": ["family", *DIALECTS]},
    )
    images: str | None = field(default=None, metadata={"help": "Folder or repository of pictures for rows that hold none."})
    text_only: bool = field(default=False, metadata={"help": "Train on rows whose picture is missing, on purpose."})
    pack: Literal["tree"] | None = field(
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
    skip_bad_rows: bool = field(
        default=True,
        metadata={
            "help": "Leave a row that cannot be trained on (picture not readable, more than --max_length tokens, a box cropped away) out "
            "of its batch, and say at the end how many there were and why. With false the first one ends the run."
        },
    )
    min_pixels: int | None = field(default=None, metadata={"help": "Make smaller pictures this large; serving will too."})
    max_pixels: int | None = field(default=None, metadata={"help": "Make larger pictures this small; serving will too."})
    train_projector: bool = field(
        default=False,
        metadata={"help": "With --use_peft, train what hands pictures to the language model too, and save it whole."},
    )
    freeze: list[str] = field(
        default_factory=lambda: ["family"],
        metadata={"help": "Modules a full run leaves alone; family: what looks at the picture, before the projector."},
    )
    traceback: bool = field(default=False, metadata={"help": "Show the whole error where memory was short."})


@calm(go_on="To go on from the last checkpoint, run the same command with --resume_from_checkpoint true.")
def main() -> None:
    with wrong_use():
        script, training, model_args, ours = given = arguments.read_settings(ScriptArguments, Tuning, ModelConfig, Ours)
        for line in arguments.idle(*given):
            print(line)
        checkpoint = run.checkpoint_to_resume(training.resume_from_checkpoint, training.output_dir)
    writable(training.output_dir)
    model_args.model_name_or_path = whole(model_args.model_name_or_path)

    # What of a row is learnt, and in which order rows come
    with wrong_use():
        processor = run.load_processor(model_args)
        train, test = read_rows(script, training, ours)
        collator = make_collator(processor, train, training, ours)
    train, test = arrange(train, test, collator, training, ours)

    # The model: what is quantised, what is trained
    with error_messages.enough_memory(training, model_args, collator, traceback=ours.traceback):
        with wrong_use():
            model = load_model(model_args, checkpoint)
            if ours.pack:
                collator.attention = attend_to_trees(model, training)
            projector = lora.projector(model, family_of(processor).projector)
            adapter = choose_trained(model, model_args, ours, projector)
            trainer = make_trainer(
                model=model,
                args=training,
                train_dataset=train,
                eval_dataset=test,
                data_collator=Telling(collator) if ours.skip_bad_rows else collator,
                processing_class=processor,
                peft_config=adapter,
            )
        lora.choose_precision(trainer.model)
        lora.check(trainer.model, adapter.modules_to_save or () if adapter else ())
        if trainer.is_world_process_zero():
            print(lora.table(trainer.model, projector))

        with error_messages.reading():
            result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_metrics("train", result.metrics)
    leave(trainer, collator, script, model_args)


def read_rows(script: ScriptArguments, training: Tuning, ours: Ours) -> tuple:
    """The rows to train on, and those to evaluate on where --eval_strategy asks for it."""
    train, test = run.load_rows(script, evaluate=training.eval_strategy != "no")
    if ours.images:
        train = attach_images(train, ours.images)
        test = attach_images(test, ours.images) if test is not None else None
    return tuple(
        run.trainable_rows(rows, text_only=ours.text_only, decode=not ours.skip_bad_rows) if rows is not None else None
        for rows in (train, test)
    )


def make_collator(processor: Any, train: Any, training: Tuning, ours: Ours) -> L2TCollator:
    run.refuse_idle_bounds(processor, ours.min_pixels, ours.max_pixels)
    collator = L2TCollator(
        processor,
        learn=ours.learn,
        templates=run.task_templates(ours.templates, train),
        max_length=training.max_length,
        text_only=ours.text_only,
        pack=ours.pack,
        boxes=ours.boxes,
        min_pixels=ours.min_pixels,
        max_pixels=ours.max_pixels,
        skip_bad=ours.skip_bad_rows,
        attention=Attention(),  # what rows are tried with, until the model is there to say what it asks for
    )
    print(f"{len(collator.templates)} task templates carry no loss: {'; '.join(collator.templates) or 'none'}")
    return collator


def arrange(train: Any, test: Any, collator: L2TCollator, training: Tuning, ours: Ours) -> tuple:
    """The rows in the order in which they come, once the first of them has been tried."""
    with error_messages.reading():
        run.try_first_rows(train, collator)
        if test is not None:
            run.try_first_rows(test, collator)
            if ours.skip_bad_rows and not batch_order.streams(test):
                test = skip_rows.usable(test, collator)
                print(told("evaluation", collator.skipped))
                collator.skipped.clear()
    how = {"alike": ours.alike, "pack": ours.pack, "branches": ours.branches}
    train = batch_order.arranged(train, training, **how)
    return train, batch_order.arranged_for_evaluation(test, **how) if test is not None else None


def load_model(model_args: ModelConfig, checkpoint: str | None) -> PreTrainedModel:
    """The model as the flags say, its weights from the checkpoint where a full run goes on."""
    name = model_args.model_name_or_path
    weights = run.weights_of(name, checkpoint)
    with error_messages.loading(name):
        config = AutoConfig.from_pretrained(name, revision=model_args.model_revision)
        return AutoModelForImageTextToText.from_pretrained(
            weights,
            revision=model_args.model_revision if weights == name else None,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
            quantization_config=lora.decoder_only(get_quantization_config(model_args), config),
        )


def attend_to_trees(model: PreTrainedModel, training: Tuning) -> Attention:
    """What the model asks of a tree's mask; on a CPU its SDPA becomes the sparse one, which gives the same and is faster there."""
    attention = attention_of(model)
    if attention.kernel == "sdpa" and training.device.type == "cpu":
        use_sparse_attention(model)
    return attention


def choose_trained(model: PreTrainedModel, model_args: ModelConfig, ours: Ours, projector: list[str]) -> Any:
    """The adapter's settings, for the language model alone unless told otherwise; `None` for a full run, its tower frozen."""
    adapter = get_peft_config(model_args)
    if adapter is None:
        lora.freeze(model, ours.freeze, projector)
        return None
    if adapter.target_modules is None:
        adapter.target_modules = lora.lora_targets(model)
    if ours.train_projector and not projector:
        raise ModelError(f"{type(model).__name__} is of no known family: name its projector with --lora_modules_to_save.")
    if ours.train_projector:
        adapter.modules_to_save = [*(adapter.modules_to_save or ()), *projector]
    return adapter


def make_trainer(**parts: Any) -> Tuner | PlainTuner:
    """TRL's trainer, or transformers' own for the families that TRL's cannot train."""
    with error_messages.agreeing():
        trainer = (Tuner if family_of(parts["processing_class"]).trl else PlainTuner)(**parts)
    quiet_progress(trainer)
    return trainer


def leave(trainer: Tuner | PlainTuner, collator: L2TCollator, script: ScriptArguments, model_args: ModelConfig) -> None:
    """Save what was tuned with all that serving needs, draw its card, and push it if asked to."""
    training, folder = trainer.args, trainer.args.output_dir
    trainer.save_model()
    trainer.save_state()
    collator.processor.save_pretrained(folder)
    run.write_conventions(folder, collator, script.dataset_name, model_args, merge.loaded_as(trainer.model))
    if trainer.is_world_process_zero():
        print(trainer.counted)
        print(f"{folder} holds the tuned model.")
        write_model_card(folder, {**training.to_dict(), "pack": collator.pack})
        if training.push_to_hub:
            print(f"Pushed: {push_model(folder, trainer.hub_model_id, token=training.hub_token)}")


if __name__ == "__main__":
    main()
