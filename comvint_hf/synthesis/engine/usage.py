"""What a run asked, got and paid, by model and by prompt: what the progress line and `build.json` show.

This file knows counts only.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from typing import Any


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
    def total(self) -> Count:
        """Everything together."""
        return _together(self._counts.values())

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
        total = self.total
        tokens = total.prompt_tokens + total.completion_tokens
        price = "cost unknown" if total.unpriced and not total.cost else f"${total.cost:.2f}"
        extra = f", {total.retries} retries" if total.retries else ""
        return f"{total.requests:,} requests{extra}, {total.cached:,} from the cache, {tokens:,} tokens, {price}"


def _together(counts: Any) -> Count:
    total = Count()
    for count in counts:
        total.add(count)
    return total
