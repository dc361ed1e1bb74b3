"""What the collator refuses, and that it says so in one sentence."""

from __future__ import annotations

import pytest

from comvint_hf import L2TCollator
from comvint_hf.errors import InputError, ModelError, RowError

TASK = "Answer with yes or no."


def row_of(*texts: str, **more) -> dict:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)], **more}


def test_a_processor_that_writes_more_than_the_template_is_refused(processor_of) -> None:
    """Its tokens are of another text, so their characters would be somebody else's."""
    from transformers import LlavaProcessor

    class Adding(LlavaProcessor):
        def __call__(self, images=None, text=None, **kwargs):
            return super().__call__(images=images, text=[f"<s>{one}" for one in text], **kwargs)

    told = processor_of("chatml")
    adding = Adding(told.image_processor, told.tokenizer, patch_size=16, chat_template=told.chat_template)
    with pytest.raises(ModelError, match="rewrites the text, so the loss cannot be placed"):
        L2TCollator(adding)([row_of("what?", "a")])


REFUSED = {
    "no loss": ([row_of("Answer with yes or no.", "x")], "No token of this batch carries loss"),
    "placeholder": ([row_of("what is <image>?", "a")], "literal <image>"),
    "placeholder in an answer": ([row_of("what?", "an <image>")], "literal <image>"),
    "long": ([row_of("what " * 60, "a")], "max_length"),
    "no picture": ([row_of("what?", "a", image_id="coco/1")], "brings no picture"),
    "no messages": ([{"images": []}], "has no messages"),
    "empty": ([{"messages": []}], "has no messages"),
    "role": ([{"messages": [{"role": "human", "content": "a"}]}], "role 'human'"),
    "no answer": ([row_of("what?")], "ends with a user turn"),
    "blank answer": ([row_of("what?", " \n")], "empty answer"),
    "no content": ([{"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "a"}]}], "content None"),
    "part": (
        [{"messages": [{"role": "user", "content": [{"type": "video"}]}, {"role": "assistant", "content": "a"}]}],
        "'video'",
    ),
    "private use": ([row_of("what\U00100003?", "a")], "private-use"),
    "name": ([row_of("what?", "", id="svit/7")], "Row 'svit/7'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_a_sentence(case, processor_of) -> None:
    rows, said = REFUSED[case]
    learn = "response" if case != "no loss" else "instruction+response"
    collate = L2TCollator(processor_of("chatml"), learn=learn, templates=[TASK], max_length=60)
    if case == "no loss":
        collate = L2TCollator(_without_answers(processor_of("chatml")), templates=[TASK])
    with pytest.raises(RowError) as refusal:
        collate(rows)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def _without_answers(processor):
    """A template whose generation block is empty: a mistake that would train nothing."""
    from copy import copy

    processor = copy(processor)
    processor.chat_template = (
        "{% for m in messages %}{{ m.role }}:{% for p in m.content %}{{ p.text }}{% endfor %}"
        "{% generation %}{% endgeneration %}{% endfor %}"
    )
    return processor


def test_refuses_image_tokens_that_would_be_cut(processor_of, picture) -> None:
    row = row_of("what?", "a", "and this?", "b", images=[picture])
    with pytest.raises(RowError, match=r"4 of them image tokens, and max_length is 4, image tokens among"):
        L2TCollator(processor_of("chatml"), max_length=4)([row])
    length = L2TCollator(processor_of("chatml"))([row])["input_ids"].shape[1]
    assert L2TCollator(processor_of("chatml"), max_length=length)([row])["input_ids"].shape[1] == length
    with pytest.raises(RowError, match="max_length"):
        L2TCollator(processor_of("chatml"), max_length=length - 1)([row])


def test_pictures_and_image_parts_must_match(processor_of, picture) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
    ]
    for images in ([], [picture, picture]):
        with pytest.raises(RowError, match=f"1 image parts in its messages and {len(images)} pictures"):
            L2TCollator(processor_of("chatml"))([{"images": images, "messages": messages}])


def test_a_broken_picture_is_blamed_on_its_row(processor_of, tmp_path) -> None:
    from PIL import Image

    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 60).convert("RGB").save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:1500])
    rows = [row_of("a", "b", images=[Image.open(whole)]), row_of("a", "b", images=[Image.open(tmp_path / "half.jpg")])]
    with pytest.raises(RowError, match="Row 1 of the batch has a picture that cannot be decoded"):
        L2TCollator(processor_of("chatml"))(rows)


def test_text_only_is_said_or_refused(processor_of) -> None:
    row = row_of("what?", "a", image_id="coco/1", images=[])
    assert L2TCollator(processor_of("chatml")).check(row).startswith("Row 0 of the batch belongs to image 'coco/1'")
    assert L2TCollator(processor_of("chatml"), text_only=True).check(row) is None
    assert "pixel_values" not in L2TCollator(processor_of("chatml"), text_only=True)([row])


def test_a_template_that_raises_names_the_row(processor_of) -> None:
    rows = [row_of("a", "b"), {"id": "x", "messages": [{"role": "system", "content": "s"}, *row_of("a", "b")["messages"]]}]
    with pytest.raises(RowError, match=r"Row 'x' is refused by the chat template: System role not supported"):
        L2TCollator(processor_of("gemma"))(rows)


def test_wrong_arguments_and_processors_are_refused(processor_of) -> None:
    from copy import copy, deepcopy

    with pytest.raises(InputError, match="learn is 'answers'"):
        L2TCollator(processor_of("chatml"), learn="answers")
    with pytest.raises(InputError, match="templates is one string"):
        L2TCollator(processor_of("chatml"), templates=TASK)
    with pytest.raises(InputError, match="pack is 'rows'"):
        L2TCollator(processor_of("chatml"), pack="rows")
    bare = copy(processor_of("chatml"))
    bare.chat_template = None
    with pytest.raises(ModelError, match="has no chat template"):
        L2TCollator(bare)([row_of("a", "b")])
    padless = deepcopy(processor_of("chatml"))
    padless.tokenizer.pad_token = None
    with pytest.raises(ModelError, match="no padding token"):
        L2TCollator(padless)([row_of("a", "b")])
