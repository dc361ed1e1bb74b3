"""Every token's label, against an oracle that spells the text with the tokens and knows each style by its own code."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comvint_hf import L2TCollator

STYLES = ["chatml", "llava", "llama3", "gemma", "mistral", "zephyr"]
KINDS = ["byte", "byte, trimmed offsets", "metaspace", "metaspace by normalizer", "word"]
TASK = "Answer with yes or no."
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

TEMPLATE_WORDS = [
    "USER:",
    " ASSISTANT:",
    "user\n",
    "model",
    "[INST",
    "</s",
    "<|im_end",
    "\n\n",
    " ",
    "{{ x }}",
    "<| user",
    "###",
]
CONTROL = ("<s>", "</s>", "|>", "INST]", "_turn>", "<pad>", "<unk>", "<image>")
"""What every special token of the tokenizers here has in it: such texts are refused, see test_refusals."""
TEMPLATE_WORDS += ["assistant", "Answer", "<st>man<ed>[0.1, 0.2, 0.3, 0.4]", "naïve", "日本", "🙂", "e\u0301"]
letters = st.characters(blacklist_categories=("Cs", "Co"), blacklist_characters="▁")
unicode_text = st.lists(st.one_of(st.sampled_from(TEMPLATE_WORDS), st.text(letters, max_size=8)), max_size=6).map("".join)
plain_text = st.lists(st.sampled_from(["cat", "Red", "?", "3.5", " ", "\n", "the", "USER:", "</", "[INST"]), max_size=8).map(
    "".join
)


def harmless(text: str) -> bool:
    return not any(part in text for part in CONTROL)


def conversations(text: st.SearchStrategy[str], turns: int = 3) -> st.SearchStrategy[list[dict[str, str]]]:
    """User and assistant in turn; answers are never blank, and no text holds a control token."""
    asked = text.filter(harmless)
    answered = asked.filter(lambda content: content.strip())
    pair = st.tuples(asked, answered)
    return st.lists(pair, min_size=1, max_size=turns).map(
        lambda pairs: [
            {"role": role, "content": content}
            for pair in pairs
            for role, content in zip(("user", "assistant"), pair, strict=True)
        ]
    )


def expected(style, kind, messages, images, pieces, spell, learnt) -> list[bool]:
    """The oracle: a token carries loss if one of its characters lies in a segment that does."""
    segments = style.segments(messages, "<image>" * 4 * images)
    text = "".join(content for content, _ in segments)
    trained = [what in learnt for content, what in segments for _ in content]
    return [any(trained[place] for place in places) for places in spell(kind, pieces, text)]


def pieces_and_labels(processor, batch, row=0) -> tuple[list[str], list[bool]]:
    length = int(batch["attention_mask"][row].sum())
    ids = batch["input_ids"][row, :length]
    labels = batch["labels"][row]
    assert (labels[length:] == -100).all()
    assert ((labels[:length] == -100) | (labels[:length] == ids)).all()
    return processor.tokenizer.convert_ids_to_tokens(ids.tolist()), (labels[:length] != -100).tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STYLES)
@FEW
@given(data=st.data())
def test_every_label_is_the_oracles(name, kind, data, styles, processor_of, spell, image) -> None:
    messages = data.draw(conversations(plain_text if kind == "word" else unicode_text))
    images = data.draw(st.sampled_from([[], [image]]))
    learn, learnt = data.draw(
        st.sampled_from([("instruction+response", ("instruction", "response")), ("response", ("response",))])
    )
    processor = processor_of(name, kind)
    batch = L2TCollator(processor, learn=learn)([{"images": images, "messages": messages}])
    pieces, labels = pieces_and_labels(processor, batch)
    assert labels == expected(styles[name], kind, messages, len(images), pieces, spell, learnt)


@pytest.mark.parametrize("name", ["chatml", "llama3", "zephyr"])
@FEW
@given(data=st.data())
def test_a_system_prompt_carries_no_loss(name, data, styles, processor_of, spell, image) -> None:
    system = {"role": "system", "content": data.draw(unicode_text.filter(harmless))}
    messages = [system, *data.draw(conversations(unicode_text))]
    processor = processor_of(name)
    pieces, labels = pieces_and_labels(processor, L2TCollator(processor)([{"images": [image], "messages": messages}]))
    assert labels == expected(styles[name], "byte", messages, 1, pieces, spell, ("instruction", "response"))


@pytest.mark.parametrize("kind", KINDS[:4])
@pytest.mark.parametrize("name", STYLES)
@FEW
@given(data=st.data())
def test_task_templates_carry_no_loss(name, kind, data, styles, processor_of, spell) -> None:
    """The oracle's instruction is what is left without the sentence and the blank that joins it to the question."""
    from dataclasses import replace

    question = data.draw(unicode_text.map(str.strip).filter(lambda text: text and harmless(text) and TASK not in text))
    joint = data.draw(st.sampled_from([" ", "\n", "  \n "]))
    first = data.draw(st.booleans())
    user = f"{TASK}{joint}{question}" if first else f"{question}{joint}{TASK}"
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": f"yes, {TASK}"}]

    def write(turns, images):
        for content, what in styles[name].write(turns, images):
            if what == "instruction":
                whole = (
                    [(TASK + joint, "template"), (question, what)] if first else [(question, what), (joint + TASK, "template")]
                )
                yield from whole
            else:
                yield content, what

    processor = processor_of(name, kind)
    batch = L2TCollator(processor, templates=[TASK])([{"messages": messages}])
    pieces, labels = pieces_and_labels(processor, batch)
    assert labels == expected(replace(styles[name], write=write), kind, messages, 0, pieces, spell, ("instruction", "response"))


