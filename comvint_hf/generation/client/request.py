"""Sends one question to an endpoint until a reply comes: in its turn, within the budget, in a form the endpoint can do.

What was sent is paid for, so it is let come back and put into the cache even if whoever asked for it is cancelled. This file
joins pace, money, ability and persistence; it knows the endpoint and no recipe, and leaves judging replies to others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.generation.client import image_input
from comvint_hf.generation.client.cache import Cache, Paid
from comvint_hf.generation.client.capabilities import Ability
from comvint_hf.generation.client.completion import Completion, Question, messages, prompt_bytes, read_completion
from comvint_hf.generation.client.cost import Meter, Price
from comvint_hf.generation.client.credentials import Access
from comvint_hf.generation.client.errors import CapRefused, FormatRefused, Trouble, diagnose
from comvint_hf.generation.client.rate_limit import Pace
from comvint_hf.generation.client.retry import Health, Persistence
from comvint_hf.generation.client.usage import Count, Usage

CAP = 8192
"""Most tokens of a reply where a budget needs a bound and none is given."""
_MARGIN = 64


@dataclass
class Requester:
    """One model at one endpoint. `cap` bounds a reply's tokens, `settings` are further fields of every request.

    `see_pixels` bounds the picture that goes along; `None` for models that are shown none. `under_way` holds what was sent
    and has not come back, by the question's key.
    """

    model: str
    access: Access
    cache: Cache
    meter: Meter
    usage: Usage
    pace: Pace
    price: Price | None = None
    cap: int | None = None
    see_pixels: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 300.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        self.ability = Ability(self.cache, self.access, self.model)
        self.health = Health(self.access.url, self.patience)
        self.under_way: dict[bytes, asyncio.Task[Paid]] = {}
        self._stopped: EndpointError | None = None
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}
        self._doors: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._mean_reply = 500.0

    def count(self, question: Question) -> Count:
        """The counts of this question's prompt."""
        return self.usage.of(self.model, question.prompt.name)

    async def body(self, question: Question, earlier: Paid | None) -> dict[str, Any]:
        """The request: the prompt and its form, or after an `earlier` misfit the reason and the form again."""
        mode, cap_name = self.ability.mode, self.ability.cap_name
        picture = (
            await asyncio.to_thread(image_input.data_url, question.prompt.scene, self.see_pixels) if self.see_pixels else None
        )
        body = {"model": self.model, "messages": messages(question.prompt.text, question.form, picture, earlier), **self.settings}
        if (wanted := question.form.response_format(mode)) is not None:
            body["response_format"] = wanted
        if self.cap is not None:
            body[cap_name] = self.cap
        return body

    def worst_cost(self, body: dict[str, Any], *, batch: bool = False) -> float:
        """The most dollars a request can cost: no token is shorter than a byte, no reply longer than the cap."""
        if self.price is None:
            return 0.0
        size = prompt_bytes(body) + _MARGIN
        seen = self.price.image_tokens if self.see_pixels else 0
        return self.price.cost(size + seen, self.cap or CAP, batch=batch)

    def paid(self, completion: Completion, mode: str, *, batch: bool = False) -> Paid:
        """A completion as the cache keeps it, with its cost."""
        cost = None
        if self.price is not None:
            cost = self.price.cost(completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens, batch=batch)
        return Paid(completion.text, completion.finish, mode, completion.prompt_tokens, completion.completion_tokens, cost)

    def tally(self, prompt: str, paid: Paid) -> None:
        """Count a reply that was paid for."""
        count = self.usage.of(self.model, prompt)
        count.requests += 1
        count.prompt_tokens += paid.prompt_tokens
        count.completion_tokens += paid.completion_tokens
        count.cost += paid.cost or 0.0
        count.unpriced += paid.cost is None

    async def buy(self, question: Question, replies: list[Paid]) -> Paid:
        """The next reply to a question after these, on disk.

        Raises `ReplyError` for a prompt that the endpoint cannot serve, `EndpointError` when it serves none any more, and
        `BudgetError`.
        """
        with Persistence(self.health) as persistence:
            while True:
                try:
                    return await self._send(question, replies, urgent=bool(persistence.tries or replies))
                except (FormatRefused, CapRefused):
                    continue
                except Trouble as trouble:
                    self.count(question).retries += 1
                    await asyncio.sleep(self._wait_after(persistence, trouble))

    def _wait_after(self, persistence: Persistence, trouble: Trouble) -> float:
        try:
            return persistence.wait_after(trouble)
        except EndpointError as error:
            self._stopped = error
            raise

    async def _send(self, question: Question, replies: list[Paid], *, urgent: bool) -> Paid:
        """Send when it is this request's turn; cancelling takes back only what was not sent yet."""
        exchange = asyncio.create_task(self._exchange(question, replies, urgent))
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            exchange.add_done_callback(_overheard)
            if question.key not in self.under_way:
                exchange.cancel()
            raise

    async def _exchange(self, question: Question, replies: list[Paid], urgent: bool) -> Paid:
        """Wait for a turn, and keep it until the reply is on disk."""
        tokens = len(question.prompt.text) / 4 + self._mean_reply
        ticket = await self.pace.enter(tokens, urgent=urgent)
        throttled, wait, used = False, None, tokens
        try:
            paid = await self._pay(question, replies)
            used = paid.prompt_tokens + paid.completion_tokens
            return await self.cache.record(question.key, len(replies), paid, self.model, question.prompt.name)
        except Trouble as trouble:
            throttled, wait = trouble.throttled, trouble.retry_after
            raise
        finally:
            self.under_way.pop(question.key, None)
            self.pace.leave(ticket, throttled=throttled, retry_after=wait, unexpected_tokens=used - tokens)

    async def _pay(self, question: Question, replies: list[Paid]) -> Paid:
        """One request, with its worst cost held while it is out."""
        mode, cap_name = self.ability.mode, self.ability.cap_name
        body = await self.body(question, replies[-1] if replies else None)
        await self._leave()
        hold = await self.meter.hold(self.worst_cost(body) if self.meter.budget is not None else 0.0)
        try:
            if self._stopped is not None:
                raise EndpointError(str(self._stopped))
            self.under_way[question.key] = asyncio.current_task()
            paid = self.paid(await self._post(body), mode)
        except (Trouble, asyncio.CancelledError) as error:
            billed = not isinstance(error, Trouble) or error.billed
            self.meter.lose(hold) if billed else self.meter.settle(hold, 0.0)
            raise
        except BaseException as error:
            self.meter.settle(hold, 0.0)
            if isinstance(error, FormatRefused):
                await self.ability.refuse_mode(mode, str(error))
            elif isinstance(error, CapRefused):
                await self.ability.refuse_cap_name(cap_name, str(error))
            raise
        self.meter.settle(hold, paid.cost or 0.0)
        self.tally(question.prompt.name, paid)
        self._mean_reply += 0.05 * (paid.completion_tokens - self._mean_reply)
        return paid

    async def _leave(self) -> None:
        """Let one request leave at each turn of the loop, so that replies which have come are on disk before the next goes.

        Else a process short of CPU sends all it may and keeps as many replies unread, which a `kill -9` would lose.
        """
        async with self._doors.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await asyncio.sleep(0)

    async def _post(self, body: dict[str, Any]) -> Completion:
        import httpx2
        import openai

        try:
            response = await self.client().post("/chat/completions", cast_to=httpx2.Response, body=body)
        except openai.APIError as error:
            failure = diagnose(error, self.model, self.access.url)
            if isinstance(failure, ReplyError):
                failure = self.health.refusal(failure)
            if isinstance(failure, EndpointError):
                self._stopped = failure
            raise failure from error
        completion = read_completion(response.content, prompt_bytes(body))
        self.health.good()
        return completion

    def client(self) -> Any:
        """The openai client of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {loop: self.access.client(connections=self.pace.most, timeout=self.timeout)}
        return self._clients[loop]

    async def close(self) -> None:
        """Send nothing more, wait `timeout` seconds at most for what was sent, and close the connections.

        The cache stays open for others. Cancelled, it waits no longer; what never came counts with its worst cost.
        """
        self._stopped = self._stopped or EndpointError(f"{self.access.url} is asked nothing more: its LLM was closed.")
        try:
            if self.under_way:
                await asyncio.wait(self.under_way.values(), timeout=self.timeout)
        finally:
            left = [*self.under_way.values()]
            for exchange in left:
                exchange.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            client = self._clients.pop(asyncio.get_running_loop(), None)
            if client is not None:
                await client.close()


def _overheard(exchange: asyncio.Task[Paid]) -> None:
    """Take notice of a failure that nobody waits for any more, or asyncio prints it."""
    if not exchange.cancelled():
        exchange.exception()
