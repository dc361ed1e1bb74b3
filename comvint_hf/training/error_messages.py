"""What can go wrong while tuning, each said in a sentence: settings, models, rows and memory.

This file knows what libraries raise and which flags help; it does none of the work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comvint_hf.errors import ComvintError, EndpointError, InputError, ModelError, RowError, first_line
from comvint_hf.image_geometry import keeps_resolution

if TYPE_CHECKING:
    from transformers import TrainingArguments
    from trl import ModelConfig

    from comvint_hf.training.collator import L2TCollator


@contextmanager
def agreeing() -> Iterator[None]:
    """Say in a sentence why the trainer refuses its settings. Raises `InputError`, and `EndpointError` where no Hub answers."""
    import httpx2

    try:
        yield
    except ComvintError:
        raise
    except httpx2.TransportError as error:
        raise EndpointError(
            f"The Hub cannot be reached ({first_line(error)}), where --push_to_hub makes the model's repository before training: leave "
            "it out, and push afterwards with `comvint push DIR ORG/NAME`."
        ) from error
    except (ValueError, ImportError, OSError) as error:
        raise InputError(
            f"The trainer refuses these settings ({first_line(error)}); change them, in --config or as flags."
        ) from error


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Say in a sentence why a model or its processor cannot be loaded. Raises `ModelError`."""
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
def reading() -> Iterator[None]:
    """Say in a sentence what stopped the work on rows, also where it happened in a worker process. Raises `RowError`."""
    try:
        yield
    except RowError as error:
        raise RowError(_own_words(error)) from error
    except OSError as error:
        raise RowError(
            f"A row or a file could not be read or written ({_own_words(error)}): mend the picture or drop its row, or look for room "
            "on the disk. A saved checkpoint goes on with --resume_from_checkpoint true."
        ) from error


@contextmanager
def enough_memory(
    training: TrainingArguments, model: ModelConfig, collator: L2TCollator, *, traceback: bool = False
) -> Iterator[None]:
    """Say which flags take less memory where there was not enough; with `traceback` the error goes on with that as a note.

    Raises `ModelError`.
    """
    from accelerate.utils.memory import should_reduce_batch_size

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not should_reduce_batch_size(error):
            raise
        told = f"There was not enough memory ({first_line(error)}). Least costly first: {'; '.join(lighter(training, model, collator))}."
        if traceback:
            error.add_note(told)
            raise
        raise ModelError(
            f"{told} A saved checkpoint goes on with --resume_from_checkpoint true; --traceback true shows more."
        ) from error


def lighter(training: TrainingArguments, model: ModelConfig, collator: L2TCollator) -> list[str]:
    """The flags that would take less memory than these settings, those first that change the least of what is learnt."""
    rows, steps = training.per_device_train_batch_size, training.gradient_accumulation_steps
    free = keeps_resolution(collator.processor)
    ways = {
        "--gradient_checkpointing true": not training.gradient_checkpointing,
        f"--per_device_train_batch_size {max(1, rows // 2)} --gradient_accumulation_steps {steps * 2}": rows > 1,
        "--pack tree, which reads the picture of several rows once": collator.pack is None,
        "--branches with fewer rows a tree": collator.pack is not None,
        "--max_length with fewer tokens, which leaves out longer rows": True,
        "--max_pixels with fewer pixels a picture": free,
        "a model or processor that takes smaller pictures": not free,
        "--use_peft --load_in_4bit --dtype bfloat16": not model.load_in_4bit,
    }
    return [way for way, helps in ways.items() if helps]


def _own_words(error: Exception) -> str:
    """An error's message; of one from a worker process, whose message is a whole traceback, the last line."""
    message = str(error).strip()
    if "\n" not in message:
        return message
    return re.sub(r"^[\w.]+: ", "", message.splitlines()[-1])
