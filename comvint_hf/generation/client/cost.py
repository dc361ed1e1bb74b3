"""Prices of models, and the budget of a reply cache.

The budget covers everything that one cache file has paid for, by any process at any time: a run that crashed and starts
again, and parallel processes, share it. Amounts are in dollars; prices are per million tokens.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import sqlite3
import tomllib
from collections import deque
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from comvint_hf.errors import BudgetError, InputError, first_line
from comvint_hf.formatting import format_cost
from comvint_hf.generation.client.cache import Cache

PRICES_FILE = Path(__file__).parent / "prices.toml"
SPARE_REQUESTS = 8
"""A process takes budget for this many further requests, but at most half of what is left, so that another process may start
beside it; a crash can strand no more than that."""
_DATE_SUFFIX = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


class Price(BaseModel):
    """The price of a model in dollars per million tokens.

    Attributes:
        cached_input: Price of prompt tokens that the provider had cached; `input` by default.
        batch: Factor of the batch API.
        image_tokens: Most prompt tokens of one image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached_input: float | None = Field(None, ge=0, allow_inf_nan=False)
    batch: float = Field(1.0, ge=0, allow_inf_nan=False)
    image_tokens: int = Field(1500, ge=0)

    def compute_cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0, *, batch: bool = False) -> float:
        """Dollars for a reply; `cached_tokens` are the part of the prompt that the provider had cached.

        >>> Price(input=1, output=2).compute_cost(1_000_000, 500_000)
        2.0
        """
        cached = self.input if self.cached_input is None else self.cached_input
        cost = (prompt_tokens - cached_tokens) * self.input + cached_tokens * cached + completion_tokens * self.output
        return cost * (self.batch if batch else 1) / 1_000_000


_PRICE_TABLE = TypeAdapter(dict[str, Price])


@functools.cache
def load_prices(file: Path | None = None) -> dict[str, Price]:
    """Load the package's price table, updated with that of `file`. Raises `InputError` for a file that is no such table."""
    table: dict[str, Price] = {}
    for path in (PRICES_FILE, file) if file else (PRICES_FILE,):
        try:
            table |= _PRICE_TABLE.validate_python(tomllib.loads(Path(path).read_text()))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} is no price file ({_format_problem(error)}): expected a table a model with input and output; see "
                f"{PRICES_FILE}."
            ) from error
    return table


