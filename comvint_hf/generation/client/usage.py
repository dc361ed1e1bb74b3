"""Counts of requests, tokens and costs: of a run (`Usage`), and of the replies behind some rows (`CostRecord`).

A run's usage differs each time and is shown while it goes on. A cost record is the same however often a build was
interrupted, so `build.json` may hold it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from comvint_hf.formatting import format_cost

if TYPE_CHECKING:
    from comvint_hf.generation.client.cache import RawReply

NANO = 1_000_000_000
RECORDED = ("requests", "unusable", "prompt_tokens", "completion_tokens", "cost", "unpriced")


@dataclass(slots=True)
class UsageCounts:
    """The counts of one prompt at one model.

    Attributes:
        requests: Requests that brought a reply.
        retries: Requests that were sent again after a failure.
        cached: Prompts that needed no request.
        rejected: Replies that did not match their schema.
        cost: Dollars, without the `unpriced` replies.
        unpriced: Replies whose price is unknown.
        corrected: Replies whose token counts could not be right, and were corrected.
        repaired: Replies whose JSON had to be repaired, those from the cache included.
        reused_tokens: Prompt tokens that the provider had cached, and billed at the price of such.
    """

    requests: int = 0
    retries: int = 0
    cached: int = 0
    rejected: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    corrected: int = 0
    repaired: int = 0
    reused_tokens: int = 0

    def add(self, other: UsageCounts) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Usage:
    """The counts of a run, shared by all its LLMs."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], UsageCounts] = {}
        self._started = time.monotonic()

    def get_counts(self, model: str, prompt: str) -> UsageCounts:
        """The counts of a prompt at a model, to be added to."""
        return self._counts.setdefault((model, prompt), UsageCounts())

    @property
    def has_counts(self) -> bool:
        """Whether any prompt was asked."""
        return bool(self._counts)

    @property
    def models(self) -> set[str]:
        """The models that were asked."""
        return {model for model, _ in self._counts}

    @property
    def total(self) -> UsageCounts:
        """The sum of all counts."""
        return _sum_counts(self._counts.values())

    @property
    def by_model(self) -> dict[str, UsageCounts]:
        """The counts of each model."""
        return self._group_by(0)

    @property
    def by_prompt(self) -> dict[str, UsageCounts]:
        """The counts of each prompt."""
        return self._group_by(1)

    def to_json(self) -> list[tuple[str, str, dict[str, Any]]]:
        """All counts with their model and prompt, for `merge` in another process."""
        return [(model, prompt, asdict(counts)) for (model, prompt), counts in self._counts.items()]

    def merge(self, written: list[tuple[str, str, dict[str, Any]]]) -> None:
        """Add the counts that another usage gave as JSON."""
        for model, prompt, counts in written:
            self.get_counts(model, prompt).add(UsageCounts(**counts))

    def summary(self) -> dict[str, Any]:
        """The total, the rate, and the counts by model and by prompt, as plain numbers."""
        seconds = time.monotonic() - self._started
        total = self.total
        return {
            **asdict(total),
            "seconds": round(seconds, 3),
            "requests_per_second": round(total.requests / seconds, 3) if seconds else 0.0,
            "models": {name: asdict(counts) for name, counts in self._group_by(0).items()},
            "prompts": {name: asdict(counts) for name, counts in self._group_by(1).items()},
        }

    def _group_by(self, part: int) -> dict[str, UsageCounts]:
        """The counts by model (0) or by prompt (1)."""
        names = sorted({key[part] for key in self._counts})
        return {name: _sum_counts(counts for key, counts in self._counts.items() if key[part] == name) for name in names}

    def format_line(self) -> str:
        """Format the total on one line.

        >>> Usage().format_line()
        '0 requests, 0 from the cache, 0 tokens, $0.00'
        """
        return _format_counts(self.total)

    def format_lines(self) -> list[str]:
        """Format the total of each model and, where it was asked several prompts, of each of them."""
        lines: list[str] = []
        for model, total in self._group_by(0).items():
            lines.append(f"{model}: {_format_counts(total)}")
            prompts = sorted((prompt, counts) for (name, prompt), counts in self._counts.items() if name == model)
            lines += [f"  {prompt}: {_format_counts(counts)}" for prompt, counts in prompts if len(prompts) > 1]
        return lines


