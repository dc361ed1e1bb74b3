"""What goes wrong while tuning ends in a sentence, and too little memory in the flags that would help."""

from types import SimpleNamespace

import pytest
import torch

from comvint_hf.errors import ModelError
from comvint_hf.training.error_messages import explain_memory_error, list_memory_flags


def settings(**changed):
    plain = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "gradient_checkpointing": False}
    return SimpleNamespace(**(plain | changed))


def collator(**changed):
    return SimpleNamespace(**({"pack": None, "processor": SimpleNamespace()} | changed))


WHOLE, SMALL = SimpleNamespace(load_in_4bit=False), SimpleNamespace(load_in_4bit=True)


def test_only_flags_that_would_change_something_are_named() -> None:
    first = list_memory_flags(settings(), WHOLE, collator())
    assert first[:2] == ["--gradient_checkpointing true", "--per_device_train_batch_size 4 --gradient_accumulation_steps 4"]
    assert any("--pack tree" in way for way in first) and any("--load_in_4bit" in way for way in first)
    tiled = SimpleNamespace(do_image_splitting=True)
    tight = settings(per_device_train_batch_size=1, gradient_checkpointing=True)
    assert list_memory_flags(tight, SMALL, collator(pack="tree", processor=tiled)) == [
        "--branches with fewer rows per tree",
        "--max_length with fewer tokens, which leaves out longer rows",
        "--max_pixels with fewer pixels per image",
    ]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"), MemoryError(), "real"], ids=str
)
def test_too_little_memory_is_known_by_any_name(error) -> None:
    said = "There was not enough memory .*Least costly first: --gradient_checkpointing"
    with pytest.raises(ModelError, match=said) as raised, explain_memory_error(settings(), WHOLE, collator()):
        if error == "real":
            torch.empty(2**60, dtype=torch.uint8)
        raise error
    assert "\n" not in str(raised.value)


def test_other_errors_go_their_way() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explain_memory_error(settings(), WHOLE, collator()):
        raise RuntimeError("shapes do not match")
