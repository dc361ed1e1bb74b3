"""What a run asked, got and paid (`Usage`), and what the replies behind some rows took, whenever they were paid (`Bill`).

The first changes with every run and is shown while it goes on; the second is the same however often a build was broken off,
so it may stand in `build.json`. This file knows counts only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from comvint_hf.formatting import dollars

if TYPE_CHECKING:
    from comvint_hf.generation.client.cache import Paid

NANO = 1_000_000_000
COUNTED = ("requests", "unusable", "prompt_tokens", "completion_tokens", "cost", "unpriced")


@dataclass(slots=True)
class Count:
    """The counts of one prompt at one model.

    `requests` brought a reply, `retries` were sent again after a failure, `cached` questions needed no request, `rejected`
    replies did not fit; `unpriced` replies had no known price and are not in `cost` (dollars).
    """

    requests: int = 0
    retries: int = 0
    cached: int = 0
    rejected: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0

    def add(self, other: Count) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Usage:
    """The counts of a run, shared by all its LLMs."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Count] = {}
        self._began = time.monotonic()

    def of(self, model: str, prompt: str) -> Count:
        """The count to add to for a prompt at a model."""
        return self._counts.setdefault((model, prompt), Count())

    @property
    def used(self) -> bool:
        """Whether anything was asked."""
        return bool(self._counts)

    @property
    def models(self) -> set[str]:
        """Who was asked."""
        return {model for model, _ in self._counts}

    @property
    def total(self) -> Count:
        """Everything together."""
        return _together(self._counts.values())

    def to_json(self) -> list[tuple[str, str, dict[str, float]]]:
        """Every count with its model and prompt, for `add` of another process."""
        return [(model, prompt, asdict(count)) for (model, prompt), count in self._counts.items()]

    def add(self, told: list[tuple[str, str, dict[str, float]]]) -> None:
        """Add what another usage told with `to_json`."""
        for model, prompt, count in told:
            self.of(model, prompt).add(Count(**count))

    def summary(self) -> dict[str, Any]:
        """Everything as plain numbers: the totals, the rate, and the counts by model and by prompt.

        `cost` is what priced replies cost; where `unpriced` is not 0, some replies had no known price.
        """
        seconds = time.monotonic() - self._began
        total = self.total
        return {
            **asdict(total),
            "seconds": round(seconds, 3),
            "requests_per_second": round(total.requests / seconds, 3) if seconds else 0.0,
            "models": self._grouped(0),
            "prompts": self._grouped(1),
        }

    def _grouped(self, part: int) -> dict[str, dict[str, Any]]:
        names = sorted({key[part] for key in self._counts})
        return {name: asdict(_together(count for key, count in self._counts.items() if key[part] == name)) for name in names}

    def line(self) -> str:
        """The running totals in one line, for a progress display.

        >>> Usage().line()
        '0 requests, 0 from the cache, 0 tokens, $0.00'
        """
        return _told(self.total)

    def lines(self) -> list[str]:
        """The totals of each model and, where it was asked several prompts, of each of them, for the end of a run."""
        told: list[str] = []
        for model, whole in self._grouped(0).items():
            told.append(f"{model}: {_told(Count(**whole))}")
            prompts = sorted((prompt, count) for (name, prompt), count in self._counts.items() if name == model)
            told += [f"  {prompt}: {_told(count)}" for prompt, count in prompts if len(prompts) > 1]
        return told


def _together(counts: Any) -> Count:
    total = Count()
    for count in counts:
        total.add(count)
    return total


def _told(count: Count) -> str:
    tokens = count.prompt_tokens + count.completion_tokens
    price = "cost unknown" if count.unpriced and not count.cost else dollars(count.cost)
    extra = f", {count.retries:,} retries" if count.retries else ""
    extra += f", {count.rejected:,} unusable" if count.rejected else ""
    return f"{count.requests:,} requests{extra}, {count.cached:,} from the cache, {tokens:,} tokens, {price}"


class Bill:
    """What the replies to some questions took, by model and prompt: each question once, with every attempt at it.

    Costs are added as whole billionths of a dollar, so the order in which replies come changes no digit.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._seen: set[bytes] = set()

    def take(self, key: bytes, model: str, prompt: str, replies: Collection[Paid], unusable: int) -> None:
        """Add the replies to the question `key`, of which so many did not fit."""
        if key in self._seen:
            return
        self._seen.add(key)
        self._add(
            (model, prompt),
            requests=len(replies),
            unusable=unusable,
            prompt_tokens=sum(paid.prompt_tokens for paid in replies),
            completion_tokens=sum(paid.completion_tokens for paid in replies),
            cost=sum(round((paid.cost or 0) * NANO) for paid in replies),
            unpriced=sum(paid.cost is None for paid in replies),
        )

    def merge(self, written: dict[str, Any]) -> None:
        """Add what another bill wrote down with `to_json`."""
        for model, held in written.items():
            for prompt, counts in held["prompts"].items():
                self._add((model, prompt), **{**counts, "cost": round(counts["cost"] * NANO)})

    def to_json(self) -> dict[str, Any]:
        """By model: requests, unusable, prompt_tokens, completion_tokens, cost (dollars), unpriced, and the same by `prompts`."""
        return {
            model: {
                **_dollars(sum((counts for (name, _), counts in self._counts.items() if name == model), Counter())),
                "prompts": {
                    prompt: _dollars(self._counts[name, prompt]) for name, prompt in sorted(self._counts) if name == model
                },
            }
            for model in sorted({model for model, _ in self._counts})
        }

    def _add(self, where: tuple[str, str], **counts: int) -> None:
        self._counts.setdefault(where, Counter()).update(counts)


def _dollars(counts: Counter[str]) -> dict[str, float]:
    return {name: counts[name] for name in COUNTED} | {"cost": counts["cost"] / NANO}


_open: ContextVar[Bill | None] = ContextVar("comvint_bill", default=None)


@contextmanager
def billed() -> Iterator[Bill]:
    """Gather what every question asked in here took, by whatever task it is asked."""
    bill = Bill()
    token = _open.set(bill)
    try:
        yield bill
    finally:
        _open.reset(token)


def bill(key: bytes, model: str, prompt: str, replies: Collection[Paid], unusable: int) -> None:
    """Put the replies to a question on the bill that is open, if one is."""
    if (held := _open.get()) is not None:
        held.take(key, model, prompt, replies, unusable)
