"""Visual contribution: how much likelier the picture makes the true answers, against noise in its place (PAPERS section 3).

VC of a row = log p(responses | picture, instructions) - log p(responses | noise, instructions), in nats, summed over the tokens of
its responses; a model that does not look has 0. This file knows a chat with a model here, rows, and the collator that is handed to
it: which tokens are responses is the collator's to say.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from comvint_hf.errors import RowError
from comvint_hf.evaluation.compare import interval
from comvint_hf.model_families import family_of, picture_tokens, types_after_pictures
from comvint_hf.serving.chat import open_picture

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn

    from comvint_hf.conventions import Conventions
    from comvint_hf.evaluation.evaluate import Done, Rows
    from comvint_hf.serving.local import LocalChat

KINDS = ("task", "format")


class Collator(Protocol):
    """What makes a batch of rows, with labels on their responses alone, and raises `RowError` for a row it cannot read."""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]: ...
    def read(self, row: Mapping[str, Any], place: int) -> Any: ...


@dataclass(frozen=True)
class Contribution:
    """One row: log-likelihoods of its responses (nats, over `tokens` tokens) with its picture and with noise."""

    id: str
    image: str
    task: str
    format: str
    tokens: int
    picture: float
    noise: float

    @property
    def value(self) -> float:
        return self.picture - self.noise


@dataclass
class Contributions:
    """The rows measured, and why others were left out."""

    rows: list[Contribution] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def contributions(
    chat: LocalChat, collator: Collator, rows: Rows, *, seed: int = 0, batch_size: int = 8, done: Done | None = None
) -> Contributions:
    """Measure every row that has a picture.

    The noise of a row depends on `seed` and the row's id alone, so figures depend neither on the batch size nor on other rows.
    Raises `RowError` if no row is left.
    """
    found = Contributions()
    for start in range(0, len(rows), batch_size):
        seen = [rows[place] for place in range(start, min(start + batch_size, len(rows)))]
        reasons = [_unusable(row, collator) for row in seen]
        found.left_out += filter(None, reasons)
        usable = [with_pictures(row, chat.conventions) for row, reason in zip(seen, reasons, strict=True) if not reason]
        found.rows += _measured(chat, collator, usable, seed) if usable else []
        if done is not None:
            done(start + len(seen))
    if not found.rows:
        raise RowError(f"No row shows what its picture contributes; the first was left out so: {[*found.left_out, 'no rows'][0]}")
    return found


def with_pictures(row: Mapping[str, Any], conventions: Conventions) -> dict[str, Any]:
    """The row with its pictures decoded, within the model's bounds of size."""
    return {**row, "images": [conventions.fitted(open_picture(picture)) for picture in row["images"]]}


def with_noise(row: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The row with noise in place of each picture, as large as that."""
    name = zlib.crc32(str(row.get("id")).encode())
    return {**row, "images": [noise(picture.size, (seed, name, place)) for place, picture in enumerate(row["images"])]}


def noise(size: tuple[int, int], seed: int | Sequence[int]) -> Image:
    """An RGB picture of `size` (width, height) in which every value is drawn evenly from 0 to 255."""
    from PIL import Image

    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8))


def log_likelihoods(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> tuple[list[float], list[int]]:
    """For each row of a batch the log-likelihood of its labelled tokens (nats), and how many these are."""
    import torch

    device, dtype = next(model.parameters()).device, model.dtype
    labels = batch["labels"][:, 1:].to(device)
    features = {
        name: value.to(device, dtype if torch.is_floating_point(value) else None)
        for name, value in batch.items()
        if isinstance(value, torch.Tensor) and name != "labels"
    }
    learnt = labels != -100
    with torch.inference_mode():
        logits = model(**features).logits[:, :-1][learnt].float()
        each = torch.zeros(labels.shape, dtype=torch.float64, device=device)
        each[learnt] = -torch.nn.functional.cross_entropy(logits, labels[learnt], reduction="none").double()
    return each.sum(-1).tolist(), learnt.sum(-1).tolist()


def summarise(found: Contributions) -> dict[str, Any]:
    """The mean with its 95 % interval over all rows and by kind, per row and per token, as results.json holds it."""
    return {
        **_mean(found.rows),
        "left_out": {"n": len(found.left_out), "first": next(iter(found.left_out), None)},
        **{f"by_{kind}": {name: _mean(own) for name, own in _by(found.rows, kind).items()} for kind in KINDS},
    }


def records(found: Contributions) -> Iterator[dict[str, Any]]:
    """One record a row, for a file beside results.json."""
    return ({**asdict(row), "value": row.value} for row in found.rows)


def _unusable(row: Mapping[str, Any], collator: Collator) -> str | None:
    """Why a row cannot be measured, else `None`."""
    if not row.get("images"):
        return f"Row {row.get('id')!r} has no picture."
    try:
        collator.read(row, 0)
    except RowError as error:
        return str(error)
    return None


def _measured(chat: LocalChat, collator: Collator, rows: Sequence[Mapping[str, Any]], seed: int) -> list[Contribution]:
    noisy = [with_noise(row, seed) for row in rows]
    (seen, tokens), (blind, _) = (log_likelihoods(chat.model, _as_trained(collator(some), chat)) for some in (rows, noisy))
    return [
        Contribution(
            str(row.get("id", "")), str(row.get("image_id", "")), row.get("task") or "", row.get("format") or "open", *numbers
        )
        for row, *numbers in zip(rows, tokens, seen, blind, strict=True)
    ]


def _as_trained(batch: dict[str, torch.Tensor], chat: LocalChat) -> dict[str, torch.Tensor]:
    """The batch with the token types under which a family with a prefix learnt its instructions too."""
    if family_of(chat.processor).prefix and chat.conventions.learn == "instruction+response":
        batch["token_type_ids"] = types_after_pictures(batch["input_ids"], picture_tokens(chat.processor))
    return batch


def _mean(rows: Sequence[Contribution]) -> dict[str, Any]:
    """Whole images are drawn for the interval, because rows about one picture are alike (see `comparing.interval`)."""
    whole = interval(np.array([[row.value for row in rows]]), [row.image for row in rows])
    tokens = sum(row.tokens for row in rows)
    return {
        "n": whole.n,
        "value": whole.value,
        "low": whole.low,
        "high": whole.high,
        "per_token": sum(row.value for row in rows) / tokens if tokens else None,
    }


def _by(rows: Sequence[Contribution], kind: str) -> dict[str, list[Contribution]]:
    groups: dict[str, list[Contribution]] = {}
    for row in rows:
        groups.setdefault(getattr(row, kind), []).append(row)
    return dict(sorted(groups.items()))
