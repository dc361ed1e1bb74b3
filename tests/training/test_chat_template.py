"""Chat templates of all kinds: followed exactly, or refused."""

from __future__ import annotations

import pytest
import torch

from comvint_hf import L2TCollator
from comvint_hf.errors import ModelError, RowError

STYLES = ["chatml", "llava", "llama3", "gemma", "mistral", "zephyr"]


def row_of(*texts: str, **more) -> dict:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)], **more}


@pytest.mark.parametrize("name", ["llava", "llama3", "mistral", "zephyr"])
def test_generation_blocks_and_our_own_rule_agree(name, processor_of, image) -> None:
    """Where a style's block ends with its end token, both ways of finding answers give the same labels."""
    messages = [
        {"role": role, "content": text}
        for role, text in [("user", "Is it?"), ("assistant", "yes"), ("user", "So?"), ("assistant", "no")]
    ]
    row = {"images": [image], "messages": messages}
    with_blocks, without = (L2TCollator(processor_of(name, generation=blocks))([row]) for blocks in (True, False))
    assert torch.equal(with_blocks["labels"], without["labels"])


def test_the_blank_after_the_header_is_learnt(processor_of) -> None:
    """`ASSISTANT:` is what serving ends its prompt with, so the blank behind it is the model's to write."""
    processor = processor_of("llava")
    batch = L2TCollator(processor, learn="response")([row_of("What?", "\n red")])
    learnt = processor.tokenizer.convert_ids_to_tokens(batch["labels"][0][batch["labels"][0] != -100].tolist())
    assert "".join(learnt) == "ĠĊĠred</s>"


def test_several_images_a_row_and_an_image_in_the_second_turn(processor_of, image) -> None:
    from copy import copy

    processor = copy(processor_of("chatml"))
    processor.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role + '\n' }}{% for p in m.content %}{% if p.type == 'image' %}<image>"
        "{% else %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant{{ '\n' }}{% endif %}"
    )
    parts = [{"type": "text", "text": "first"}, {"type": "image"}, {"type": "text", "text": "second"}]
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "which?"}]},
        {"role": "assistant", "content": "left"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "right"},
    ]
    preview = L2TCollator(processor).preview({"images": [image] * 3, "messages": messages})
    shown = "<image: 4 tokens>"
    assert preview.plain == (
        f"<|im_start|>user\n{shown}{shown}[[which?]]<|im_end|>\n<|im_start|>assistant\n[[left<|im_end|>]]\n"
        f"<|im_start|>user\n[[first]]{shown}[[second]]<|im_end|>\n<|im_start|>assistant\n[[right<|im_end|>]]\n"
    )


def test_a_template_changed_later_is_seen(processor_of) -> None:
    """SFTTrainer may set processor.chat_template after the collator was made."""
    from copy import copy

    processor = copy(processor_of("chatml"))
    collate = L2TCollator(processor)
    collate([row_of("a", "b")])
    processor.chat_template = processor_of("llava").chat_template
    assert "ASSISTANT" in processor.tokenizer.decode(collate([row_of("a", "b")])["input_ids"][0])


def test_what_is_rendered_is_what_serving_renders(styles, processor_of, image) -> None:
    for name in STYLES:
        processor = processor_of(name)
        messages = row_of(" What?\n", "\tThis. ", "So", "no ")["messages"]
        parts = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in messages]
        parts[0]["content"].insert(0, {"type": "image", "image": image})
        theirs = processor.apply_chat_template([parts], tokenize=True, return_dict=True, return_tensors="pt")
        ours = L2TCollator(processor)([{"images": [image], "messages": messages}])
        assert torch.equal(ours["input_ids"], theirs["input_ids"]), name


ODD_TEMPLATES = {
    "upside down": "{% for m in messages %}{{ m.content[0].text | upper }}{% endfor %}",
    "reverses": "{% for m in messages %}{{ m.content[0].text | reverse }}{% endfor %}",
    "counts": "{% for m in messages %}{{ m.content[0].text | length }}{{ m.content[0].text }}{% endfor %}",
    "twice": "{% for m in messages %}{{ m.content[0].text }}{{ m.content[0].text }}{% endfor %}",
    "forgets": "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content[0].text }}{% endif %}{% endfor %}",
    "other prompt": "{% for m in messages %}{{ m.role }}:{{ m.content[0].text }}{% endfor %}"
    "{% if add_generation_prompt %}BOT:{% endif %}",
}


@pytest.mark.parametrize("case", ODD_TEMPLATES)
def test_refuses_a_template_that_cannot_be_aligned(case, processor_of) -> None:
    from copy import copy

    processor = copy(processor_of("chatml"))
    processor.chat_template = ODD_TEMPLATES[case]
    if case == "upside down":  # capitals are as long as what they were: this one can be followed
        assert L2TCollator(processor).preview(row_of("what?", "a cat")).plain == "[[WHAT?A CAT]]"
        return
    with pytest.raises(RowError, match="cannot be aligned"):
        L2TCollator(processor)([row_of("what?", "a cat")])


