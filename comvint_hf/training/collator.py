"""L2TCollator: rows of images and conversations in, a batch with exact labels out.

It works wherever a `data_collator` or `collate_fn` is taken, and needs torch and transformers only. It knows no trainer and no
model. The work on a row is in `encoder`, message trees are in `packing`, and rows that cannot be trained on are in `skip_rows`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from comvint_hf.errors import InputError, ModelError, RowError
from comvint_hf.model_families import family_of
from comvint_hf.training.encoder import RowEncoder, check_has_loss
from comvint_hf.training.loss_mask import IGNORE_INDEX
from comvint_hf.training.packing.collate import check_tree_support, collate_trees
from comvint_hf.training.packing.masks import AttentionSettings
from comvint_hf.training.preview import Preview, make_preview
from comvint_hf.training.rows import Entry, Row
from comvint_hf.training.skip_rows import NONE_LEFT, decode_shared_images, drop_bad_rows
from comvint_hf.training.tokenization import get_tokenizer

if TYPE_CHECKING:
    import torch


@dataclass
class L2TCollator(RowEncoder):
    """A data collator for instruction tuning, made from a processor.

    A call takes a list of rows with `images` (or `image`) and `messages`. It returns `input_ids`, `attention_mask` and `labels`
    (`[B, T]` int64, labels -100 where there is no loss) and the processor's image features (`pixel_values`, ...). With
    `pack="tree"` B is the number of sequences, `attention_mask` is `[B, 1, T, T]` bool (or as `AttentionSettings.make_masks`
    says), and there are `position_ids` (`[B, T]` int64, or `[3, B, T]` for a family with M-RoPE).

    Args:
        processor: The model's processor, or a tokenizer for rows without images.
        learn: "instruction+response" (L2T) or "response" (VIT, TRL's `assistant_only_loss`).
        templates: Task sentences in user texts that carry no loss (see `mine_templates`).
        max_length: Rows of more tokens are refused, never cut.
        text_only: Accept rows whose image is missing.
        boxes: The dialect in which boxes are trained; "family" takes that of the processor's family, "fraction" leaves texts alone.
        min_pixels: Enlarge smaller images to this many pixels before the processor sees them.
        max_pixels: Shrink larger images to this many pixels.
        pack: "tree" lays the rows of one image out as one sequence (see `packing.trees`).
        attention: The model's attention, for the masks of trees (`packing.masks.read_attention(model)`); SDPA without windows if
            not given.
        skip_bad: Leave a row that cannot be trained on out of its batch instead of refusing it; `skipped` counts such rows by
            reason, in this process.

    Raises:
        RowError: A row cannot be trained on, or no token of a batch carries loss.
        ModelError: The processor does not fit.
    """

    _: KW_ONLY
    pack: Literal["tree"] | None = None
    attention: AttentionSettings | None = None
    skip_bad: bool = False
    skipped: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pack not in (None, "tree"):
            raise InputError(f"pack is {self.pack!r}: expected None or 'tree'.")
        if self.pack == "tree":
            check_tree_support(family_of(self.processor), self.learn)

    def __call__(self, rows: Sequence[Entry]) -> dict[str, torch.Tensor]:
        """Collate rows into one batch; with `pack="tree"` an entry may also be a list of rows that share their images."""
        return self._collate_good_rows(rows) if self.skip_bad else self.collate(rows)

    def collate(self, rows: Sequence[Entry]) -> dict[str, torch.Tensor]:
        """Collate all of the rows. Raises `RowError` for the first that cannot be trained on."""
        if not rows:
            raise RowError("The batch has no rows: expected at least one.")
        if self.pack == "tree":
            return collate_trees(self, self.attention, rows)
        encoded, labels = self.encode([self.read(row, index) for index, row in enumerate(rows)])
        return {**encoded.features, "labels": check_has_loss(labels)}

    def preview(self, row: Row) -> Preview:
        """Show which text of a row carries loss: in colour in a terminal, as HTML in a notebook, as plain text elsewhere."""
        encoded, labels = self.encode([self.read(row, 0)])
        return make_preview(encoded.texts[0], encoded.offsets[0], labels[0].numpy() != IGNORE_INDEX, encoded.replacements[0])

    def check(self, row: Row) -> str | None:
        """Say why a row cannot be trained on, or return `None`. For `dataset.filter` before training."""
        try:
            self.encode([self.read(row, 0)])
        except RowError as error:
            return str(error)
        return None

    def make_empty_batch(self) -> dict[str, torch.Tensor]:
        """Make a batch without a label, for a step that has no row left: it passes through the model and changes nothing."""
        from PIL import Image

        messages = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "Nothing."}]
        has_images = get_tokenizer(self.processor) is not self.processor
        row = {"messages": messages, "images": [Image.new("RGB", (64, 64))] if has_images else []}
        # The collator's own limits could refuse this row.
        batch = replace(self, max_length=None, templates=()).collate([row])
        batch["labels"].fill_(IGNORE_INDEX)
        return batch

    def count_skipped(self, errors: Sequence[RowError]) -> None:
        """Count rows that are left out, by reason; the first of each reason gives a warning."""
        for error in errors:
            if not self.skipped[error.reason]:
                warnings.warn(
                    f"{error} The row is left out of its batch; later ones are only counted ({error.reason}).", stacklevel=2
                )
            self.skipped[error.reason] += 1

    def _collate_good_rows(self, entries: Sequence[Entry]) -> dict[str, torch.Tensor]:
        # Reading finds most bad rows and is cheap; only the rest is found by collating rows one by one.
        for attempt in (lambda row: self.read(row, 0), lambda row: self.collate([row])):
            try:
                return self.collate([decode_shared_images(entry) for entry in entries])
            except ModelError:
                raise
            except ValueError:
                entries, errors = drop_bad_rows(entries, attempt)
            self.count_skipped(errors)
            if not entries:
                raise RowError(f"No row of this batch can be trained on; the first: {errors[0]}", NONE_LEFT)
        return self.collate(entries)
