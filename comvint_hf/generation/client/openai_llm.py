"""An `LLM` behind any OpenAI-compatible endpoint: cached, rate-limited, within a budget, asked again until a reply matches.

Every paid reply is in the cache before it is used, so an interrupted run asks only for what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from comvint_hf.errors import ReplyError
from comvint_hf.generation.client.cache import Cache, RawReply
from comvint_hf.generation.client.completion import ReplyRequest, hash_image
from comvint_hf.generation.client.cost import BudgetMeter
from comvint_hf.generation.client.rate_limit import RateLimiter
from comvint_hf.generation.client.reply_parsing import ReplyMismatch, build_schema
from comvint_hf.generation.client.request import Requester
from comvint_hf.generation.client.retry import is_retrying_failed
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.client.usage import Usage, record_cost
from comvint_hf.generation.llm import R
from comvint_hf.generation.prompt import Prompt

SALT_BLANKS = ("attempt", "generation")
"""Blanks with which a recipe asks once more: they change the cache key even where the text is the same."""


def to_display_name(model: str) -> str:
    """The name of a model in rows and cards, without the private path that local servers often have as its name.

    >>> to_display_name("/data/models/Tiny-7B/"), to_display_name("C:\\\\models\\\\Tiny-7B"), to_display_name("org/Tiny-7B")
    ('Tiny-7B', 'Tiny-7B', 'org/Tiny-7B')
    """
    is_path = model.startswith(("/", "./", "../", "~")) or re.match(r"[A-Za-z]:[\\/]", model)
    return re.split(r"[\\/]", model.rstrip("\\/"))[-1] if is_path else model


class OpenAILLM:
    """A language model at an OpenAI-compatible endpoint; the API key comes from the environment.

    >>> llm = OpenAILLM("gpt-4o-mini", cache="replies.sqlite", concurrency=16, budget=5)  # doctest: +SKIP

    Args:
        model: Name of the model at the endpoint.
        settings: How it is asked.
        cache: The reply cache, or its file; that of the settings by default.
        meter: Budget shared with other LLMs of the cache; one with the budget of the settings by default.
        usage: Counts shared with other LLMs.
        limiter: Rate limiter shared with other LLMs of the same model.
        **options: Single fields of `LLMSettings`, which take precedence over `settings`.

    Attributes:
        name: What rows and cards call the model.

    Raises:
        EndpointError: For a missing API key.
        InputError: For a budget without a price.
    """

    deterministic = False

    def __init__(
        self,
        model: str,
        settings: LLMSettings | None = None,
        *,
        cache: Cache | Path | str | None = None,
        meter: BudgetMeter | None = None,
        usage: Usage | None = None,
        limiter: RateLimiter | None = None,
        **options: Any,
    ) -> None:
        self.name = to_display_name(model)
        self.settings = settings = replace(settings or LLMSettings(), **options)
        self.cache = cache if isinstance(cache, Cache) else Cache(cache or settings.cache or "replies.sqlite")
        self.requester = Requester(
            model=model,
            settings=settings,
            cache=self.cache,
            meter=meter or BudgetMeter(self.cache, settings.budget),
            usage=usage or Usage(),
            limiter=limiter or RateLimiter(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute),
        )
        self._identity = settings.cache_identity(model)
        self._hashes: dict[type, Any] = {}
        self._in_progress: dict[bytes, asyncio.Future[None]] = {}
        self._reply_limits: dict[bytes, int] = {}
        self._repaired: set[bytes] = set()

    @property
    def sees(self) -> bool:
        """Whether the model is shown the image."""
        return self.settings.see

    @property
    def usage(self) -> Usage:
        """Counts of requests, tokens and costs."""
        return self.requester.usage

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Get a reply, from the cache where it is known.

        Raises:
            ReplyError: When no attempt matches the schema.
            EndpointError: When the endpoint refuses for good.
            BudgetError: When the budget could be exceeded.
        """
        request = await self.make_request(prompt, reply_type)
        # The same request may be in progress in another task: it is sent and paid for once.
        while (other := self._in_progress.get(request.key) or self.requester.in_flight.get(request.key)) is not None:
            await asyncio.wait((other,))
        replies = self.cache.find_replies(request.key)
        reply, problem = self.parse_first_match(request, replies)
        limit = self.compute_reply_limit(request, replies) if reply is None else 0
        if len(replies) >= limit:
            self.requester.get_counts(request).cached += 1
        if reply is not None:
            self.record_cost(request, replies, matched=True)
            return reply
        done = self._in_progress[request.key] = asyncio.get_running_loop().create_future()
        try:
            while len(replies) < limit:
                replies.append(await self.requester.request_reply(request, replies))
                reply, problem = self.parse_first_match(request, replies[-1:])
                await self.requester.check_enforcement(request, replies[-1])
                if reply is not None:
                    self.record_cost(request, replies, matched=True)
                    return reply
                self.requester.get_counts(request).rejected += 1
                self.requester.record_mismatch(replies[-1], problem)
        finally:
            del self._in_progress[request.key]
            done.set_result(None)
        self.record_cost(request, replies, matched=False)
        raise self.make_error(request, replies, problem)

    async def make_request(self, prompt: Prompt, reply_type: type[R]) -> ReplyRequest:
        """Make the request of a prompt; its cache key covers the model, the settings, the schema, the text and a shown image."""
        prompt = prompt.with_image() if self.sees else prompt
        schema = build_schema(reply_type, prompt.make_form)
        prefix = self._hashes.get(reply_type)
        if prefix is None:
            prefix = self._hashes[reply_type] = hashlib.blake2b(self._identity + schema.fingerprint, digest_size=16)
        key = prefix.copy()
        key.update(repr([prompt.blanks.get(name, 0) for name in SALT_BLANKS]).encode())
        key.update(prompt.text.encode())
        if self.settings.see:
            key.update(await asyncio.to_thread(hash_image, prompt.scene))
        return ReplyRequest(key.digest(), prompt, schema)

    def parse_first_match(self, request: ReplyRequest, replies: list[RawReply]) -> tuple[Any, str]:
        """The first reply that matches, or `None`, and the problem of the last one."""
        problem = "none"
        for reply in replies:
            try:
                parsed = request.schema.parse_reply(reply.text, reply.finish_reason, reply.mode)
            except ReplyMismatch as mismatch:
                problem = str(mismatch)
                continue
            self.requester.health.record_match()
            if parsed.is_repaired:
                self.requester.get_counts(request).repaired += 1
                self._repaired.add(request.key)
            return parsed.value, ""
        return None, problem

    def record_cost(self, request: ReplyRequest, replies: list[RawReply], *, matched: bool) -> None:
        """Add the replies to a finished request to the current cost record."""
        repaired = int(matched and request.key in self._repaired)
        record_cost(request.key, self.name, request.prompt.name, replies, len(replies) - matched, repaired)

    def compute_reply_limit(self, request: ReplyRequest, replies: list[RawReply]) -> int:
        """How many replies a request without a match may have.

        `retrying_failed` adds attempts to those that this process found in the cache at first, however often it is asked.
        """
        attempts = self.settings.attempts
        if not is_retrying_failed():
            return attempts
        found = len(replies) if len(replies) >= attempts else 0
        return self._reply_limits.setdefault(request.key, found + attempts)

    def make_error(self, request: ReplyRequest, replies: list[RawReply], problem: str) -> ReplyError:
        """Make the error for a request whose attempts are used up."""
        return ReplyError(
            f"{self.name} gave no usable reply to {request.prompt.name} in {len(replies)} attempts; the last problem: {problem}."
        )

    async def close(self) -> None:
        """Send nothing more, wait for requests in flight and close the connections; the cache stays open for others."""
        await self.requester.close()