FOLLOWED = {
    "an end token for the whole": (
        (
            "{% for m in messages %}{{ m.role + ': ' + m.content[0].text + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant:' }}{% else %}{{ eos_token }}{% endif %}"
        ),
        "user:[[ a?]]\nassistant:[[ b]]\nuser:[[ c?]]\nassistant:[[ d\n</s>]]",
    ),
    "ends in plain text": (
        (
            "{% for m in messages %}{{ '### ' + m.role + ' ' + m.content[0].text + ' ###\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '### assistant' }}{% endif %}"
        ),
        "### user[[ a?]] ###\n### assistant[[ b ###]]\n### user[[ c?]] ###\n### assistant[[ d ###]]\n",
    ),
    "ends in blanks": (
        (
            "{% for m in messages %}{{ m.role + '=' + m.content[0].text + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant=' }}{% endif %}"
        ),
        "user=[[a?]]\nassistant=[[b]]\nuser=[[c?]]\nassistant=[[d]]\n",
    ),
    "moves the system prompt behind": (
        (
            "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}{{ '[INST]' + m.content[0].text }}"
            "{% if loop.first %}{{ '\n' + messages[0].content[0].text }}{% endif %}{{ '[/INST]' }}"
            "{% else %}{{ m.content[0].text + '</s>' }}{% endif %}{% endfor %}"
        ),
        "[INST][[a?]]\nbe kind[/INST][[b</s>]][INST][[c?]][/INST][[d</s>]]",
    ),
    "keeps no system prompt and trims questions only": (
        (
            "{% for m in messages if m.role != 'system' %}{{ '<|' + m.role + '|>' }}"
            "{{ m.content[0].text | trim if m.role == 'user' else m.content[0].text }}</s>{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}"
        ),
        "<|user|>[[a?]]</s><|assistant|>[[b</s>]]<|user|>[[c?]]</s><|assistant|>[[ d\n</s>]]",
    ),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_follows_unusual_templates(case, processor_of) -> None:
    from copy import copy

    template, wanted = FOLLOWED[case]
    processor = copy(processor_of("chatml"))
    processor.chat_template = template
    row = row_of("a?", "b", "c?", "d")
    if "system" in case:
        row["messages"].insert(0, {"role": "system", "content": "be kind"})
    if "trims" in case:
        row = row_of(" a?\n", "b", "\tc?", " d\n")
        row["messages"].insert(0, {"role": "system", "content": " be kind "})
    assert L2TCollator(processor).preview(row).plain == wanted


def trl_templates() -> list[str]:
    """TRL's own training templates for models with images."""
    from importlib.resources import files

    found = [file for file in (files("trl") / "chat_templates").iterdir() if file.name.endswith("_training.jinja")]
    return sorted(file.name for file in found if "'image'" in file.read_text())


@pytest.mark.parametrize("name", trl_templates())
def test_equals_trl_on_its_own_templates(name, processor_of) -> None:
    from copy import copy
    from importlib.resources import files

    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    processor = copy(processor_of("chatml"))
    processor.chat_template = (files("trl") / "chat_templates" / name).read_text()
    row = row_of(" Is it red? ", "\nyes it is ", "So?", "no", images=[])
    theirs = DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True)([dict(row)])
    assert torch.equal(L2TCollator(processor, learn="response")([row])["labels"], theirs["labels"])
    learnt = L2TCollator(processor)([row])["labels"] != -100
    assert (learnt & ~(theirs["labels"] != -100)).sum() > 3, "the questions are learnt besides"


def test_images_in_an_answer_are_not_learnt(processor_of, image) -> None:
    """An image placeholder inside a generation block is still no text."""
    from copy import copy

    processor = copy(processor_of("chatml"))
    processor.chat_template = (
        "{% for m in messages %}{{ m.role + ':' }}{% generation %}{% for p in m.content %}"
        "{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}{% endfor %}{% endgeneration %}{% endfor %}"
    )
    batch = L2TCollator(processor, learn="response")([row_of("what?", "this", images=[image])])
    assert (batch["input_ids"] == processor.image_token_id).sum() == 4
    assert (batch["labels"] == processor.image_token_id).sum() == 0
    shown = L2TCollator(processor, learn="response").preview(row_of("what?", "this", images=[image]))
    assert shown.plain == "user:<image: 4 tokens>[[what?]]assistant:[[this]]", "pictures come before the question"


def test_answers_marked_by_the_template_need_no_alignment(processor_of) -> None:
    from copy import copy

    processor = copy(processor_of("chatml"))
    processor.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content[0].text | length }}{% else %}"
        "{% generation %}{{ m.content[0].text | reverse }}{% endgeneration %}{% endif %}{% endfor %}"
    )
    assert L2TCollator(processor, learn="response").preview(row_of("what?", "abc")).plain == "5[[cba]]"
    with pytest.raises(RowError, match="cannot be aligned"):
        L2TCollator(processor)([row_of("what?", "abc")])


@pytest.mark.parametrize(
    "written",
    ["'<|im_start|>' + m['role'] + m['content'] + '<|im_end|>'", "'[INST] ' ~ m.content ~ ' [/INST]'"],
    ids=["joins", "repr"],
)
def test_a_text_models_own_template_is_refused_with_the_way_out(written, processor_of) -> None:
    from copy import copy

    processor = copy(processor_of("llava"))
    processor.chat_template = "{% for m in messages %}{{ " + written + " }}{% endfor %}"
    with pytest.raises(ModelError, match=r"is that of a text model.*Set processor.chat_template"):
        L2TCollator(processor)([row_of("What?", "red")])
