"""The tiny LLaVA: lossless tokenizer, boxes in few tokens, files that the Auto classes load, a tower that can be taught."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comvint_hf.errors import InputError
from comvint_hf.sources.shapes import scenes
from comvint_hf.training.tiny_model import build_model, build_processor, make_tiny_model, train_tokenizer

BOX = "The <st>red circle<ed>[0.031, 0.365, 0.302, 0.635]."


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([BOX, "Where is the red circle?", "Red circle at 0.302"] * 3)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.lists(st.sampled_from([BOX, " <st>", "0.5, 1", "\n\n", "naïve", "日本", " "])).map("".join))
def test_any_text_comes_back(tokenizer, text):
    special = set(tokenizer.all_special_tokens)
    if not any(token in text for token in special):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_box_costs_a_token_a_number(tokenizer):
    box = "<ed>[0.031, 0.365, 0.302, 0.635]"
    assert tokenizer.tokenize(box) == ["<ed>[", "0.031,Ġ", "0.365,Ġ", "0.302,Ġ", "0.635", "]"]


def test_kin_start_together_and_strangers_apart(tokenizer):
    import torch

    weights = build_model(build_processor(tokenizer)).get_input_embeddings().weight
    red, spaced, circle = (weights[tokenizer.convert_tokens_to_ids(token)] for token in ("Red", "Ġred", "Ġcircle"))
    assert torch.dist(red, spaced) < 0.3 < torch.dist(red, circle)


def test_folder_loads_with_auto_classes_and_is_the_same_again(tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

    one, two = (make_tiny_model(tmp_path / name, [BOX] * 3, seed=3) for name in "ab")
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert (one / "tokenizer.json").read_bytes() == (two / "tokenizer.json").read_bytes()
    processor, model = AutoProcessor.from_pretrained(one), AutoModelForImageTextToText.from_pretrained(one)
    assert isinstance(model, LlavaForConditionalGeneration)
    assert type(processor.image_processor).__name__ == "SiglipImageProcessorPil"
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert sum(parameter.numel() for parameter in model.parameters()) < 2_000_000


def test_model_answers_an_image_and_a_template_marks_the_answer(tokenizer):
    processor = build_processor(tokenizer)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where is it?"}]}]
    answered = [*asked, {"role": "assistant", "content": BOX}]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True)
    assert processor.apply_chat_template(answered) == f"{prompt}{BOX}<|end|>"
    batch = processor(text=[prompt], images=[next(scenes(1)).open()], return_tensors="pt")
    assert (batch["input_ids"] == processor.image_token_id).sum() == 9
    assert build_model(processor).generate(**batch, max_new_tokens=3).shape[1] <= batch["input_ids"].shape[1] + 3
    marked = processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": "Where is it?"}, answered[1]],
        chat_template=processor.chat_template,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    learnt = [token for token, mark in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mark]
    assert processor.tokenizer.decode(learnt) == f"{BOX}<|end|>"


def test_tower_learns_what_lies_where(tokenizer):
    import torch

    from comvint_hf.training.tiny_vision import pretrain_vision_tower

    torch.manual_seed(0)
    processor = build_processor(tokenizer)
    model = build_model(processor)
    lessons = list(scenes(1200, level="single"))
    few, many = (pretrain_vision_tower(model, processor, taught, batch_size=8) for taught in (lessons[:40], lessons))
    assert many["box_error"] < 0.5 * few["box_error"]


def test_scenes_without_boxes_teach_nothing(tokenizer):
    from comvint_hf.training.tiny_vision import pretrain_vision_tower

    bare = [scene.model_copy(update={"objects": (), "texts": ()}) for scene in scenes(2)]
    processor = build_processor(tokenizer)
    with pytest.raises(InputError, match="no object with a box"):
        pretrain_vision_tower(build_model(processor), processor, bare)
