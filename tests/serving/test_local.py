"""Real transformers and peft classes, on the tiny random model."""

import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image

from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError, ModelError
from comvint_hf.serving.chat import ChatMessage
from comvint_hf.serving.loading import load_chat

RED, BLUE = Image.new("RGB", (120, 80), "red"), Image.effect_noise((90, 90), 90).convert("RGB")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def ask(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


@pytest.fixture(scope="module")
def chat(tiny: Path):
    return load_chat(tiny, device="cpu", max_new_tokens=24)


def test_a_batch_answers_as_one_by_one(chat) -> None:
    conversations = [
        (ask("Is there a red circle?"), RED),
        (ask("Hello"), None),
        (ask("Where is the blue square, and where is the red circle in this picture?"), BLUE),
        ([*ask("Is it red?"), ChatMessage(role="assistant", content="Yes."), *ask("Sure?")], RED),
    ]
    progress: list[int] = []
    batched = chat.answers(conversations, batch_size=3, on_progress=progress.append)
    assert batched == [chat.answer(messages, image) for messages, image in conversations]
    assert progress == [3, 4]
    assert chat.answer(conversations[0][0], BLUE) != batched[0], "the image makes no difference"


def test_a_stream_says_what_the_answer_says(chat) -> None:
    pieces = list(chat.stream(ask("Is there a red circle?"), RED))
    assert pieces
    assert "".join(pieces).strip() == chat.answer(ask("Is there a red circle?"), RED)


def test_leaving_a_stream_ends_its_thread(tiny: Path) -> None:
    endless = load_chat(tiny, device="cpu", max_new_tokens=3000)
    before = threading.active_count()
    stream = endless.stream(ask("Is there a red circle?"), RED)
    next(stream)
    assert threading.active_count() == before + 1
    stream.close()
    assert threading.active_count() == before
    assert next(endless.stream(ask("Again?"), RED)), "the lock was not given back"


def test_what_fails_while_generating_is_raised_to_the_caller(chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(chat.model, "generate", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        chat.answer(ask("Is it?"), RED)


def test_an_adapter_changes_its_base_as_peft_does(tiny: Path, adapter: Path, chat) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    tuned = load_chat(adapter, device="cpu", max_new_tokens=24)
    assert tuned.conventions == Conventions.read(adapter)
    unmerged = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(tiny), str(adapter)).eval()
    inputs = tuned._encode_batch([(ask("Is there a red circle?"), RED)])
    expected = unmerged(**inputs).logits
    assert tuned.model(**inputs).logits.sub(expected).abs().max() < 1e-4
    assert chat.model(**inputs).logits.sub(expected).abs().max() > 1e-3


def test_a_merged_model_answers_as_its_adapter(adapter: Path, tmp_path: Path) -> None:
    tuned = load_chat(adapter, device="cpu", max_new_tokens=24)
    tuned.model.save_pretrained(tmp_path)
    tuned.processor.save_pretrained(tmp_path)
    shutil.copy(adapter / "comvint.json", tmp_path)
    merged = load_chat(tmp_path, device="cpu", max_new_tokens=24)
    assert merged.answer(ask("Is there a red circle?"), RED) == tuned.answer(ask("Is there a red circle?"), RED)


def test_a_base_that_moved(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    import json

    lost = tmp_path / "adapter"
    shutil.copytree(adapter, lost)
    config = json.loads((lost / "adapter_config.json").read_text())
    (lost / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "nobody/nothing"}))
    with pytest.raises(ModelError, match=r"nobody/nothing cannot be loaded .* say where it is with --base"):
        load_chat(lost)
    assert load_chat(lost, base=tiny, device="cpu", max_new_tokens=4).answer(ask("Is it?"), RED) is not None


def test_loading_errors_are_one_sentence(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no folder"):
        load_chat(tmp_path / "nothing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_chat("nobody/nothing")
    with pytest.raises(ModelError, match="leave out --base"):
        load_chat(tiny, base=tiny)
    for nothing in ("", None):
        with pytest.raises(ModelError, match="No model is named"):
            load_chat(nothing)
    with pytest.raises(ModelError, match="The device 'gpu' cannot be used"):
        load_chat(tiny, device="gpu")
    with pytest.raises(ModelError, match="expected float32"):
        load_chat(tiny, dtype="half of it")
    silent = tmp_path / "silent"
    shutil.copytree(tiny, silent)
    (silent / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load_chat(silent)


def test_a_literal_image_marker_is_refused(chat) -> None:
    with pytest.raises(InputError, match="stands for an image"):
        chat.answer(ask("What does <image> mean?"), RED)


def test_control_tokens_in_a_question_are_refused(chat) -> None:
    with pytest.raises(InputError, match=r"'<\|end\|>', which is a control token of this model"):
        chat.answer(ask("Is it red?<|end|>"), RED)


def test_a_model_that_was_taught_a_box_points_at_it(tiny: Path, tmp_path: Path) -> None:
    """The whole way with real weights: tune, save with conventions, load, ask, read the box."""
    import torch

    answer = "It is at <st>the blue square<ed>[125, 250, 500, 750]."
    taught = load_chat(tiny, device="cpu")
    question = taught._encode_batch([(ask("Where is the blue square?"), RED)])
    target = taught.processor.tokenizer(answer + taught.processor.tokenizer.eos_token, return_tensors="pt").input_ids
    ids = torch.cat([question["input_ids"], target], dim=1)
    labels = torch.cat([torch.full_like(question["input_ids"], -100), target], dim=1)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(taught.model.parameters(), lr=2e-3)
    for _ in range(40):
        loss = taught.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=question["pixel_values"], labels=labels
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    taught.model.save_pretrained(tmp_path)
    taught.processor.save_pretrained(tmp_path)
    Conventions(box_dialect="thousand").write(tmp_path)

    chat = load_chat(tmp_path, device="cpu", max_new_tokens=60)
    found = chat.ground("the blue square", RED)
    assert [(item.phrase, item.boxes[0].xyxy) for item in found] == [("the blue square", (0.125, 0.25, 0.5, 0.75))]
    assert (
        "".join(chat.stream(ask("Where is the blue square?"), RED))
        == "It is at <st>the blue square<ed>[0.125, 0.250, 0.500, 0.750]."
    )
