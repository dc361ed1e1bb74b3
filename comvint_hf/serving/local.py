"""A chat with a loaded model on this machine. Knows processors and generation; how a model is loaded it does not know.

Batches are padded on the left, so that every answer begins where its row ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from comvint_hf.box_formats import Frame
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError
from comvint_hf.grounding import MARKERS
from comvint_hf.image_geometry import frame_of
from comvint_hf.model_families import Family, family_of, picture_tokens, reader_inputs, types_after_pictures
from comvint_hf.serving.chat import Talk, Translating, Turn

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel, ProcessorMixin


class LocalChat(Translating):
    """A loaded model with its processor. One answer is generated at a time; others wait their turn."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        conventions: Conventions,
        *,
        name: str = "",
        max_new_tokens: int = 512,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.conventions = conventions
        self.name = name
        self.max_new_tokens = max_new_tokens
        self.family: Family = family_of(processor)
        self._lock = Lock()
        processor.tokenizer.padding_side = "left"
        special = {str(token) for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
        self._control_tokens = sorted(token for token in special - MARKERS if token.strip())

    def _frame(self, image: Image) -> Frame:
        return frame_of(self.processor, image.size)

    def _raw(self, messages: Sequence[Turn], image: Image | None) -> Iterator[str]:
        from transformers import TextIteratorStreamer

        inputs = self._inputs([(messages, image)])
        stop, failures = Event(), []
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)

        def work() -> None:
            try:
                self._generate(inputs, stop, streamer=streamer)
            except Exception as error:  # noqa: BLE001
                # It belongs to the caller's thread: raised there, once what came before has been read.
                failures.append(error)
                streamer.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]

    def _raw_batch(self, talks: Sequence[Talk]) -> list[str]:
        inputs = self._inputs(talks)
        sequences = self._generate(inputs, Event())
        return self.processor.tokenizer.batch_decode(sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def _generate(self, inputs: dict[str, Any], stop: Event, **options: Any) -> Any:
        """Token ids `[B, T + new]` int64; greedy, so that an evaluation can be repeated."""
        import torch
        from transformers import StoppingCriteriaList

        def stopped(ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            return torch.full((ids.shape[0],), stop.is_set(), dtype=torch.bool, device=ids.device)

        with self._lock, torch.inference_mode():
            return self.model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                pad_token_id=_pad(self.processor.tokenizer),
                stopping_criteria=StoppingCriteriaList([stopped]),
                **options,
            )

    def _inputs(self, talks: Sequence[Talk]) -> dict[str, Any]:
        """The processor's tensors for a batch: `input_ids` and `attention_mask` `[B, T]` int64, pixels as it makes them."""
        import torch

        for messages, image in talks:
            self._refuse_control_tokens(messages)
            if image is None and self.family.picture:
                raise InputError(f"A question to a model of the family {self.family.name} needs a picture; give one.")
        conversations = [_with_image(messages, image) for messages, image in talks]
        batch = self.processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt", "padding": True, **self._as_trained},
        )
        if self.family.reads:
            questions = [next(turn["content"] for turn in messages if turn["role"] == "user") for messages, _ in talks]
            batch.update(reader_inputs(self.processor, questions))
        if self.family.prefix and self.conventions.learn:
            batch["token_type_ids"] = self._types(batch["input_ids"], talks)
        dtype = self.model.dtype
        return {
            name: value.to(self.model.device, dtype if torch.is_floating_point(value) else None)
            for name, value in batch.items()
            if isinstance(value, torch.Tensor) and name != "labels"
        }

    @property
    def _as_trained(self) -> dict[str, bool]:
        """A tuned model was trained on what its chat template writes: the tokenizer adds no beginning of its own to it."""
        return {"add_special_tokens": False} if self.conventions.learn else {}

    def _types(self, input_ids: Any, talks: Sequence[Talk]) -> Any:
        """Token types as the collator gave them for a family with a prefix: what was learnt sees no later token."""
        if self.conventions.learn != "response":
            return types_after_pictures(input_ids, picture_tokens(self.processor))
        types = input_ids * 0
        for row, (messages, image) in zip(types, talks, strict=True):
            asked = next(place for place, turn in enumerate(messages) if turn["role"] == "user")
            if len(messages) > asked + 1:
                began = self._tokens(messages[: asked + 1], image)
                row[row.shape[0] - self._tokens(messages, image) + began :] = 1
        return types

    def _tokens(self, messages: Sequence[Turn], image: Image | None) -> int:
        """How many tokens a prompt has."""
        prompt = self.processor.apply_chat_template(
            [_with_image(messages, image)],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs=self._as_trained,
        )
        return len(prompt["input_ids"][0])

    def _refuse_control_tokens(self, messages: Sequence[Turn]) -> None:
        """Raise `InputError` for words that the tokenizer would not read as text: a visitor's `</s>` would end the question."""
        marker = str(getattr(self.processor, "image_token", None) or "")
        for turn in messages:
            # Boxes in the model's own dialect may be written with such tokens.
            said = self.conventions.dialect.pattern.sub("", turn["content"])
            if marker and marker in said:
                raise InputError(f"The text holds {marker!r}, which stands for a picture in this model; write it another way.")
            if token := next((token for token in self._control_tokens if token in said), None):
                raise InputError(f"The text holds {token!r}, which is a control token of this model; write it another way.")


def _with_image(messages: Sequence[Turn], image: Image | None) -> list[dict[str, Any]]:
    """The conversation as templates want it, the picture before the first question's words."""
    conversation: list[dict[str, Any]] = []
    pending = image
    for turn in messages:
        parts: list[dict[str, Any]] = [{"type": "text", "text": turn["content"]}]
        if turn["role"] == "user" and pending is not None:
            parts.insert(0, {"type": "image", "image": pending})
            pending = None
        conversation.append({"role": turn["role"], "content": parts})
    return conversation


def _pad(tokenizer: Any) -> int | None:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