def _format_problem(error: Exception) -> str:
    """The first problem of a price file, with its place."""
    if not isinstance(error, ValidationError):
        return first_line(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def find_price(model: str, file: Path | None = None) -> Price | None:
    """The price of a model, or of its name without a date; `None` if no file has it."""
    table = load_prices(file)
    return table.get(model) or table.get(_DATE_SUFFIX.sub("", model))


class BudgetMeter:
    """The budget of a run, shared by all its LLMs.

    The highest cost of a request is reserved before it is sent, and settled with the real one afterwards. With a budget the
    process first takes that much from the cache file, in a transaction, so that no two processes take the same dollar.

    Attributes:
        spent: Dollars that replies did cost.
        unconfirmed: Dollars of requests that the provider may bill although no reply came.
    """

    def __init__(self, cache: Cache, budget: float | None = None) -> None:
        if budget is not None and not (math.isfinite(budget) and budget >= 0):
            raise InputError(f"A budget of {budget} cannot be kept: expected a finite number of dollars of at least 0.")
        self.budget = budget
        self.spent = 0.0
        self.unconfirmed = 0.0
        self._cache = cache
        self._reserved = 0.0
        self._in_flight = 0
        self._granted = 0.0
        self._paid_at_close: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        cache.on_close(self._release_grant)

    async def reserve(self, max_cost: float) -> float:
        """Reserve the highest cost of a request and return it; wait while requests in flight may release some.

        Raises `BudgetError` when nothing is in flight and the budget could be exceeded.
        """
        while self.budget is not None and not self._has_room(max_cost):
            await self._extend_grant(self.budget, max_cost)
            if self._has_room(max_cost):
                break
            if not self._in_flight:
                raise self.make_error(max_cost)
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
        self._reserved += max_cost
        self._in_flight += 1
        return max_cost

    def settle(self, reserved: float, cost: float) -> None:
        """Replace a reservation by the real cost, which is 0 for a refused request."""
        self._in_flight -= 1
        # Without requests in flight the sum is reset, so that rounding errors do not add up.
        self._reserved = max(self._reserved - reserved, 0.0) if self._in_flight else 0.0
        self.spent += cost
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def write_off(self, reserved: float) -> None:
        """Count a reservation as unconfirmed: its reply never came, and the provider may bill it all the same."""
        self.unconfirmed += reserved
        self.settle(reserved, 0.0)

    def add_cost(self, cost: float) -> None:
        """Add the cost of a batch, which has a reservation of its own in the cache file."""
        self.spent += cost

    def compute_remaining(self, connection: sqlite3.Connection) -> float:
        """Dollars of the budget that no run has taken; infinity without a budget."""
        return float("inf") if self.budget is None else self.budget - compute_committed(connection)

    def make_error(self, max_cost: float) -> BudgetError:
        """Make the error for a request that could exceed the budget."""
        assert self.budget is not None
        query = "SELECT total(spent), total(CASE id WHEN ? THEN 0 ELSE max(granted - spent, 0) END) FROM runs"
        spent, others = self._cache.query(query, (self._cache.run_id,))[0]
        unknown = others + self.unconfirmed + self._reserved
        more = f", and other runs or interrupted requests hold up to {format_cost(unknown)} more" if unknown > 0.0001 else ""
        return BudgetError(
            f"The budget of {format_cost(self.budget)} has no room for the next request, which could cost {format_cost(max_cost)}: "
            f"{self._cache.path} has paid {format_cost(spent)}{more}. Nothing is lost: run the same command again with a higher "
            "--budget, and only missing replies are asked for."
        )

    def format_lines(self) -> list[str]:
        """How much of the budget all runs together have paid, on one line; [] without a budget."""
        if self.budget is None:
            return []
        paid = self._query_paid() if self._paid_at_close is None else self._paid_at_close
        more = f", perhaps {format_cost(self.unconfirmed)} more for replies that never came" if self.unconfirmed else ""
        return [f"budget: {self._cache.path} has paid {format_cost(paid)} of {format_cost(self.budget)}{more}"]

    def _query_paid(self) -> float:
        return self._cache.query("SELECT total(spent) FROM runs")[0][0]

    def _release_grant(self) -> None:
        """Return to the cache file what this process took and did not need, when the cache is closed."""
        self._paid_at_close = self._query_paid()
        self._granted = granted = self.spent + self.unconfirmed + self._reserved
        self._cache.write_blocking(
            lambda connection: connection.execute("UPDATE runs SET granted = ? WHERE id = ?", (granted, self._cache.run_id))
        )

    def _has_room(self, max_cost: float) -> bool:
        return self.spent + self.unconfirmed + self._reserved + max_cost <= self._granted

    async def _extend_grant(self, budget: float, max_cost: float) -> None:
        """Take more of the budget from the cache file, with some to spare where there is."""
        needed = self.spent + self.unconfirmed + self._reserved + max_cost

        def change(connection: sqlite3.Connection) -> float:
            free = budget - compute_committed(connection, except_run=self._cache.run_id)
            if free < needed:
                return self._granted
            granted = min(needed + SPARE_REQUESTS * max_cost, (needed + free) / 2)
            connection.execute("UPDATE runs SET granted = max(granted, ?) WHERE id = ?", (granted, self._cache.run_id))
            return granted

        self._granted = max(self._granted, await self._cache.write(change))


def compute_committed(connection: sqlite3.Connection, except_run: int = -1) -> float:
    """Dollars that runs and open batches have spent, or have taken and may still spend."""
    runs = connection.execute("SELECT total(max(granted, spent)) FROM runs WHERE id != ?", (except_run,)).fetchone()[0]
    return runs + connection.execute("SELECT total(reserved) FROM batches WHERE done = 0").fetchone()[0]


def require_price(model: str, budget: float | None, price: Price | None) -> None:
    """Raise `InputError` for a budget without a price."""
    if budget is not None and price is None:
        raise InputError(
            f"--budget {format_cost(budget)} cannot be kept: no price for {model!r} is known. Put [{model!r}] with input and output (0 "
            f"for a local server) into a file like {PRICES_FILE.name} and give it with --prices."
        )
