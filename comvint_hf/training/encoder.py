"""Rows as token ids and labels: read (rows), rendered (chat_template), tokenized (tokenization), loss placed (loss_mask).

Loss lies on the user's text and on the answers (L2T), or on the answers alone (VIT), and on nothing else: not on the system
prompt, role markers and other template tokens, not on image tokens, not on task templates (PAPERS section 3).

Two rules at the borders. A token carries loss if one of its characters does: " red" after `ASSISTANT:` is trained whole. The
blank that joins a task template to the question belongs to the template, so " Answer" in "Is it? Answer yes or no." is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from comvint_hf.box_formats import find_box_format
from comvint_hf.errors import InputError, ModelError, RowError
from comvint_hf.grounding import MARKERS
from comvint_hf.images import fit_pixels
from comvint_hf.model_families import encode_qformer_text, family_of, image_token_ids, types_after_images
from comvint_hf.training import loss_mask
from comvint_hf.training.chat_template import ChatTemplate, Rendered
from comvint_hf.training.loss_mask import IGNORE_INDEX, Span
from comvint_hf.training.rows import Conversation, Entry, ReservedTokens, convert_boxes, read_row
from comvint_hf.training.tokenization import Encoded, encode, get_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import ProcessorMixin

LEARN = ("instruction+response", "response")


@dataclass
class RowEncoder:
    """The part of `L2TCollator` that knows rows, processor and loss; see there for the fields."""

    processor: ProcessorMixin
    _: KW_ONLY
    learn: Literal["instruction+response", "response"] = "instruction+response"
    templates: Sequence[str] = ()
    max_length: int | None = None
    text_only: bool = False
    boxes: str = "fraction"
    min_pixels: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if self.learn not in LEARN:
            raise InputError(f"learn is {self.learn!r}: expected one of {', '.join(map(repr, LEARN))}.")
        if self.max_length is not None and self.max_length < 1:
            raise InputError(f"max_length is {self.max_length}: expected None or a number of tokens above 0.")
        if not 0 < (self.min_pixels or 1) <= (self.max_pixels or math.inf):
            raise InputError(
                f"min_pixels is {self.min_pixels} and max_pixels {self.max_pixels}: expected numbers above 0, the smaller one first."
            )
        if isinstance(self.templates, str):
            raise InputError("templates is one string: expected a list of sentences, for example from mine_templates(dataset).")
        family = family_of(self.processor)
        if family.qformer_reads_text and self.learn != "response":
            raise ModelError(
                f"The vision part of {family.name} also reads the question, so the question's words would be predicted "
                "from themselves: use learn='response' (--learn response)."
            )
        if self.boxes == "family":
            self.boxes = family.box_format
        self._dialect = find_box_format(self.boxes)
        self._template_pattern = loss_mask.compile_templates(self.templates)
        self._chat: tuple[Any, ChatTemplate] | None = None
        self._reserved: ReservedTokens | None = None

    @property
    def image_tokens(self) -> list[int]:
        return image_token_ids(self.processor)

    def read(self, row: Entry, index: int) -> Conversation:
        """Read the row at `index` of a batch. Raises `RowError`."""
        # On first use, because tokens may be added to the tokenizer until then.
        if self._reserved is None:
            self._reserved = find_reserved_tokens(self.processor)
        conversation = read_row(row, index, reserved=self._reserved, text_only=self.text_only)
        if self.min_pixels or self.max_pixels:
            conversation = replace(conversation, images=[self._resize(image, conversation.name) for image in conversation.images])
        return convert_boxes(conversation, self._dialect, self.processor)

    def _resize(self, image: Any, name: str) -> Any:
        if not hasattr(image, "resize") or hasattr(image, "shape"):
            raise RowError(f"{name} has a {type(image).__name__} as an image: expected a PIL image, as pixel bounds are set.")
        return fit_pixels(image, self.min_pixels, self.max_pixels)

    def render(self, conversations: Sequence[Conversation]) -> list[Rendered]:
        """Render conversations with the processor's present chat template."""
        # The template may be replaced between two batches, which is noticed here.
        source = getattr(self.processor, "chat_template", None)
        if self._chat is None or self._chat[0] != source:
            self._chat = source, ChatTemplate.from_processor(self.processor)
        return self._chat[1].render(conversations, instructions=self.learn != "response")

    def encode(self, conversations: Sequence[Conversation]) -> tuple[Encoded, torch.Tensor]:
        """Tokenize conversations and place the loss: the encoded batch, right-padded, and its labels `[B, T]` int64."""
        rendered = self.render(conversations)
        names = [conversation.name for conversation in conversations]
        images = [conversation.images for conversation in conversations]
        encoded = encode(self.processor, [item.text for item in rendered], images, names)
        self.check_lengths(names, encoded)
        labels = self.make_labels(encoded, rendered)
        family = family_of(self.processor)
        if family.qformer_reads_text:
            questions = [_first_question(conversation) for conversation in conversations]
            encoded.features.update(encode_qformer_text(self.processor, questions))
        # Token types decide which tokens attend ahead, and an attended label could be copied.
        if family.bidirectional_prefix:
            encoded.features["token_type_ids"] = self._make_token_types(encoded.features["input_ids"], labels)
        return encoded, labels

    def make_labels(self, encoded: Encoded, rendered: Sequence[Rendered]) -> torch.Tensor:
        """Make `[B, T]` int64: the token where it carries loss, -100 elsewhere."""
        import torch

        trained = np.stack(
            [
                loss_mask.compute_loss_mask(offsets, loss_mask.shift_spans(self.find_trained_spans(item), replacements))
                for offsets, item, replacements in zip(encoded.offsets, rendered, encoded.replacements, strict=True)
            ]
        )
        # Padding carries no loss, whatever offsets the tokenizer gives it.
        trained &= encoded.features["attention_mask"].numpy() != 0
        return torch.where(torch.from_numpy(trained), encoded.features["input_ids"], IGNORE_INDEX)

    def find_trained_spans(self, rendered: Rendered) -> list[Span]:
        """Find the characters of a rendered conversation that carry loss; image placeholders may still be among them."""
        if self.learn == "response":
            return rendered.responses
        instructions = []
        for start, end in rendered.instructions:
            holes = loss_mask.find_template_spans(rendered.text[start:end], self._template_pattern)
            instructions += loss_mask.subtract_spans([(start, end)], [(start + first, start + last) for first, last in holes])
        return instructions + rendered.responses

    def check_lengths(self, names: Sequence[str], encoded: Encoded) -> None:
        """Raise `RowError` for the first row of over `max_length` tokens."""
        if self.max_length is None:
            return
        lengths = encoded.features["attention_mask"].sum(-1).tolist()
        for name, ids, length in zip(names, encoded.features["input_ids"], lengths, strict=True):
            if length > self.max_length:
                images = int(sum((ids == token).sum() for token in self.image_tokens))
                cut = ", so image tokens would be cut" if images >= self.max_length else ""
                raise RowError(
                    f"{name} is {length} tokens long, {images} of them image tokens, and max_length is {self.max_length}{cut}. "
                    "Rows are never cut: raise max_length (--max_length), use fewer image tokens, or drop the row.",
                    reason="too long",
                )

    def _make_token_types(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Make token types for a family with a prefix: from the first trained token on, tokens attend back only."""
        if self.learn == "response":
            return ((labels != IGNORE_INDEX).cumsum(-1) > 0).long()
        return types_after_images(input_ids, self.image_tokens)


def check_has_loss(labels: torch.Tensor) -> torch.Tensor:
    """Return the labels. Raises `RowError` if no token of the batch carries loss."""
    # A label is predicted from the token before it, so that of the first token is never trained.
    if not (labels[..., 1:] != IGNORE_INDEX).any():
        raise RowError(
            "No token of this batch carries loss, so it would train nothing. Inspect a row with L2TCollator.preview(row): "
            "its text may be all task template, or the chat template's generation blocks may be empty.",
            reason="nothing to learn",
        )
    return labels


def find_reserved_tokens(processor: Any) -> ReservedTokens:
    """Find the tokens that the processor and its tokenizer would not read as text."""
    tokenizer = get_tokenizer(processor)
    media = (getattr(processor, f"{kind}_token", None) for kind in ("image", "boi", "video", "audio"))
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return ReservedTokens(
        frozenset({"<image>", *(str(token) for token in media if token)}),
        frozenset(token for token in special if token.strip()) - MARKERS,
    )


def _first_question(conversation: Conversation) -> str:
    parts: list[dict[str, Any]] = next((message["content"] for message in conversation.messages if message["role"] == "user"), [])
    return "".join(part.get("text", "") for part in parts)