@pytest.mark.parametrize("kind", ["byte", "metaspace", "metaspace by normalizer", "word"])
@pytest.mark.parametrize("name", STYLES)
@FEW
@given(data=st.data())
def test_response_only_is_trls_assistant_only_loss(name, kind, data, processor_of, image) -> None:
    """TRL's own collator and generation blocks; one row with an image, one without, right-padded together."""
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    rows = [{"images": images, "messages": data.draw(conversations(unicode_text))} for images in ([image], [])]
    processor = processor_of(name, kind, generation=True)
    theirs = DataCollatorForVisionLanguageModeling(processor, assistant_only_loss=True)([dict(row) for row in rows])
    ours = L2TCollator(processor, learn="response")(rows)
    for key in ("input_ids", "attention_mask", "labels", "pixel_values"):
        assert torch.equal(ours[key], theirs[key]), key


def row_of(*texts: str, **more) -> dict:
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)], **more}


def test_the_rows_may_be_written_in_several_ways(processor_of, image) -> None:
    """Strings or parts, `images` or `image`, images in the parts, other modes: the same batch. And rows stay as they were."""
    processor = processor_of("chatml")
    collate = L2TCollator(processor)
    text, answer = {"type": "text", "text": "What is it?"}, {"role": "assistant", "content": [{"type": "text", "text": "a cat"}]}
    rows = [
        row_of("What is it?", "a cat", images=[image]),
        row_of("What is it?", "a cat", image=image),
        {"images": [image], "messages": [{"role": "user", "content": [{"type": "image"}, text]}, answer]},
        {"messages": [{"role": "user", "content": [{"type": "image", "image": image, "text": None}, text]}, answer]},
        row_of("What is it?", "a cat", images=[image.convert("RGBA")], image_id="coco/1", task="vlit"),
    ]
    before = repr(rows)
    batches = [collate([row]) for row in rows]
    assert repr(rows) == before
    for batch in batches[1:]:
        assert batch.keys() == batches[0].keys()
        assert all(torch.equal(batch[key], batches[0][key]) for key in batch)
    assert batches[0]["input_ids"].dtype == batches[0]["labels"].dtype == batches[0]["attention_mask"].dtype == torch.int64


def test_a_processor_that_tells_no_replacements_is_matched_end_to_end(processor_of, image, monkeypatch) -> None:
    """Older transformers, and processors with a call of their own."""
    from transformers import LlavaProcessor

    class Silent(LlavaProcessor):
        def __call__(self, *args, return_text_replacement_offsets=False, return_offsets_mapping=False, **kwargs):
            return super().__call__(*args, **kwargs)

    rows = [row_of("What is it?", "a cat", images=[image]), row_of("Is it?", "no", "Really? Answer with yes or no.", "no")]
    for name in STYLES:
        told = processor_of(name)
        silent = Silent(
            told.image_processor,
            told.tokenizer,
            patch_size=16,
            vision_feature_select_strategy="full",
            chat_template=told.chat_template,
        )
        ours, theirs = (L2TCollator(processor, templates=[TASK])(rows) for processor in (silent, told))
        assert torch.equal(ours["labels"], theirs["labels"])


def test_preview_shows_loss_in_every_medium(processor_of, monkeypatch) -> None:
    preview = L2TCollator(processor_of("chatml"), templates=[TASK]).preview(row_of(f"Is <b> red? {TASK}", "yes"))
    assert preview.plain == (
        "<|im_start|>user\n[[Is <b> red?]] Answer with yes or no.<|im_end|>\n<|im_start|>assistant\n[[yes<|im_end|>]]\n"
    )
    assert str(preview).startswith(preview.plain) and "tokens carry loss" in str(preview)
    assert "\x1b[30;42mIs <b> red?\x1b[0m" in preview.ansi
    assert ">Is &lt;b&gt; red?</mark>" in preview._repr_html_()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in str(preview)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in str(preview)


def test_it_survives_pickling_as_worker_processes_need(processor_of, image) -> None:
    import pickle

    collate = L2TCollator(processor_of("chatml"), templates=[TASK])
    row = row_of(f"Is it? {TASK}", "yes", images=[image])
    first = collate([row])
    again = pickle.loads(pickle.dumps(collate))([row])
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_needs_only_the_collator_extra(processor_of) -> None:
    """Using it brings in torch and transformers, and neither datasets nor trl nor anything of [train]."""
    import subprocess
    import sys

    code = (
        "import sys, comvint_hf; comvint_hf.L2TCollator; comvint_hf.mine_templates;"
        "import comvint_hf.training.packing.trees;"
        "print(*[n for n in ('datasets', 'trl', 'peft', 'accelerate', 'gradio') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
