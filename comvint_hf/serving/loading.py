"""Load a model to talk with: an adapter on its base, or a whole model, from a folder or the Hub.

Knows transformers' and peft's files, and the conventions beside them; what is then said to the model it does not know.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import FILE, Conventions
from comvint_hf.dataset.locate import require_place
from comvint_hf.errors import ModelError, first_line
from comvint_hf.model_families import load_processor
from comvint_hf.serving.local import LocalChat

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


def load_chat(
    model: str | Path,
    *,
    base: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    max_new_tokens: int = 512,
) -> LocalChat:
    """Load a model to talk with: an adapter (folder or Hub id) on its base, or a merged or full model.

    The adapter names its base; `base` says another place for it. `device` is "cuda" where there is one, else "cpu";
    `dtype` is bfloat16 on cuda, else float32. The `comvint.json` beside the model says how it writes boxes and how large
    pictures may be. Raises `ModelError` if something is missing or does not fit.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    if not hasattr(torch, dtype) or not isinstance(getattr(torch, dtype), torch.dtype):
        raise ModelError(f"dtype is {dtype!r}; expected float32, bfloat16 or float16.")
    conventions = read_conventions(model)
    place, revision = base_of(model, base, conventions)
    loaded = _model(place, revision, getattr(torch, dtype))
    processor = processor_of(model, place, revision)
    if place != str(model):
        loaded = _adapted(loaded, str(model))
    _check_fit(loaded, processor, str(model))
    return LocalChat(loaded.to(device), processor, conventions, name=Path(model).name, max_new_tokens=max_new_tokens)


def find_model(model: str | Path, base: str | Path | None = None) -> None:
    """Raise `ModelError` if there is no such model or adapter, or no base of it; weights are not read for this."""
    place, revision = base_of(model, base, read_conventions(model))
    if place != str(model):
        require_place(place)
    if _file(place, "config.json", revision) is None:
        raise ModelError(
            f"{place} has no config.json, so it is no model; expected a folder that training wrote, or a Hub id like org/name."
        )


def read_conventions(model: str | Path, *, required: bool = False) -> Conventions:
    """The conventions beside a model, in a folder or on the Hub; the defaults where it has none, unless `required`."""
    require_place(str(model))
    found = _file(model, FILE)
    if required and not found:
        raise ModelError(
            f"{model} has no {FILE}; expected the folder or Hub id of what was tuned, which says how it writes boxes."
        )
    return Conventions.read(Path(found).parent) if found else Conventions()


def check_device(device: str) -> None:
    """Raise `ModelError` for a device that is not here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The device {device!r} cannot be used ({first_line(error)}); expected cpu, cuda or cuda:1, say."
        ) from error


def base_of(model: str | Path, base: str | Path | None, conventions: Conventions) -> tuple[str, str | None]:
    """Where the weights lie, and their revision: the model itself unless it is an adapter. Raises `ModelError`."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if not str(model or "").strip():
        raise ModelError("No model is named; expected a folder or a Hub id like org/name.")
    try:
        adapter = find_adapter_config_file(str(model))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{model} is neither a folder here nor a model on the Hub ({first_line(error)}); check its name."
        ) from error
    if adapter is None:
        if base is not None:
            raise ModelError(f"{model} has no adapter_config.json, so it is a whole model; leave out --base {base}.")
        return str(model), None
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(str(model))
    named = base or config.base_model_name_or_path or conventions.base_model
    if not named:
        raise ModelError(f"{adapter} does not name its base model; say it with --base.")
    revision = None if base else config.revision or conventions.base_revision
    return str(named), revision


def _model(place: str, revision: str | None, dtype: Any) -> PreTrainedModel:
    from transformers import AutoModelForImageTextToText

    try:
        return AutoModelForImageTextToText.from_pretrained(place, revision=revision or "main", dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The model {place} cannot be loaded ({first_line(error)}); expected a folder or Hub id of an image-text-to-text "
            "model. If the base has moved, say where with --base."
        ) from error


def processor_of(model: str | Path, base: str, revision: str | None) -> ProcessorMixin:
    """The model's own processor, else its base's. Raises `ModelError`."""
    own = _file(model, "processor_config.json") or _file(model, "preprocessor_config.json")
    place, revision = (str(model), None) if own else (base, revision)
    try:
        processor = load_processor(place, revision)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"The processor of {place} cannot be loaded ({first_line(error)}); some need torchvision, which must fit the installed torch, and the "
            "PIL image processors do not."
        ) from error
    if not getattr(processor, "chat_template", None) and not getattr(
        getattr(processor, "tokenizer", None), "chat_template", None
    ):
        raise ModelError(f"The processor of {place} has no chat template, so nobody knows how its model is spoken to; add one.")
    return processor


def _adapted(base: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """The base with the adapter. Merged where that is exact: into full-precision weights, not into quantised ones."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # PEFT only warns where a weight of the adapter was not found, and goes on with a random one.
            warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
            joined = PeftModel.from_pretrained(base, adapter)
    except (OSError, ValueError, RuntimeError, KeyError, UserWarning) as error:
        raise ModelError(
            f"The adapter {adapter} does not fit its base ({first_line(error)}); say the right one with --base."
        ) from error
    return joined if getattr(base, "is_quantized", False) else joined.merge_and_unload()


def _check_fit(model: PreTrainedModel, processor: ProcessorMixin, name: str) -> None:
    rows, tokens = model.get_input_embeddings().weight.shape[0], len(processor.tokenizer)
    if tokens > rows:
        raise ModelError(
            f"{name}: the tokenizer has {tokens:,} tokens, the model {rows:,} embeddings; they are not of one piece."
        )


def _file(model: str | Path, name: str, revision: str | None = None) -> str | None:
    """A model's file in its folder or from the Hub, `None` if it has no such file."""
    from transformers.utils import cached_file

    try:
        return cached_file(
            str(model),
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except OSError:
        # Not a repository at all: the model's own loading says so, with its reason.
        return None
