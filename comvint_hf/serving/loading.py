"""Load a model to chat with: an adapter on its base model or a full model, from a folder or the Hub."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import FILE, Conventions
from comvint_hf.dataset.locate import check_exists
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
    """Load a model to chat with.

    The `comvint.json` beside the model says how it writes boxes and how large images may be.

    Args:
        model: An adapter, a merged or a full model: a folder or a Hub id.
        base: The adapter's base model, if it is not where the adapter says.
        device: The device, by default "cuda" if there is one, else "cpu".
        dtype: The dtype, by default "bfloat16" on cuda, else "float32".
        max_new_tokens: The longest answer.

    Raises:
        ModelError: If something is missing or does not fit.
    """
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    if not hasattr(torch, dtype) or not isinstance(getattr(torch, dtype), torch.dtype):
        raise ModelError(f"dtype is {dtype!r}; expected float32, bfloat16 or float16.")
    conventions = read_conventions(model)
    base_model, revision = resolve_base(model, base, conventions)
    loaded = _load_base(base_model, revision, getattr(torch, dtype))
    processor = load_model_processor(model, base_model, revision)
    if base_model != str(model):
        loaded = _load_adapter(loaded, str(model))
    _check_vocabulary_size(loaded, processor, str(model))
    loaded.to(device)  # type: ignore[arg-type]  # transformers hides nn.Module.to behind an untyped decorator
    return LocalChat(loaded, processor, conventions, name=Path(model).name, max_new_tokens=max_new_tokens)


def check_model(model: str | Path, base: str | Path | None = None) -> None:
    """Raise `ModelError` if a model, adapter or its base does not exist. Reads no weights."""
    base_model, revision = resolve_base(model, base, read_conventions(model))
    if base_model != str(model):
        check_exists(base_model)
    if _find_file(base_model, "config.json", revision) is None:
        raise ModelError(
            f"{base_model} has no config.json, so it is not a model; expected a folder that training wrote, or a Hub id like org/name."
        )


def read_conventions(model: str | Path, *, required: bool = False) -> Conventions:
    """Read the conventions of a model, in a folder or on the Hub; the defaults if it has none, unless they are `required`."""
    check_exists(str(model))
    found = _find_file(model, FILE)
    if required and not found:
        raise ModelError(
            f"{model} has no {FILE}, which says how it writes boxes; expected the folder or Hub id of a model tuned with comvint_hf."
        )
    return Conventions.read(Path(found).parent) if found else Conventions()


def check_device(device: str) -> None:
    """Raise `ModelError` for a device that this machine does not have."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The device {device!r} cannot be used ({first_line(error)}); expected a name like cpu, cuda or cuda:1."
        ) from error


def resolve_base(model: str | Path, base: str | Path | None, conventions: Conventions) -> tuple[str, str | None]:
    """Return the model whose weights are loaded first, and its revision: an adapter's base, or the model itself."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if not str(model or "").strip():
        raise ModelError("No model is named; expected a folder or a Hub id like org/name.")
    try:
        adapter = find_adapter_config_file(str(model))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{model} is neither a local folder nor a model on the Hub ({first_line(error)}); check its name."
        ) from error
    if adapter is None:
        if base is not None:
            raise ModelError(f"{model} has no adapter_config.json, so it is a full model; leave out --base {base}.")
        return str(model), None
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(str(model))
    named = base or config.base_model_name_or_path or conventions.base_model
    if not named:
        raise ModelError(f"{adapter} does not name its base model; name it with --base.")
    # The recorded revision belongs to the repository that the adapter names.
    revision = None if base else config.revision or conventions.base_revision
    return str(named), revision


def _load_base(model: str, revision: str | None, dtype: Any) -> PreTrainedModel:
    from transformers import AutoModelForImageTextToText

    try:
        return AutoModelForImageTextToText.from_pretrained(
            model, revision=revision or "main", dtype=dtype, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The model {model} cannot be loaded ({first_line(error)}); expected a folder or Hub id of an image-text-to-text "
            "model. If the base has moved, say where it is with --base."
        ) from error


def load_model_processor(model: str | Path, base: str, revision: str | None) -> ProcessorMixin:
    """Load the processor of a model, or of its base if it has none."""
    own = _find_file(model, "processor_config.json") or _find_file(model, "preprocessor_config.json")
    name, revision = (str(model), None) if own else (base, revision)
    try:
        processor = load_processor(name, revision)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"The processor of {name} cannot be loaded ({first_line(error)}). Some processors need torchvision in the version "
            "that fits the installed torch."
        ) from error
    if not getattr(processor, "chat_template", None) and not getattr(
        getattr(processor, "tokenizer", None), "chat_template", None
    ):
        raise ModelError(f"The processor of {name} has no chat template, which conversations are written with; add one.")
    return processor


def _load_adapter(base: PreTrainedModel, adapter: str) -> PreTrainedModel:
    """Load an adapter on its base, merged unless the weights are quantised, where merging is not exact."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # PEFT only warns about missing weights of the adapter, and leaves them random.
            warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
            adapted: Any = PeftModel.from_pretrained(base, adapter)
    except (OSError, ValueError, RuntimeError, KeyError, UserWarning) as error:
        raise ModelError(
            f"The adapter {adapter} does not fit its base ({first_line(error)}); name the right one with --base."
        ) from error
    return adapted if getattr(base, "is_quantized", False) else adapted.merge_and_unload()


def _check_vocabulary_size(model: PreTrainedModel, processor: ProcessorMixin, name: str) -> None:
    embeddings: Any = model.get_input_embeddings()
    rows, tokens = embeddings.weight.shape[0], len(processor.tokenizer)
    if tokens > rows:
        raise ModelError(
            f"{name}: the tokenizer has {tokens:,} tokens and the model {rows:,} embeddings; they belong to different models."
        )


def _find_file(model: str | Path, name: str, revision: str | None = None) -> str | None:
    """Find a file of a model in its folder or on the Hub; `None` if it has no such file."""
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
        # There is no such repository; loading the model raises the error with its reason.
        return None
