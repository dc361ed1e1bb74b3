"""Chat with a loaded model on this machine. `serving.loading` loads one."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from comvint_hf.box_formats import Frame
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError
from comvint_hf.grounding import MARKERS
from comvint_hf.image_geometry import find_frame
from comvint_hf.model_families import Family, encode_qformer_text, family_of, image_token_ids, types_after_images
from comvint_hf.serving.chat import BaseChat, ChatMessage, DecodedConversation

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import PreTrainedModel, ProcessorMixin


class LocalChat(BaseChat):
    """A chat with a loaded model. It generates one batch at a time; other callers wait.

    Args:
        model: The model.
        processor: Its processor, with a chat template.
        conventions: Its conventions, which say how it writes boxes and how it was trained.
        name: The name that people see.
        max_new_tokens: The longest answer.
    """

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
        # Generation continues at the end of each row, so the padding has to be on the left.
        processor.tokenizer.padding_side = "left"
        special = {str(token) for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
        self._control_tokens = sorted(token for token in special - MARKERS if token.strip())

    def _frame(self, image: Image) -> Frame:
        return find_frame(self.processor, image.size)

    def _stream_reply(self, messages: Sequence[ChatMessage], image: Image | None) -> Generator[str, None, None]:
        from transformers import TextIteratorStreamer

        inputs = self._encode_batch([(messages, image)])
        stop = Event()
        failures: list[Exception] = []
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)

        def generate() -> None:
            try:
                self._generate(inputs, stop, streamer=streamer)
            except Exception as error:  # noqa: BLE001
                # Raised below, in the caller's thread, after the text that came before the error.
                failures.append(error)
                streamer.end()

        thread = Thread(target=generate, daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:
            # Also if the caller leaves early, so that the model is free for the next question.
            stop.set()
            thread.join()
        if failures:
            raise failures[0]

    def _batch_replies(self, conversations: Sequence[DecodedConversation]) -> list[str]:
        inputs = self._encode_batch(conversations)
        sequences = self._generate(inputs, Event())
        return self.processor.tokenizer.batch_decode(sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def _generate(self, inputs: dict[str, Any], stop: Event, **options: Any) -> Any:
        """Generate token ids `[B, T + new]` int64, greedily, so that an evaluation can be repeated."""
        import torch
        from transformers import StoppingCriteriaList

        def should_stop(ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            return torch.full((ids.shape[0],), stop.is_set(), dtype=torch.bool, device=ids.device)

        with self._lock, torch.inference_mode():
            return self.model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                pad_token_id=_pad_token_id(self.processor.tokenizer),
                stopping_criteria=StoppingCriteriaList([should_stop]),
                **options,
            )

    def _encode_batch(self, conversations: Sequence[DecodedConversation]) -> dict[str, Any]:
        """Encode a batch: `input_ids` and `attention_mask` `[B, T]` int64, and pixels as the processor makes them."""
        for messages, image in conversations:
            self._reject_control_tokens(messages)
            if image is None and self.family.requires_image:
                raise InputError(f"Models of the family {self.family.name} answer only questions about an image; give one.")
        batch = self._apply_chat_template(conversations, return_tensors="pt", padding=True)
        if self.family.qformer_reads_text:
            questions = [next(turn["content"] for turn in messages if turn["role"] == "user") for messages, _ in conversations]
            batch.update(encode_qformer_text(self.processor, questions))
        if self.family.bidirectional_prefix and self.conventions.learn:
            batch["token_type_ids"] = self._token_types(batch["input_ids"], conversations)
        return to_model_inputs(batch, self.model)

    def _apply_chat_template(self, conversations: Sequence[DecodedConversation], **options: Any) -> dict[str, Any]:
        if self.conventions.learn:
            # A tuned model was trained on the text of its chat template, without further special tokens.
            options["add_special_tokens"] = False
        batch: Any = self.processor.apply_chat_template(
            [_to_chat_template(messages, image) for messages, image in conversations],  # type: ignore[arg-type]  # content is parts
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs=options,
        )
        return batch

    def _token_types(self, input_ids: Any, conversations: Sequence[DecodedConversation]) -> Any:
        """Return the token types of the collator for a family with a bidirectional prefix: trained tokens see no later token."""
        if self.conventions.learn != "response":
            return types_after_images(input_ids, image_token_ids(self.processor))
        types = input_ids * 0
        for row, (messages, image) in zip(types, conversations, strict=True):
            first = next(index for index, message in enumerate(messages) if message["role"] == "user")
            if len(messages) > first + 1:
                prefix = self._count_tokens(messages[: first + 1], image)
                row[row.shape[0] - self._count_tokens(messages, image) + prefix :] = 1
        return types

    def _count_tokens(self, messages: Sequence[ChatMessage], image: Image | None) -> int:
        """Count the tokens of a prompt."""
        return len(self._apply_chat_template([(messages, image)])["input_ids"][0])

    def _reject_control_tokens(self, messages: Sequence[ChatMessage]) -> None:
        """Raise `InputError` for text that the tokenizer reads as control tokens: a user's `</s>` would end the question."""
        marker = str(getattr(self.processor, "image_token", None) or "")
        for message in messages:
            # Boxes in the model's own format may be written with such tokens.
            text = self.conventions.box_format.pattern.sub("", message["content"])
            if marker and marker in text:
                raise InputError(f"The text contains {marker!r}, which stands for an image in this model; write it another way.")
            if token := next((token for token in self._control_tokens if token in text), None):
                raise InputError(f"The text contains {token!r}, which is a control token of this model; write it another way.")


def _to_chat_template(messages: Sequence[ChatMessage], image: Image | None) -> list[dict[str, Any]]:
    """Convert messages to the chat template's format, with the image before the text of the first question."""
    converted: list[dict[str, Any]] = []
    pending = image
    for message in messages:
        parts: list[dict[str, Any]] = [{"type": "text", "text": message["content"]}]
        if message["role"] == "user" and pending is not None:
            parts.insert(0, {"type": "image", "image": pending})
            pending = None
        converted.append({"role": message["role"], "content": parts})
    return converted


def to_model_inputs(batch: Mapping[str, Any], model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Select the tensors of a batch except its labels, on the model's device and the floating ones in its dtype."""
    import torch

    return {
        name: value.to(model.device, model.dtype if torch.is_floating_point(value) else None)
        for name, value in batch.items()
        if isinstance(value, torch.Tensor) and name != "labels"
    }


def _pad_token_id(tokenizer: Any) -> int | None:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
