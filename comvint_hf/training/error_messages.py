"""Errors of libraries during training, turned into one sentence that names the flags which help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comvint_hf.errors import ComvintError, EndpointError, InputError, ModelError, RowError, first_line
from comvint_hf.image_geometry import has_dynamic_resolution

if TYPE_CHECKING:
    from transformers import TrainingArguments
    from trl import ModelConfig

    from comvint_hf.training.collator import L2TCollator


@contextmanager
def explain_trainer_error() -> Iterator[None]:
    """Explain why the trainer refuses its settings. Raises `InputError`, and `EndpointError` where the Hub cannot be reached."""
    import httpx2

    try:
        yield
    except ComvintError:
        raise
    except httpx2.TransportError as error:
        raise EndpointError(
            f"The Hub cannot be reached ({first_line(error)}), and --push_to_hub creates the model's repository before training: leave "
            "it out, and push afterwards with `comvint push DIR ORG/NAME`."
        ) from error
    except (ValueError, ImportError, OSError) as error:
        raise InputError(
            f"The trainer refuses these settings ({first_line(error)}); change them, in --config or as flags."
        ) from error


@contextmanager
def explain_model_loading_error(name: str) -> Iterator[None]:
    """Explain why a model or its processor cannot be loaded. Raises `ModelError`."""
    try:
        yield
    except ComvintError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"The model {name} cannot be loaded ({first_line(error)}); expected a folder or a Hub name of an image-text-to-text "
            "model with its processor."
        ) from error


@contextmanager
def explain_row_error() -> Iterator[None]:
    """Explain an error about rows, also one from a worker process. Raises `RowError`."""
    try:
        yield
    except RowError as error:
        raise RowError(_last_line(error)) from error
    except OSError as error:
        raise RowError(
            f"A row or a file could not be read or written ({_last_line(error)}): repair the image or drop its row, or free some "
            "disk space. Continue from a saved checkpoint with --resume_from_checkpoint true."
        ) from error


@contextmanager
def explain_memory_error(
    training_args: TrainingArguments, model_args: ModelConfig, collator: L2TCollator, *, traceback: bool = False
) -> Iterator[None]:
    """Name the flags that need less memory where there was not enough. Raises `ModelError`.

    With `traceback` the original error is raised instead, with the sentence as a note.
    """
    from accelerate.utils.memory import should_reduce_batch_size

    try:
        yield
    # Backends report missing memory as RuntimeErrors of many wordings; accelerate knows them.
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not should_reduce_batch_size(error):
            raise
        flags = "; ".join(list_memory_flags(training_args, model_args, collator))
        message = f"There was not enough memory ({first_line(error)}). Least costly first: {flags}."
        if traceback:
            error.add_note(message)
            raise
        raise ModelError(
            f"{message} Continue from a saved checkpoint with --resume_from_checkpoint true; --traceback true shows more."
        ) from error


def list_memory_flags(training_args: TrainingArguments, model_args: ModelConfig, collator: L2TCollator) -> list[str]:
    """List the flags that would need less memory than these settings, those first that change the training least."""
    rows, steps = training_args.per_device_train_batch_size, training_args.gradient_accumulation_steps
    resizable = has_dynamic_resolution(collator.processor)
    flags = {
        "--gradient_checkpointing true": not training_args.gradient_checkpointing,
        f"--per_device_train_batch_size {max(1, rows // 2)} --gradient_accumulation_steps {steps * 2}": rows > 1,
        "--pack tree, which encodes the image of several rows once": collator.pack is None,
        "--branches with fewer rows per tree": collator.pack is not None,
        "--max_length with fewer tokens, which leaves out longer rows": True,
        "--max_pixels with fewer pixels per image": resizable,
        "a model or processor that takes smaller images": not resizable,
        "--use_peft --load_in_4bit --dtype bfloat16": not model_args.load_in_4bit,
    }
    return [flag for flag, helps in flags.items() if helps]


def _last_line(error: Exception) -> str:
    """An error from a worker process has a whole traceback as its message; its last line is the original message."""
    message = str(error).strip()
    if "\n" not in message:
        return message
    return re.sub(r"^[\w.]+: ", "", message.splitlines()[-1])
