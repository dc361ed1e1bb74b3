"""What requests cost, and the meter that lets none through which could pass the budget.

The budget covers all that one cache file has paid for, by any process at any time: a run that died and starts again, or
eight processes beside each other, spend from the same purse. Dollars throughout; prices are per million tokens. This
file knows no endpoint.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tomllib
from collections import deque
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from comvint_hf.errors import BudgetError, InputError, first_line
from comvint_hf.formatting import dollars
from comvint_hf.generation.client.cache import Cache

FILE = Path(__file__).parent / "prices.toml"
SPARE = 8
"""A process that needs more of the budget takes this many such requests at once, and half of what is left at most, so that
another may begin beside it; a crash can strand no more than that."""
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


class Price(BaseModel):
    """What a model costs, in dollars per million tokens; `batch` is the factor of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)
    batch: float = Field(1.0, ge=0)
    image_tokens: int = Field(1500, ge=0)

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0, *, batch: bool = False) -> float:
        """Dollars for a reply; `cached_tokens` are those of the prompt that the provider had cached.

        >>> Price(input=1, output=2).cost(1_000_000, 500_000)
        2.0
        """
        cached = self.input if self.cached_input is None else self.cached_input
        dollars = (prompt_tokens - cached_tokens) * self.input + cached_tokens * cached + completion_tokens * self.output
        return dollars * (self.batch if batch else 1) / 1_000_000


_TABLE = TypeAdapter(dict[str, Price])


@once
def prices(file: Path | None = None) -> dict[str, Price]:
    """The price table: the package's own, with `file` read over it. Raises `InputError` for a file that is no such table."""
    table: dict[str, Price] = {}
    for path in (FILE, file) if file else (FILE,):
        try:
            table |= _TABLE.validate_python(tomllib.loads(Path(path).read_text()))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} is no price file ({_wrong(error)}): expected a table a model with input and output; see {FILE}."
            ) from error
    return table


def _wrong(error: Exception) -> str:
    """What is wrong with a price file, in one line: of several things the first, with its place."""
    if not isinstance(error, ValidationError):
        return first_line(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def price_of(model: str, file: Path | None = None) -> Price | None:
    """The price of a model, or of its undated name; `None` if no file knows it."""
    table = prices(file)
    return table.get(model) or table.get(_DATED.sub("", model))


@dataclass(frozen=True)
class Hold:
    """Money set aside for one request in flight."""

    worst: float


class Meter:
    """What may still be spent, shared by every LLM of a run.

    Before a request its worst cost is held; afterwards the hold is exchanged for what it did cost. With a budget the
    process first takes that much from the cache file, in a transaction, so no two can take the same dollar.
    """

    def __init__(self, cache: Cache, budget: float | None = None) -> None:
        self.budget = budget
        self.spent = 0.0
        self.unconfirmed = 0.0
        self._cache = cache
        self._held = 0.0
        self._flying = 0
        self._granted = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        cache.before_close(self._give_back)

    async def hold(self, worst: float) -> Hold:
        """Set aside the worst cost of a request; wait while requests in flight may give some back.

        Raises `BudgetError` when nothing is in flight and the budget could be passed.
        """
        while self.budget is not None and not self._fits(worst):
            await self._take(worst)
            if self._fits(worst):
                break
            if not self._flying:
                raise BudgetError(self.spent_up(worst))
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
        self._held += worst
        self._flying += 1
        return Hold(worst)

    def settle(self, hold: Hold, cost: float) -> None:
        """Exchange a hold for what the request did cost (0 for one that the endpoint refused)."""
        self._flying -= 1
        self._held = max(self._held - hold.worst, 0.0) if self._flying else 0.0
        self.spent += cost
        self._wake()

    def lose(self, hold: Hold) -> None:
        """Count a hold as spent: its reply never came, and the provider may bill it all the same."""
        self.unconfirmed += hold.worst
        self.settle(hold, 0.0)

    def add(self, cost: float) -> None:
        """Count what a collected batch did cost; its own reservation covered it."""
        self.spent += cost

    def free(self, connection: sqlite3.Connection) -> float:
        """Dollars of the budget that nobody has taken; infinity without one."""
        return float("inf") if self.budget is None else self.budget - committed(connection)

    def spent_up(self, worst: float) -> str:
        """The sentence that says what was spent, what the next request could cost, and how to go on."""
        query = "SELECT total(spent), total(CASE id WHEN ? THEN 0 ELSE max(granted - spent, 0) END) FROM runs"
        spent, others = self._cache.read(query, (self._cache.run,))[0]
        lost = others + self.unconfirmed + self._held
        unsure = (
            f", up to {dollars(lost)} more is held by other runs or was on its way when requests or runs broke off"
            if lost > 0.0001
            else ""
        )
        return (
            f"The budget of {dollars(self.budget)} has no room for the next request, which could cost {dollars(worst)}: "
            f"{self._cache.path} has paid {dollars(spent)}{unsure}. Nothing is lost: run the same again with a higher --budget, and only "
            "what is missing is asked."
        )

    def line(self) -> str:
        """What all runs together have paid of the budget; ask before the cache is closed."""
        spent = self._cache.read("SELECT total(spent) FROM runs")[0][0]
        unsure = f", perhaps {dollars(self.unconfirmed)} more for replies that never came" if self.unconfirmed else ""
        return f"budget: {self._cache.path} has paid {dollars(spent)} of {dollars(self.budget)}{unsure}"

    def _give_back(self) -> None:
        """Give back to the cache file what this process took and did not need."""
        total = self.spent + self.unconfirmed + self._held
        self._granted = total
        self._cache.write_now(
            lambda connection: connection.execute("UPDATE runs SET granted = ? WHERE id = ?", (total, self._cache.run))
        )

    def _fits(self, worst: float) -> bool:
        return self.spent + self.unconfirmed + self._held + worst <= self._granted

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    async def _take(self, worst: float) -> None:
        """Take more of the budget: with some to spare, where there is."""
        needed = self.spent + self.unconfirmed + self._held + worst

        def change(connection: sqlite3.Connection) -> float:
            free = self.budget - committed(connection, besides=self._cache.run)
            if free < needed:
                return self._granted
            granted = min(needed + SPARE * worst, (needed + free) / 2)
            connection.execute("UPDATE runs SET granted = max(granted, ?) WHERE id = ?", (granted, self._cache.run))
            return granted

        self._granted = max(self._granted, await self._cache.write(change))


def committed(connection: sqlite3.Connection, besides: int = -1) -> float:
    """Dollars that runs and open batches have spent, or have taken and may still spend."""
    runs = connection.execute("SELECT total(max(granted, spent)) FROM runs WHERE id != ?", (besides,)).fetchone()[0]
    return runs + connection.execute("SELECT total(reserved) FROM batches WHERE done = 0").fetchone()[0]


def needs_price(model: str, budget: float | None, price: Price | None) -> None:
    """Refuse a budget for a model whose price nobody knows."""
    if budget is not None and price is None:
        raise InputError(
            f"--budget {dollars(budget)} cannot be kept: no price for {model!r} is known. Put [{model!r}] with input and output (0 "
            f"for a local server) into a file like {FILE.name} and give it with --prices."
        )
