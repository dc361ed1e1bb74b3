"""Tune a multimodal model on instruction rows: TRL's SFTTrainer with L2TCollator.

python train/sft.py --config train/demo.yaml
python train/sft.py --model_name_or_path llava-hf/llava-1.5-7b-hf --dataset_name ORG/NAME --output_dir DIR \
    --use_peft --load_in_4bit --dtype bfloat16

Rows that cannot be trained on are left out and counted, and the model is checked for what is trained. BLIP-2 and InstructBLIP, which
TRL's trainer cannot train, are trained by transformers' Trainer with the same flags.
"""

from comvint_hf.cli.interrupts import guard_imports

guard_imports()

from typing import Any

from trl import ModelConfig, ScriptArguments

from comvint_hf import L2TCollator, attach_images
from comvint_hf.cli import handle_errors, usage_errors
from comvint_hf.cli.interrupts import leave_at_once
from comvint_hf.cli.output import PUSH_HINT
from comvint_hf.conventions import to_absolute
from comvint_hf.errors import make_output_folder
from comvint_hf.hub.model_card import write_model_card
from comvint_hf.hub.push import push_model
from comvint_hf.model_families import family_of
from comvint_hf.training import data_loading, lora, model_loading, sampling
from comvint_hf.training.arguments import L2TArguments, L2TConfig, find_unused_flags, parse_args
from comvint_hf.training.checkpoints import find_checkpoint
from comvint_hf.training.error_messages import explain_memory_error, explain_row_error, explain_trainer_error
from comvint_hf.training.merge import describe_base_loading
from comvint_hf.training.packing.masks import AttentionSettings
from comvint_hf.training.resuming import explain_saving_error
from comvint_hf.training.skip_counts import SkipCountingCollator, format_skip_counts, select_trainable_rows
from comvint_hf.training.trainer import L2TTrainer, TransformersTrainer, use_progress_lines


@handle_errors(resume_hint="To continue from a saved checkpoint, run the same command with --resume_from_checkpoint true.")
def main() -> None:
    # Parse
    with usage_errors():
        settings = parse_args(L2TArguments, ScriptArguments, ModelConfig, L2TConfig)
        l2t_args, script_args, model_args, training_args = settings
        for line in find_unused_flags(*settings):
            print(line)
        checkpoint = find_checkpoint(training_args.resume_from_checkpoint, training_args.output_dir, print)
    make_output_folder(training_args.output_dir)
    model_args.model_name_or_path = to_absolute(model_args.model_name_or_path)

    # Data
    with usage_errors():
        processor = model_loading.load_processor(model_args)
        train, test = load_rows(script_args, training_args, l2t_args)
        collator = make_collator(processor, train, training_args, l2t_args)
    train, test = prepare_rows(train, test, collator, training_args, l2t_args)

    # Model and trainer
    with explain_memory_error(training_args, model_args, collator, traceback=l2t_args.traceback):
        with usage_errors():
            model = model_loading.load_model(model_args, checkpoint)
            if l2t_args.pack:
                collator.attention = model_loading.prepare_tree_attention(model, training_args.device)
            projector = lora.find_projector_modules(model, family_of(processor).projector_paths)
            peft_config = lora.make_peft_config(model, model_args, projector, train_projector=l2t_args.train_projector)
            if peft_config is None:
                lora.freeze_modules(model, l2t_args.freeze, projector)
            trainer = make_trainer(
                model=model,
                args=training_args,
                train_dataset=train,
                eval_dataset=test,
                data_collator=SkipCountingCollator(collator) if l2t_args.skip_bad_rows else collator,
                processing_class=processor,
                peft_config=peft_config,
            )
        lora.set_trained_precision(trainer.model)
        lora.check_model(trainer.model, (peft_config and peft_config.modules_to_save) or ())
        if trainer.is_world_process_zero():
            print(lora.format_parameter_table(trainer.model, projector))

        # Train
        with explain_row_error():
            result = trainer.train(resume_from_checkpoint=checkpoint)

    # Save
    with explain_saving_error(training_args.output_dir):
        if trainer.was_finished:
            print(f"The run is finished: {checkpoint} holds step {result.global_step:,}, the last one, so no step was added.")
        else:
            trainer.save_metrics("train", result.metrics)
            trainer.save_state()
        save(trainer, collator, script_args, model_args)


