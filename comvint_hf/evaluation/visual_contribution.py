"""Visual contribution: how much more likely the image makes the true answers than noise in its place (PAPERS section 3).

VC of a row = log p(responses | image, instructions) - log p(responses | noise, instructions), in nats, summed over the tokens of
its responses. A model that ignores the image has VC 0. The collator decides which tokens are responses.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from comvint_hf.errors import RowError
from comvint_hf.evaluation.compare import bootstrap_interval
from comvint_hf.evaluation.metrics import group_by
from comvint_hf.images import decode_image
from comvint_hf.model_families import family_of, image_token_ids, types_after_images
from comvint_hf.serving.chat import no_progress
from comvint_hf.serving.local import to_model_inputs

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import PreTrainedModel

    from comvint_hf.conventions import Conventions
    from comvint_hf.evaluation.evaluate import Rows
    from comvint_hf.serving.chat import OnProgress
    from comvint_hf.serving.local import LocalChat

GROUP_KEYS = ("task", "format")


class Collator(Protocol):
    """Makes batches of rows with labels on the responses only; `read` raises `RowError` for an unusable row."""

    def __call__(self, rows: Sequence[Mapping[str, Any]], /) -> dict[str, torch.Tensor]: ...
    def read(self, row: Mapping[str, Any], place: int) -> Any: ...


@dataclass(frozen=True)
class Contribution:
    """A row with the log-probabilities of its responses (nats, summed over `tokens` tokens), given its image and given noise."""

    id: str
    image_id: str
    task: str
    format: str
    tokens: int
    with_image: float
    with_noise: float

    @property
    def value(self) -> float:
        return self.with_image - self.with_noise


@dataclass
class ContributionResults:
    """The measured rows, and for each other row the reason why it was left out."""

    rows: list[Contribution] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def measure_contributions(
    chat: LocalChat, collator: Collator, rows: Rows, *, seed: int = 0, batch_size: int = 8, on_progress: OnProgress = no_progress
) -> ContributionResults:
    """Measure every row that has an image.

    Args:
        chat: The model, on this machine.
        collator: The collator that the model was trained with, with labels on the responses.
        rows: The rows.
        seed: The seed of the noise.
        batch_size: The number of rows a batch.
        on_progress: Called with the number of finished rows.

    Raises:
        RowError: If no row could be measured.
    """
    results = ContributionResults()
    for start in range(0, len(rows), batch_size):
        batch = [rows[index] for index in range(start, min(start + batch_size, len(rows)))]
        problems = [_find_problem(row, collator) for row in batch]
        results.left_out += filter(None, problems)
        usable = [fit_images(row, chat.conventions) for row, problem in zip(batch, problems, strict=True) if not problem]
        results.rows += _measure_batch(chat, collator, usable, seed) if usable else []
        on_progress(start + len(batch))
    if not results.rows:
        raise RowError(f"No row can be measured. The first problem: {[*results.left_out, 'there are no rows.'][0]}")
    return results


def fit_images(row: Mapping[str, Any], conventions: Conventions) -> dict[str, Any]:
    """Decode the images of a row and resize them to the model's pixel bounds."""
    return {**row, "images": [conventions.fit_image(decode_image(image)) for image in row["images"]]}


def replace_with_noise(row: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Replace each image of a row by noise of its size."""
    # The noise depends on the row's id, so results depend neither on the batch size nor on the other rows.
    key = zlib.crc32(str(row.get("id")).encode())
    return {**row, "images": [make_noise(image.size, (seed, key, index)) for index, image in enumerate(row["images"])]}


def make_noise(size: tuple[int, int], seed: int | Sequence[int]) -> Image:
    """Make an RGB image of `size` (width, height) with values drawn uniformly from 0 to 255."""
    from PIL import Image

    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8))


def compute_log_probs(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> tuple[list[float], list[int]]:
    """Compute for each row the log-probability of its labelled tokens (nats), and count these tokens."""
    import torch

    labels = batch["labels"][:, 1:].to(model.device)
    labelled = labels != -100
    with torch.inference_mode():
        logits = model(**to_model_inputs(batch, model)).logits[:, :-1][labelled].float()
        # Sums of many tokens in float64, as the difference of two of them is the result.
        log_probs = torch.zeros(labels.shape, dtype=torch.float64, device=model.device)
        log_probs[labelled] = -torch.nn.functional.cross_entropy(logits, labels[labelled], reduction="none").double()
    return log_probs.sum(-1).tolist(), labelled.sum(-1).tolist()


def aggregate_contributions(results: ContributionResults) -> dict[str, Any]:
    """Compute the mean with its 95 % interval over all rows and by group, a row and a token, as results.json holds it."""
    groups = {key: group_by(results.rows, key) for key in GROUP_KEYS}
    return {
        **_summary(results.rows),
        "left_out": {"n": len(results.left_out), "first": next(iter(results.left_out), None)},
        **{f"by_{key}": {name: _summary(own) for name, own in groups[key].items()} for key in GROUP_KEYS},
    }


def contribution_records(results: ContributionResults) -> Iterator[dict[str, Any]]:
    """Yield one record a row, as results_vc.jsonl holds it."""
    keys = {"image_id": "image", "with_image": "picture", "with_noise": "noise"}  # the file's names, which older files have too
    for row in results.rows:
        yield {**{keys.get(name, name): value for name, value in asdict(row).items()}, "value": row.value}


def _find_problem(row: Mapping[str, Any], collator: Collator) -> str | None:
    """Return why a row cannot be measured, or `None` if it can."""
    if not row.get("images"):
        return f"Row {row.get('id')!r} has no image."
    try:
        collator.read(row, 0)
    except RowError as error:
        return str(error)
    return None


def _measure_batch(chat: LocalChat, collator: Collator, rows: Sequence[Mapping[str, Any]], seed: int) -> list[Contribution]:
    noise = [replace_with_noise(row, seed) for row in rows]
    (with_image, tokens), (with_noise, _) = (
        compute_log_probs(chat.model, _set_token_types(collator(batch), chat)) for batch in (rows, noise)
    )
    return [
        Contribution(
            str(row.get("id", "")), str(row.get("image_id", "")), row.get("task") or "", row.get("format") or "open", count, *sums
        )
        for row, count, *sums in zip(rows, tokens, with_image, with_noise, strict=True)
    ]


def _set_token_types(batch: dict[str, torch.Tensor], chat: LocalChat) -> dict[str, torch.Tensor]:
    """Give instructions the token types of their training, if the model learned them too and its family has a bidirectional prefix."""
    if family_of(chat.processor).bidirectional_prefix and chat.conventions.learn == "instruction+response":
        batch["token_type_ids"] = types_after_images(batch["input_ids"], image_token_ids(chat.processor))
    return batch


def _summary(rows: Sequence[Contribution]) -> dict[str, Any]:
    estimate = bootstrap_interval(np.array([[row.value for row in rows]]), [row.image_id for row in rows])
    tokens = sum(row.tokens for row in rows)
    return {
        "n": estimate.n,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "per_token": sum(row.value for row in rows) / tokens if tokens else None,
    }