def _sum_counts(counts: Iterable[UsageCounts]) -> UsageCounts:
    total = UsageCounts()
    for one in counts:
        total.add(one)
    return total


def _format_counts(counts: UsageCounts) -> str:
    tokens = counts.prompt_tokens + counts.completion_tokens
    cost = "cost unknown" if counts.unpriced and not counts.cost else format_cost(counts.cost)
    extra = f", {counts.retries:,} retries" if counts.retries else ""
    extra += f", {counts.rejected:,} unusable" if counts.rejected else ""
    extra += f", {counts.repaired:,} repaired" if counts.repaired else ""
    extra += f", {counts.corrected:,} with corrected token counts" if counts.corrected else ""
    reused = f" ({counts.reused_tokens:,} cached by the provider)" if counts.reused_tokens else ""
    return f"{counts.requests:,} requests{extra}, {counts.cached:,} from the cache, {tokens:,} tokens{reused}, {cost}"


class CostRecord:
    """The cost of the replies to some requests, by model and prompt: each request once, with all its attempts.

    Costs are added in whole billionths of a dollar, so that the sum does not depend on the order of replies.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._seen: set[bytes] = set()

    def add_request(
        self, key: bytes, model: str, prompt: str, replies: Collection[RawReply], unusable: int, repaired: int = 0
    ) -> None:
        """Add the replies to the request `key`, of which `unusable` did not match their schema and `repaired` were repaired."""
        if key in self._seen:
            return
        self._seen.add(key)
        self._add(
            (model, prompt),
            requests=len(replies),
            unusable=unusable,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
            cost=sum(round((reply.cost or 0) * NANO) for reply in replies),
            unpriced=sum(reply.cost is None for reply in replies),
            repaired=repaired,
        )

    def merge(self, written: dict[str, Any]) -> None:
        """Add what another record gave as JSON."""
        for model, counts_of_model in written.items():
            for prompt, counts in counts_of_model["prompts"].items():
                self._add((model, prompt), **{**counts, "cost": round(counts["cost"] * NANO)})

    def to_json(self) -> dict[str, Any]:
        """By model: the `RECORDED` counts, with the cost in dollars and `repaired` where any were, and the same by `prompts`."""
        return {
            model: {
                **_to_dollars(sum((counts for (name, _), counts in self._counts.items() if name == model), Counter())),
                "prompts": {
                    prompt: _to_dollars(self._counts[name, prompt]) for name, prompt in sorted(self._counts) if name == model
                },
            }
            for model in sorted({model for model, _ in self._counts})
        }

    def _add(self, model_and_prompt: tuple[str, str], **counts: int) -> None:
        self._counts.setdefault(model_and_prompt, Counter()).update(counts)


def _to_dollars(counts: Counter[str]) -> dict[str, float]:
    repaired = {"repaired": counts["repaired"]} if counts["repaired"] else {}
    return {name: counts[name] for name in RECORDED} | {"cost": counts["cost"] / NANO} | repaired


_current: ContextVar[CostRecord | None] = ContextVar("comvint_costs", default=None)


@contextmanager
def collect_costs() -> Iterator[CostRecord]:
    """Record the cost of all requests of this task and those it starts."""
    record = CostRecord()
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)


def record_cost(key: bytes, model: str, prompt: str, replies: Collection[RawReply], unusable: int, repaired: int = 0) -> None:
    """Add the replies to a request to the current cost record, if there is one."""
    if (record := _current.get()) is not None:
        record.add_request(key, model, prompt, replies, unusable, repaired)
