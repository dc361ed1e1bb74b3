"""Message trees in every model family: one sequence an image, with the loss and the gradients of separate rows, or a refusal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from training.tiny.families import LEARN, SAMPLE_IMAGE, TINY, collator_of, model_of, processor_of, row_of, talk
from training.tiny.trees import learns_as_rows, rows_of_images, tree_of

from comvint_hf.errors import ModelError, RowError
from comvint_hf.training.packing.masks import AttentionSettings, MasksByLayer, read_attention


def shares(name: str, learn: str) -> bool:
    return not TINY[name].family.qformer_reads_text and not (TINY[name].family.bidirectional_prefix and learn == "response")


@pytest.mark.parametrize(("name", "learn"), [(name, learn) for name in TINY for learn in LEARN if shares(name, learn)])
def test_loss_and_gradients_are_those_of_separate_rows(name, learn) -> None:
    """Two images a batch, whole and cut into several trees."""
    rows = rows_of_images()
    model = TINY[name].model(processor_of(name))
    whole = learns_as_rows(name, model, rows, learn=learn)
    assert len(whole["input_ids"]) == 2
    assert next(iter(whole)) == "input_ids", "trainers take the size of a batch from what comes first"
    longest = max(collator_of(name)([row])["input_ids"].shape[1] for row in rows)
    cut = learns_as_rows(name, model, rows, learn=learn, max_length=longest + 2)
    assert len(cut["input_ids"]) > 2 and cut["input_ids"].shape[1] <= longest + 2


@pytest.mark.parametrize(("name", "learn", "said"), [
    ("InstructBLIP", "response", "also reads the question, so two questions cannot share"),
    ("PaliGemma", "response", "image and question attend to each other where only answers are trained"),
])  # fmt: skip
def test_families_whose_rows_share_nothing_are_refused(name, learn, said) -> None:
    with pytest.raises(ModelError, match=said):
        collator_of(name, learn=learn, pack="tree")


def test_a_family_whose_windows_are_not_told_is_refused() -> None:
    with pytest.raises(ModelError, match="Some layers of Gemma 3 attend to a window.*collator.attention = read_attention"):
        collator_of("Gemma 3", pack="tree")(rows_of_images())


def test_what_an_unknown_processor_says_of_tokens_is_refused(monkeypatch) -> None:
    from comvint_hf import model_families

    collate = collator_of("Qwen2-VL", pack="tree")
    monkeypatch.delitem(model_families.FAMILIES, "Qwen2VLProcessor")
    with pytest.raises(
        ModelError, match=r"does not support the features of Qwen2VLProcessor \(image_grid_thw, mm_token_type_ids\)"
    ):
        collate(rows_of_images())


@pytest.mark.parametrize("name", [name for name in TINY if TINY[name].family.uses_mrope])
def test_positions_are_the_models_own(name) -> None:
    """Rows with one image, two, and none, against the model's `get_rope_index`."""
    wide = SAMPLE_IMAGE.resize((64, 20))
    rows = [
        row_of("a", "b"),
        {"images": [wide, SAMPLE_IMAGE], "messages": talk("What is it?", "x")},
        {"messages": talk("Who?", "me")},
    ]
    batch, tree = collator_of(name)(rows), tree_of(name, rows)
    wanted, _ = model_of(name).model.get_rope_index(
        batch["input_ids"], batch["mm_token_type_ids"], batch["image_grid_thw"], attention_mask=batch["attention_mask"]
    )
    assert torch.equal(tree["input_ids"], batch["input_ids"]), "a lone row is a tree of itself"
    assert torch.equal(tree["position_ids"], wanted)


WINDOWED = {
    "all layers": ("LLaVA-NeXT", {"sliding_window": 12}, torch.Tensor),
    "by layer": (
        "LLaVA-1.5, SigLIP",
        {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]},
        MasksByLayer,
    ),
    "with a grid": ("Qwen2-VL", {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}, MasksByLayer),
    "with blocks": ("Gemma 3", {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}, MasksByLayer),
    "wide enough": ("Gemma 3", {"sliding_window": 99, "layer_types": ["sliding_attention", "full_attention"]}, torch.Tensor),
}


@pytest.mark.parametrize("case", WINDOWED)
def test_windows_see_what_they_see_in_a_row(case) -> None:
    """Windows shorter than a row: of every layer, of some, where positions are of a grid, and where images see ahead."""
    name, settings, kind = WINDOWED[case]
    processor = processor_of(name)
    model = with_text(TINY[name].model(processor), settings)
    tree = learns_as_rows(name, model, rows_of_images())
    assert isinstance(tree["attention_mask"], kind)


def with_text(model, settings: dict):
    """The same model with other settings of its decoder."""
    for name, value in settings.items():
        setattr(model.config.get_text_config(), name, value)
    torch.manual_seed(0)
    return type(model)(model.config)


def test_a_window_over_a_prefix_that_sees_ahead_is_refused() -> None:
    """PaliGemma 2 lays its windows otherwise than a mask by layer could say."""
    narrow = AttentionSettings(windows=(("full_attention", None), ("sliding_attention", 16)))
    with pytest.raises(RowError, match="tokens long and some layers of the model have a window of 16"):
        tree_of("PaliGemma", rows_of_images(), narrow)
    tree_of("PaliGemma", rows_of_images(), AttentionSettings(windows=(("full_attention", None), ("sliding_attention", 64))))


def test_models_that_take_no_tree_are_refused() -> None:
    model = model_of("LLaVA-1.5, CLIP")
    assert read_attention(model) == AttentionSettings()
    settings = {"_attn_implementation": "sdpa", "sliding_window": None, "layer_types": None, "is_encoder_decoder": False}
    for changed, said in (
        ({"_attn_implementation": "eager"}, "needs SDPA or FlexAttention: the model uses 'eager'"),
        ({"layer_types": ["linear_attention", "full_attention"]}, "the model has linear_attention"),
        ({"is_encoder_decoder": True}, "has a text encoder"),
    ):
        text = SimpleNamespace(**settings | changed)
        text.get_text_config = lambda text=text: text
        with pytest.raises(ModelError, match=said):
            read_attention(SimpleNamespace(config=text))
