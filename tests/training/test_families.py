"""Every model family, as a tiny model from its configuration: labels, training, generation, saving, and no look ahead."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training.tiny.families import (
    CASES,
    FAMILY,
    LEARN,
    SAMPLE_IMAGE,
    SENTENCE,
    TALK,
    TINY,
    collator_of,
    model_of,
    processor_of,
    row_of,
    talk,
)

from comvint_hf import L2TCollator
from comvint_hf.conventions import Conventions
from comvint_hf.errors import ModelError
from comvint_hf.model_families import load_processor
from comvint_hf.serving.local import LocalChat
from comvint_hf.training import lora

PARTS = [
    "USER:",
    " ASSISTANT:",
    "user\n",
    "model",
    "User: ",
    "\n\n",
    " ",
    "{{ x }}",
    "Answer",
    "naïve",
    "日本",
    "🙂",
    "e\u0301",
    "cat",
    "?",
]
words = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
answers = words.filter(str.strip)


@CASES
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs=st.lists(st.tuples(words, answers), min_size=1, max_size=3), seen=st.booleans())
def test_every_label_is_the_oracles(name, learn, pairs, seen, spell) -> None:
    """Tokens are spelled with the text that the family's own writer makes, image and what the processor adds included."""
    tiny, processor = TINY[name], processor_of(name)
    seen = seen or tiny.family.requires_image
    messages = talk(*(text for pair in pairs for text in pair))
    batch = L2TCollator(processor, learn=learn)([{"images": [SAMPLE_IMAGE] * seen, "messages": messages}])
    segments = tiny.segments(messages, seen)
    text = "".join(content for content, _ in segments)
    learnt = [what in LEARN[learn] for content, what in segments for _ in content]
    pieces = processor.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    wanted = [any(learnt[place] for place in places) for places in spell("byte", pieces, text)]
    assert (batch["labels"][0] != -100).tolist() == wanted
    assert torch.equal(batch["labels"][0][wanted], batch["input_ids"][0][wanted])


