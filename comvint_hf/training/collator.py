"""L2TCollator: rows of pictures and conversations in, a batch with exact labels out.

Loss lies on the user's text and on the answers (L2T), or on the answers alone (VIT), and on nothing else: not on the system
prompt, role markers and other template tokens, not on image tokens, not on task templates (PAPERS section 3). It works wherever a
`data_collator` or `collate_fn` is taken, and needs torch and transformers only.

Two rules at the borders. A token carries loss if one of its characters does: " red" after `ASSISTANT:` is learnt whole. The
blank that joins a task template to the question belongs to the template, so " Answer" in "Is it? Answer yes or no." is not.

The work is done by reading (rows), rendering (whose characters are whose), encoding (tokens), spans (characters to tokens) and
packing (trees); this file puts them in a row and knows no trainer and no model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from comvint_hf.box_formats import dialect_named
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError, ModelError, RowError
from comvint_hf.grounding import MARKERS
from comvint_hf.model_families import family_of, picture_tokens, reader_inputs, types_after_pictures
from comvint_hf.training.box_text import in_dialect
from comvint_hf.training.chat_template import ChatTemplate, Rendered
from comvint_hf.training.loss_mask import Span, expanded, loss_mask, subtract, template_pattern, template_spans
from comvint_hf.training.packing.collate import collate_trees, require_trees
from comvint_hf.training.packing.masks import Attention
from comvint_hf.training.preview import Preview, preview_of
from comvint_hf.training.rows import Conversation, Reserved, read_row
from comvint_hf.training.tokenization import Encoded, encode, tokenizer_of

if TYPE_CHECKING:
    import torch
    from transformers import ProcessorMixin

LEARN = ("instruction+response", "response")
IGNORED = -100


@dataclass
class L2TCollator:
    """Make batches for instruction tuning from a processor.

    `learn` is "instruction+response" (L2T) or "response" (VIT, TRL's `assistant_only_loss`). `templates` are task sentences in
    user texts that carry no loss (see `mine_templates`). A row of over `max_length` tokens is refused, never cut. `text_only`
    accepts rows whose picture is missing. `pack="tree"` lays rows of one image out as one sequence (see `tree`), with the masks that
    `attention` asks for (`masks.attention_of(model)`; by default SDPA without windows). `boxes` names the dialect in which boxes
    are learnt ("family": that of the processor's family); "fraction" leaves texts as they are. `min_pixels` and
    `max_pixels` bound a picture before the processor sees it. `skip_bad` leaves a row that cannot be trained on out of its batch
    instead of refusing it; `skipped` counts such rows by reason, in this process.

    A call takes a list of rows and returns `input_ids`, `attention_mask` and `labels` (`[B, T]` int64, labels -100 where there is
    no loss) and what the processor makes of the pictures (`pixel_values`, ...). With `pack="tree"` B is the number of sequences,
    `attention_mask` is `[B, 1, T, T]` bool (or what `Attention.masks` says), and `position_ids` come with it (`[B, T]` int64, or
    `[3, B, T]` for a family that counts a picture's rows and columns).

    Raises `RowError` for a row that cannot be trained on or a batch without a trainable token, `ModelError` for a processor
    that does not fit.
    """

    processor: ProcessorMixin
    _: KW_ONLY
    learn: Literal["instruction+response", "response"] = "instruction+response"
    templates: Sequence[str] = ()
    max_length: int | None = None
    text_only: bool = False
    pack: Literal["tree"] | None = None
    boxes: str = "fraction"
    attention: Attention | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    skip_bad: bool = False
    skipped: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        if self.learn not in LEARN:
            raise InputError(f"learn is {self.learn!r}: expected one of {', '.join(map(repr, LEARN))}.")
        if self.pack not in (None, "tree"):
            raise InputError(f"pack is {self.pack!r}: expected None or 'tree'.")
        if self.max_length is not None and self.max_length < 1:
            raise InputError(f"max_length is {self.max_length}: expected None or a number of tokens that a row can have.")
        if not 0 < (self.min_pixels or 1) <= (self.max_pixels or math.inf):
            raise InputError(
                f"min_pixels is {self.min_pixels} and max_pixels {self.max_pixels}: expected numbers above 0, the smaller one first."
            )
        if isinstance(self.templates, str):
            raise InputError("templates is one string: expected a list of sentences, for example from mine_templates(dataset).")
        family = family_of(self.processor)
        if family.reads and self.learn != "response":
            raise ModelError(
                f"In {family.name} the part that looks at the picture reads the question too, so a question's words would be learnt "
                "from themselves: use learn='response' (--learn response)."
            )
        if self.pack == "tree":
            require_trees(family, self.learn)
        if self.boxes == "family":
            self.boxes = family.boxes
        self._dialect = dialect_named(self.boxes)
        self._bounds = Conventions(min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        self._pattern = template_pattern(self.templates)
        self._chat: tuple[Any, ChatTemplate] | None = None
        self._reserved: Reserved | None = None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate rows with `images` (or `image`) and `messages` into one batch."""
        if self.skip_bad:
            from comvint_hf.training.skip_rows import without_bad

            return without_bad(self, rows)
        return self.batch(rows)

    def batch(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate all of the rows. Raises `RowError` for the first that cannot be trained on."""
        if not rows:
            raise RowError("The batch has no rows: expected at least one, as there is nothing to train on.")
        if self.pack == "tree":
            return collate_trees(self, rows)
        conversations = [self.read(row, place) for place, row in enumerate(rows)]
        encoded, labels = self._encode(conversations)
        return {**encoded.features, "labels": self.trainable(labels)}

    def preview(self, row: Mapping[str, Any]) -> Preview:
        """Show which text of a row carries loss: in colour in a terminal, as HTML in a notebook, as plain text elsewhere."""
        encoded, labels = self._encode([self.read(row, 0)])
        return preview_of(encoded.texts[0], encoded.offsets[0], labels[0].numpy() != IGNORED, encoded.replacements[0])

    def check(self, row: Mapping[str, Any]) -> str | None:
        """Say why a row cannot be trained on, or `None`: for `dataset.filter` before training, reasons kept."""
        try:
            self._encode([self.read(row, 0)])
        except RowError as error:
            return str(error)
        return None

    def read(self, row: Mapping[str, Any], place: int) -> Conversation:
        """Read one row of a batch. Raises `RowError`."""
        if self._reserved is None:
            self._reserved = reserved_by(self.processor)
        conversation = read_row(row, place, reserved=self._reserved, text_only=self.text_only)
        if self.min_pixels or self.max_pixels:
            conversation = replace(conversation, images=[self._fitted(image, conversation.name) for image in conversation.images])
        return in_dialect(conversation, self._dialect, self.processor)

    def _fitted(self, image: Any, name: str) -> Any:
        if not hasattr(image, "resize") or hasattr(image, "shape"):
            raise RowError(f"{name} has a {type(image).__name__} as a picture: expected a PIL image, as pixel bounds are set.")
        return self._bounds.fitted(image)

    def render(self, conversations: Sequence[Conversation]) -> list[Rendered]:
        """Render conversations with the processor's present chat template."""
        source = getattr(self.processor, "chat_template", None)
        if self._chat is None or self._chat[0] != source:
            self._chat = source, ChatTemplate.of(self.processor)
        return self._chat[1].render(conversations, instructions=self.learn != "response")

    def trained_spans(self, rendered: Rendered) -> list[Span]:
        """The characters of a rendered conversation that carry loss; image placeholders may still be among them."""
        if self.learn == "response":
            return rendered.responses
        instructions = []
        for start, end in rendered.instructions:
            holes = template_spans(rendered.text[start:end], self._pattern)
            instructions += subtract([(start, end)], [(start + a, start + b) for a, b in holes])
        return instructions + rendered.responses

    def labels(self, encoded: Encoded, rendered: Sequence[Rendered]) -> torch.Tensor:
        """`[B, T]` int64: the token where it carries loss, -100 elsewhere."""
        import torch

        learnt = np.stack(
            [
                loss_mask(offsets, expanded(self.trained_spans(one), replaced))
                for offsets, one, replaced in zip(encoded.offsets, rendered, encoded.replacements, strict=True)
            ]
        )
        learnt &= encoded.features["attention_mask"].numpy() != 0
        return torch.where(torch.from_numpy(learnt), encoded.features["input_ids"], IGNORED)

    def refuse_long(self, names: Sequence[str], encoded: Encoded) -> None:
        """Raise `RowError` for the first row of over `max_length` tokens."""
        if self.max_length is None:
            return
        lengths = encoded.features["attention_mask"].sum(-1).tolist()
        for name, ids, length in zip(names, encoded.features["input_ids"], lengths, strict=True):
            if length > self.max_length:
                pictures = int(sum((ids == token).sum() for token in self.image_tokens))
                cut = ", image tokens among what would be cut" if pictures >= self.max_length else ""
                raise RowError(
                    f"{name} is {length} tokens long, {pictures} of them image tokens, and max_length is {self.max_length}{cut}. "
                    "Nothing is cut here: raise max_length (--max_length), use fewer image tokens, or drop the row.",
                    reason="too long",
                )

    def _encode(self, conversations: Sequence[Conversation]) -> tuple[Encoded, torch.Tensor]:
        rendered = self.render(conversations)
        names = [conversation.name for conversation in conversations]
        pictures = [conversation.images for conversation in conversations]
        encoded = encode(self.processor, [one.text for one in rendered], pictures, names)
        self.refuse_long(names, encoded)
        labels = self.labels(encoded, rendered)
        family = family_of(self.processor)
        if family.reads:
            questions = [_first_question(conversation) for conversation in conversations]
            encoded.features.update(reader_inputs(self.processor, questions))
        if family.prefix:
            encoded.features["token_type_ids"] = self._types(encoded.features["input_ids"], labels)
        return encoded, labels

    def _types(self, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Token types for a family with a prefix: what is learnt, and all that follows it, sees no later token."""
        if self.learn == "response":
            return ((labels != IGNORED).cumsum(-1) > 0).long()
        return types_after_pictures(input_ids, self.image_tokens)

    @staticmethod
    def trainable(labels: torch.Tensor) -> torch.Tensor:
        """The labels themselves. Raises `RowError` if no token carries loss."""
        if not (labels[..., 1:] != IGNORED).any():
            raise RowError(
                "No token of this batch carries loss, so it would train nothing. Look at a row with L2TCollator.preview(row): "
                "its text may be all task template, or the chat template's generation blocks may be empty.",
                reason="nothing to learn",
            )
        return labels

    @property
    def image_tokens(self) -> list[int]:
        return picture_tokens(self.processor)


def _first_question(conversation: Conversation) -> str:
    asked = next((turn for turn in conversation.messages if turn["role"] == "user"), {"content": []})
    return "".join(part.get("text", "") for part in asked["content"])


def reserved_by(processor: Any) -> Reserved:
    """What the processor and its tokenizer would not read as text."""
    tokenizer = tokenizer_of(processor)
    pictures = (getattr(processor, f"{kind}_token", None) for kind in ("image", "boi", "video", "audio"))
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return Reserved(
        frozenset({"<image>", *(str(token) for token in pictures if token)}),
        frozenset(token for token in special if token.strip()) - MARKERS,
    )
