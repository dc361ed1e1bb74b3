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
    "no picture": ([row_of("what?", "a", image_id="coco/1")], "has no image: expected"),
    "no messages": ([{"images": []}], "has no messages"),
    "empty": ([{"messages": []}], "has no messages"),
    "role": ([{"messages": [{"role": "human", "content": "a"}]}], "role 'human'"),
    "no answer": ([row_of("what?")], "ends with a user message"),
    "blank answer": ([row_of("what?", " \n")], "empty answer"),
    "no content": ([{"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "a"}]}], "content None"),
    "part": (
        [{"messages": [{"role": "user", "content": [{"type": "video"}]}, {"role": "assistant", "content": "a"}]}],
        "'video'",
    ),
    "private use": ([row_of("what\U00100003?", "a")], "private-use"),
    "name": ([row_of("what?", "", id="svit/7")], "Row 'svit/7'"),
    "list": ([[row_of("what?", "a")]], "Row 0 of the batch is a list"),
    "one row, not a list": (row_of("what?", "a"), "Row 0 of the batch is a str"),
    "turns of text": ([{"messages": ["what?", "a"]}], "malformed messages"),
    "parts of text": ([{"messages": [{"role": "user", "content": ["a"]}, {"role": "assistant", "content": "a"}]}], "type 'a'"),
    "path": ([row_of("what?", "a", images=["/nope.jpg"])], "No such file or directory: '/nope.jpg'"),
    "no image": ([row_of("what?", "a", images=[None])], "is of type NoneType: expected a PIL image"),
    "number": ([row_of("what?", "a", images=[7])], "is of type int: expected a PIL image"),
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


def test_preview_of_a_list_says_that_it_takes_one_row(processor_of) -> None:
    with pytest.raises(RowError, match=r"is a list: expected a dict .* preview and check take one row"):
        L2TCollator(processor_of("chatml")).preview([row_of("a", "b")])


STYLES = ["chatml", "llava", "llama3", "gemma", "mistral", "zephyr"]


@pytest.mark.parametrize("learn", ["instruction+response", "response"])
@pytest.mark.parametrize("name", STYLES)
def test_control_tokens_in_a_text_are_refused_by_name(name, learn, processor_of) -> None:
    """`</s>` in an answer would teach the model to stop there, `<|im_start|>` in a question would begin another turn."""
    for kind in ("byte", "metaspace"):
        processor = processor_of(name, kind)
        collate = L2TCollator(processor, learn=learn)
        special = {str(token) for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
        assert {"</s>", "<|im_end|>", "[INST]", "<|user|>"} <= special
        for token in special - {"<image>"}:
            for texts in ((f"what {token}?", "a"), ("what?", f"a{token}"), ("what?", "a", token, "b")):
                with pytest.raises(RowError) as refusal:
                    collate([row_of(*texts)])
                assert f"literal {token} in its text" in str(refusal.value) and "control token" in str(refusal.value)
        assert collate.check(row_of(*(token[:-1] for token in ("</s>", "<|im_end|>")))) is None


def test_markers_of_the_house_may_be_special_tokens(processor_of) -> None:
    from copy import deepcopy

    processor = deepcopy(processor_of("chatml"))
    processor.tokenizer.add_special_tokens({"extra_special_tokens": ["<st>", "<ed>", "<mine>"]})
    collate = L2TCollator(processor)
    assert collate.check(row_of("where?", "<st>a cup<ed>[0.100, 0.200, 0.300, 0.400]")) is None
    assert "add_tokens" in collate.check(row_of("where?", "<mine>"))


def test_a_bare_tokenizer_takes_text_and_refuses_images(processor_of, image) -> None:
    """Templates of text models take strings, those of multimodal ones parts; a template that is not asked rightly says repr."""
    from copy import copy

    rows = [row_of("what?", "a", "and now?", "b"), row_of("why?", "because")]
    for name in STYLES:
        processor = processor_of(name)
        tokenizer = copy(processor.tokenizer)
        tokenizer.chat_template = processor.chat_template
        found, wanted = L2TCollator(tokenizer)(rows), L2TCollator(processor)(rows)
        assert all(found[key].equal(wanted[key]) for key in wanted)
        with pytest.raises(ModelError, match=r"Row 0 of the batch has an image and .* takes text only: give .* processor"):
            L2TCollator(tokenizer)([row_of("what?", "a", images=[image])])
    written = "{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}"
    tokenizer.chat_template = (
        f"{{% for m in messages %}}{written}{{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
    )
    found, wanted = L2TCollator(tokenizer)(rows), L2TCollator(processor_of("chatml"))(rows)
    assert all(found[key].equal(wanted[key]) for key in wanted)


def _without_answers(processor):
    """A template whose generation block is empty: a mistake that would train nothing."""
    from copy import copy

    processor = copy(processor)
    processor.chat_template = (
        "{% for m in messages %}{{ m.role }}:{% for p in m.content %}{{ p.text }}{% endfor %}"
        "{% generation %}{% endgeneration %}{% endfor %}"
    )
    return processor


def test_refuses_image_tokens_that_would_be_cut(processor_of, image) -> None:
    row = row_of("what?", "a", "and this?", "b", images=[image])
    with pytest.raises(RowError, match=r"4 of them image tokens, and max_length is 4, so image tokens would be cut"):
        L2TCollator(processor_of("chatml"), max_length=4)([row])
    length = L2TCollator(processor_of("chatml"))([row])["input_ids"].shape[1]
    assert L2TCollator(processor_of("chatml"), max_length=length)([row])["input_ids"].shape[1] == length
    with pytest.raises(RowError, match="max_length"):
        L2TCollator(processor_of("chatml"), max_length=length - 1)([row])


def test_images_and_image_parts_must_match(processor_of, image) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
    ]
    for images in ([], [image, image]):
        with pytest.raises(RowError, match=f"1 image parts in its messages and {len(images)} images"):
            L2TCollator(processor_of("chatml"))([{"images": images, "messages": messages}])


def test_a_broken_image_is_blamed_on_its_row(processor_of, tmp_path) -> None:
    from PIL import Image

    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 60).convert("RGB").save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[:1500])
    rows = [row_of("a", "b", images=[Image.open(whole)]), row_of("a", "b", images=[Image.open(tmp_path / "half.jpg")])]
    with pytest.raises(RowError, match="The image of Row 1 of the batch cannot be decoded"):
        L2TCollator(processor_of("chatml"))(rows)


def test_an_image_may_be_a_path_or_bytes(processor_of, tmp_path, image) -> None:
    image.save(tmp_path / "a.png")
    collate = L2TCollator(processor_of("chatml"))
    kinds = (tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), {"path": str(tmp_path / "a.png")})
    wanted = collate([row_of("a", "b", images=[image])])["pixel_values"]
    assert all(collate([row_of("a", "b", images=[kind])])["pixel_values"].equal(wanted) for kind in kinds)


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