def load_rows(script_args: ScriptArguments, training_args: L2TConfig, l2t_args: L2TArguments) -> tuple:
    """Load the rows to train on, and those to evaluate on where --eval_strategy asks for it."""

    def prepare(rows: Any) -> Any:
        if rows is None:
            return None
        rows = attach_images(rows, l2t_args.images) if l2t_args.images else rows
        return data_loading.select_columns(rows, text_only=l2t_args.text_only, decode=not l2t_args.skip_bad_rows)

    return tuple(map(prepare, data_loading.load_rows(script_args, evaluate=training_args.eval_strategy != "no")))


def make_collator(processor: Any, train: Any, training_args: L2TConfig, l2t_args: L2TArguments) -> L2TCollator:
    model_loading.check_pixel_bounds(processor, l2t_args.min_pixels, l2t_args.max_pixels)
    collator = L2TCollator(
        processor,
        learn=l2t_args.learn,
        templates=data_loading.load_templates(l2t_args.templates, train),
        max_length=training_args.max_length,
        text_only=l2t_args.text_only,
        pack=l2t_args.pack,
        boxes=l2t_args.boxes,
        min_pixels=l2t_args.min_pixels,
        max_pixels=l2t_args.max_pixels,
        skip_bad=l2t_args.skip_bad_rows,
        attention=AttentionSettings(),  # for the first rows, until the model is loaded
    )
    print(f"{len(collator.templates)} task templates carry no loss: {'; '.join(collator.templates) or 'none'}")
    return collator


def prepare_rows(train: Any, test: Any, collator: L2TCollator, training_args: L2TConfig, l2t_args: L2TArguments) -> tuple:
    """Check the first rows, leave bad rows out of the evaluation, and put all rows in order."""
    order = {"by_length": l2t_args.alike, "pack": l2t_args.pack, "branches": l2t_args.branches}
    with explain_row_error():
        data_loading.check_first_rows(train, collator)
        if test is not None:
            data_loading.check_first_rows(test, collator)
            if l2t_args.skip_bad_rows and not sampling.is_streaming(test):
                test = select_trainable_rows(test, collator)
                print(format_skip_counts("evaluation", collator.skipped))
                collator.skipped.clear()
            test = sampling.order_eval_rows(test, **order)
    return sampling.order_rows(train, training_args, **order), test


def make_trainer(**kwargs: Any) -> L2TTrainer | TransformersTrainer:
    """Make TRL's trainer, or transformers' own for the families that TRL's cannot train."""
    with explain_trainer_error():
        trainer = (L2TTrainer if family_of(kwargs["processing_class"]).supports_trl else TransformersTrainer)(**kwargs)
    use_progress_lines(trainer)
    return trainer


def save(
    trainer: L2TTrainer | TransformersTrainer, collator: L2TCollator, script_args: ScriptArguments, model_args: ModelConfig
) -> None:
    """Save the model with everything that serving needs, write its card, and push it if --push_to_hub is set."""
    training_args, folder = trainer.args, trainer.args.output_dir
    trainer.save_model()
    collator.processor.save_pretrained(folder)
    loading = describe_base_loading(trainer.model)
    model_loading.write_conventions(folder, collator, script_args.dataset_name, model_args, loading)
    if trainer.is_world_process_zero():
        print(trainer.skip_counts)
        print(f"{folder} holds the tuned model.")
        write_model_card(folder, {**training_args.to_dict(), "pack": collator.pack})
        if training_args.push_to_hub:
            with leave_at_once(PUSH_HINT):
                print(f"Pushed: {push_model(folder, trainer.hub_model_id, token=training_args.hub_token)}")


if __name__ == "__main__":
    main()