@FAMILY
def test_the_template_is_written_in_the_familys_own_tokens(name) -> None:
    """Each control token of the style is one token of the tokenizer, and the template brings its own generation blocks."""
    tokenizer = processor_of(name).tokenizer
    written = "".join(content for content, what in TINY[name].segments(talk(*TALK)) if what != "instruction")
    tokens = set(re.findall(r"<[^<>\s]+>|\[/?INST\]", written))
    assert tokens and all(tokenizer.convert_tokens_to_ids(token) != tokenizer.unk_token_id for token in tokens)
    assert tokens <= {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    assert "{%- generation -%}" in processor_of(name).chat_template


@FAMILY
def test_a_training_step_moves_all_of_it_and_it_survives_saving(name, tmp_path) -> None:
    processor = processor_of(name)
    model = TINY[name].model(processor)
    batch = collator_of(name)([row_of(*TALK), row_of("Is it?", "no")])
    before = {part: parameter.clone() for part, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss = model(**batch).loss
    loss.backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    optimizer.step()
    moved = {part for part, parameter in model.named_parameters() if not torch.equal(parameter, before[part])}
    decoder = lora.find_decoder_path(model)
    assert any(part.startswith(decoder) and "layers.1" in part for part in moved)
    assert any(not part.startswith((decoder, "lm_head")) for part in moved), "what reads the picture is trained too"
    model.eval()
    assert model(**batch).loss < loss

    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    from transformers import AutoModelForImageTextToText

    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    reloaded = reload(tmp_path)
    same = collator_of(name, reloaded)([row_of(*TALK), row_of("Is it?", "no")])
    assert all(torch.equal(same[key], batch[key]) for key in batch)
    with torch.no_grad():
        assert torch.allclose(again(**same).logits, model(**batch).logits, atol=1e-5)
    chat = LocalChat(again, reloaded, Conventions(learn="response"), max_new_tokens=3)
    talks = [(talk("Is it?"), SAMPLE_IMAGE), (talk(*TALK[:3]), SAMPLE_IMAGE.rotate(90, expand=True))]
    assert chat.answers(talks) == [chat.answer(messages, image) for messages, image in talks], "a batch answers as one by one"


def reload(folder) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_processor(str(folder))


@FAMILY
def test_a_trainer_trains_it_with_lora_on_its_words_alone(name, tmp_path) -> None:
    """TRL's own trainer takes a step, or transformers' where TRL's cannot; the adapter lies on the language model only."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments
    from trl import SFTConfig, SFTTrainer

    processor = processor_of(name)
    model = TINY[name].model(processor)
    adapter = LoraConfig(r=2, target_modules=lora.build_lora_targets(model))
    rows = Dataset.from_list([row_of(*TALK), row_of("Is it?", "no")])
    once = {"max_steps": 1, "use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    shared = {"train_dataset": rows, "data_collator": collator_of(name), "processing_class": processor}
    if TINY[name].family.supports_trl:
        trainer = SFTTrainer(model, SFTConfig(str(tmp_path), max_length=None, **once), peft_config=adapter, **shared)
    else:
        arguments = TrainingArguments(str(tmp_path), remove_unused_columns=False, **once)
        trainer = Trainer(get_peft_model(model, adapter), arguments, **shared)
    lora.check_model(trainer.model)
    assert trainer.train().training_loss > 0


def repeated(batch: dict[str, torch.Tensor], times: int) -> dict[str, torch.Tensor]:
    return {key: torch.cat([value] * times) for key, value in batch.items() if key != "labels"}


def leak(name: str, batch: dict[str, torch.Tensor]) -> float:
    """How far any trained logit moves when a later token becomes another: the largest over all tokens of text."""
    tokenizer = processor_of(name).tokenizer
    special = set(tokenizer.all_special_ids)
    places = [place for place, token in enumerate(batch["input_ids"][0].tolist()) if token not in special]
    changed = repeated(batch, len(places) + 1)
    other = tokenizer.convert_tokens_to_ids("Z")
    for line, place in enumerate(places, start=1):
        changed["input_ids"][line, place] = other
    with torch.no_grad():
        logits = model_of(name)(**changed).logits
    trained = [place - 1 for place in torch.nonzero(batch["labels"][0] != -100).flatten().tolist()]
    moved = [
        (logits[line, at] - logits[0, at]).abs().max().item()
        for line, place in enumerate(places, start=1)
        for at in trained
        if at < place
    ]
    seen = [(logits[line, place] - logits[0, place]).abs().max().item() for line, place in enumerate(places, start=1)]
    assert moved and min(seen) > 1e-4, "the change of a token moves its own logit, so the test sees something"
    return max(moved)


@CASES
def test_no_trained_logit_sees_a_later_token(name, learn) -> None:
    batch = L2TCollator(processor_of(name), learn=learn)([row_of(*TALK)])
    assert leak(name, batch) < 1e-5


def test_what_reads_the_question_is_told_no_answer_and_nothing_asked_later() -> None:
    """InstructBLIP's own processor tells its Q-Former the whole text, answers included."""
    with pytest.raises(ModelError, match="also reads the question.* use learn='response'"):
        L2TCollator(processor_of("InstructBLIP"))
    collate = collator_of("InstructBLIP")
    one, other = collate([row_of(*TALK)]), collate([row_of(TALK[0], "Blue", "Why so?", "no idea")])
    assert torch.equal(one["qformer_input_ids"], other["qformer_input_ids"])
    assert processor_of("InstructBLIP").tokenizer.decode(one["qformer_input_ids"][0]) == TALK[0]


def test_the_processors_own_token_types_would_leak() -> None:
    """PaliGemma's processor calls everything prefix, which sees ahead: this is what the collator mends."""
    batch = L2TCollator(processor_of("PaliGemma"))([row_of(*TALK)])
    assert leak("PaliGemma", {**batch, "token_type_ids": torch.zeros_like(batch["token_type_ids"])}) > 1e-3


@CASES
@pytest.mark.parametrize("turn", [1, 3])
def test_what_is_asked_in_serving_is_what_was_trained(name, learn, turn) -> None:
    """The prompt's tokens are the row's first ones, and the next token is as likely as it was in training."""
    processor, model = processor_of(name), model_of(name)
    texts = (SENTENCE, *TALK[1:])
    collator = L2TCollator(processor, learn=learn, boxes="family")
    batch = collator([row_of(*texts)])
    chat = LocalChat(model, processor, Conventions(learn=learn, box_dialect=collator.boxes))
    asked = chat._encode_batch([chat._prepare(talk(*texts[:turn]), SAMPLE_IMAGE)[:2]])
    length = asked["input_ids"].shape[1]
    assert torch.equal(asked["input_ids"], batch["input_ids"][:, :length])
    assert batch["labels"][0, length] != -100, "generation begins at a token that is learnt"
    with torch.no_grad():
        served = model(**asked).logits[0, -1]
        trained = model(**{key: value for key, value in batch.items() if key != "labels"}).logits[0, length - 1]
    assert torch.allclose(served, trained, atol=1e-4)
    chat.max_new_tokens = 1
    assert (
        chat.answer(talk(*texts[:turn]), SAMPLE_IMAGE)
        == processor.tokenizer.decode(trained.argmax(), skip_special_tokens=True).strip()
    )


def test_a_tokenizer_that_adds_a_beginning_adds_none_to_a_tuned_model() -> None:
    """Trainers take what the template writes; transformers' own `apply_chat_template` would add `<s>` where it writes none."""
    from tokenizers.processors import TemplateProcessing

    processor = TINY["LLaVA-1.5, SigLIP"].processor()
    processor.chat_template = processor.chat_template.replace("{{- bos_token -}}", "")
    begins = processor.tokenizer.bos_token_id
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begins)])
    trained = L2TCollator(processor)([row_of(*TALK)])["input_ids"][0]
    for learn, added in ((None, True), ("response", False)):
        chat = LocalChat(model_of("LLaVA-1.5, SigLIP"), processor, Conventions(learn=learn))
        asked = chat._encode_batch([(talk(TALK[0]), SAMPLE_IMAGE)])["input_ids"][0]
        assert (asked[0] == begins) == added
        assert torch.equal(asked[added:], trained[: len(asked) - added])
