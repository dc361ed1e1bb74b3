"""An `LLM` behind any OpenAI-compatible endpoint: cached, paced, metered, and asked again until the form fits.

Every paid reply is in the cache before it is used, good or bad, so a run that dies anywhere asks only what is missing. This
file keeps questions, keys and attempts; how a request is sent is `requester`'s, how a reply is read `forms`'.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comvint_hf.errors import ReplyError
from comvint_hf.generation.client import image_input
from comvint_hf.generation.client.ask_again import again
from comvint_hf.generation.client.cache import Cache, Paid
from comvint_hf.generation.client.completion import Question
from comvint_hf.generation.client.cost import Meter, needs_price, price_of
from comvint_hf.generation.client.credentials import access
from comvint_hf.generation.client.rate_limit import Pace
from comvint_hf.generation.client.reply_parsing import Misfit, form_of
from comvint_hf.generation.client.request import CAP, Requester
from comvint_hf.generation.client.usage import Usage, bill
from comvint_hf.generation.llm import R
from comvint_hf.generation.prompt import Prompt

DRAWS = ("attempt", "generation")
"""Blanks by which a recipe says "once more": they make a question a new one even where the text is the same."""


def public_name(model: str) -> str:
    """What rows and cards call a model: servers of one's own often call it by its folder, and that is nobody's business.

    >>> public_name("/data/models/Tiny-7B/"), public_name("C:\\\\models\\\\Tiny-7B"), public_name("org/Tiny-7B")
    ('Tiny-7B', 'Tiny-7B', 'org/Tiny-7B')
    """
    is_place = model.startswith(("/", "./", "../", "~")) or re.match(r"[A-Za-z]:[\\/]", model)
    return re.split(r"[\\/]", model.rstrip("\\/"))[-1] if is_place else model


class OpenAILLM:
    """Ask `model` at `base_url`; the key comes from the environment.

    `cache` is the reply cache, or its file. `attempts` is how often a prompt may be asked before it is given up for replies that do not fit;
    within `asking_again` it may be asked so often once more. `meter` holds the budget and is shared by the LLMs of a run, as is `usage`;
    LLMs of one model share a `pace`, which stands for `concurrency` and the rates a minute. `see` attaches the scene's picture, at most
    `see_pixels` pixels. `temperature`, `max_tokens` and `settings` (any further fields of the request) are part of the question: changing
    them asks anew. `prices` is a file read over the package's own. `name` is what rows and cards call the model.

    Raises `EndpointError` for a missing key and `InputError` for a budget without a price.
    """

    deterministic = False

    def __init__(
        self,
        model: str,
        *,
        cache: Cache | Path | str,
        base_url: str | None = None,
        concurrency: int = 32,
        attempts: int = 3,
        meter: Meter | None = None,
        usage: Usage | None = None,
        see: bool = False,
        see_pixels: int = image_input.PIXELS,
        temperature: float | None = None,
        max_tokens: int | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        pace: Pace | None = None,
        settings: Mapping[str, Any] | None = None,
        prices: Path | None = None,
        timeout: float = 300.0,
        patience: float = 300.0,
    ) -> None:
        self.name = public_name(model)
        self.attempts = attempts
        self.see = see
        self.cache = cache if isinstance(cache, Cache) else Cache(cache)
        meter = meter or Meter(self.cache)
        price = price_of(model, prices)
        needs_price(model, meter.budget, price)
        given = {"temperature": temperature, **(settings or {})}
        given = {name: value for name, value in given.items() if value is not None}
        self.requester = Requester(
            model=model,
            access=access(base_url),
            cache=self.cache,
            meter=meter,
            usage=usage or Usage(),
            pace=pace or Pace(concurrency, requests_per_minute, tokens_per_minute),
            price=price,
            cap=max_tokens or (CAP if meter.budget is not None else None),
            see_pixels=see_pixels if see else None,
            settings=given,
            timeout=timeout,
            patience=patience,
        )
        identity = [model, given, max_tokens, see_pixels if see else None]
        self._identity = json.dumps(identity, sort_keys=True).encode()
        self._hashes: dict[type, Any] = {}
        self._asking: dict[bytes, asyncio.Future[None]] = {}
        self._again: dict[bytes, int] = {}

    @property
    def usage(self) -> Usage:
        """What was asked, got and paid."""
        return self.requester.usage

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the form, from the cache where it is known.

        Raises `ReplyError` when no attempt fits, `EndpointError` when the endpoint refuses for good and `BudgetError` when
        the budget could be passed.
        """
        question = await self.question(prompt, reply_type)
        while (twin := self._asking.get(question.key) or self.requester.under_way.get(question.key)) is not None:
            await asyncio.wait((twin,))
        replies = self.cache.replies(question.key)
        reply, problem = self.first_fit(question, replies)
        most = self.most_replies(question, replies) if reply is None else 0
        if len(replies) >= most:
            self.requester.count(question).cached += 1
        if reply is not None:
            self.settle(question, replies, good=True)
            return reply
        turn = self._asking[question.key] = asyncio.get_running_loop().create_future()
        try:
            while len(replies) < most:
                replies.append(await self.requester.buy(question, replies))
                reply, problem = self.first_fit(question, replies[-1:])
                if reply is not None:
                    self.settle(question, replies, good=True)
                    return reply
                self.requester.count(question).rejected += 1
        finally:
            del self._asking[question.key]
            turn.set_result(None)
        self.settle(question, replies, good=False)
        raise self.no_fit(question, replies, problem)

    async def question(self, prompt: Prompt, reply_type: type[R]) -> Question:
        """The question a prompt poses, with its key: model, settings, schema, text, and the picture where it is seen."""
        form = form_of(reply_type)
        started = self._hashes.get(reply_type)
        if started is None:
            started = self._hashes[reply_type] = hashlib.blake2b(self._identity + form.fingerprint, digest_size=16)
        hashed = started.copy()
        hashed.update(repr([prompt.blanks.get(name, 0) for name in DRAWS]).encode())
        hashed.update(prompt.text.encode())
        if self.see:
            hashed.update(await asyncio.to_thread(image_input.picture_hash, prompt.scene))
        return Question(hashed.digest(), prompt, form)

    def first_fit(self, question: Question, replies: list[Paid]) -> tuple[Any, str]:
        """The first reply that fits, or `None`, and the last one's problem."""
        problem = "none"
        for paid in replies:
            try:
                return question.form.read(paid.text, paid.finish, paid.mode), ""
            except Misfit as misfit:
                problem = str(misfit)
        return None, problem

    def settle(self, question: Question, replies: list[Paid], *, good: bool) -> None:
        """Put a question that is over on the open bill."""
        bill(question.key, self.name, question.prompt.name, replies, len(replies) - good)

    def most_replies(self, question: Question, replies: list[Paid]) -> int:
        """How many replies a question may have that has these and none that fits.

        Where it is asked again, what it had when this process first saw it gives the measure, however often it is looked at.
        """
        if not again():
            return self.attempts
        had = len(replies) if len(replies) >= self.attempts else 0
        return self._again.setdefault(question.key, had + self.attempts)

    def no_fit(self, question: Question, replies: list[Paid], problem: str) -> ReplyError:
        """The error for a question whose attempts are used up."""
        return ReplyError(
            f"{self.name} gave no usable reply to {question.prompt.name} in {len(replies)} attempts; the last problem: {problem}."
        )

    async def close(self) -> None:
        """Send nothing more, wait for the replies under way and close the connections; the cache stays open for others."""
        await self.requester.close()
