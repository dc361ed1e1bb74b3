"""Sends requests to one model until a reply comes: rate-limited, within the budget, retried, in a format the endpoint supports.

A request that was sent is paid for, so its reply is awaited and cached even if the caller is cancelled. Whether a reply
matches its schema is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from comvint_hf.endpoint.address import resolve_endpoint
from comvint_hf.endpoint.bounded_http import Activity
from comvint_hf.endpoint.errors import (
    RefusedFieldError,
    RetryableError,
    UnfitReplyError,
    classify_error,
)
from comvint_hf.endpoint.refused_fields import MAX_TOKENS_NAMES
from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.generation.client.cache import Cache, RawReply
from comvint_hf.generation.client.capabilities import Capabilities
from comvint_hf.generation.client.completion import (
    FEWEST_BYTES_PER_TOKEN,
    MOST_BYTES_PER_TOKEN,
    UNREADABLE,
    Completion,
    ReplyRequest,
    TokenBounds,
    build_messages,
    count_prompt_bytes,
    make_unfit,
    parse_body,
    to_data_url,
)
from comvint_hf.generation.client.cost import BudgetMeter, find_price, require_price
from comvint_hf.generation.client.prompt_refusal import PromptRefusal, RefusalJudge, RequestShape
from comvint_hf.generation.client.rate_limit import RateLimiter
from comvint_hf.generation.client.reply_parsing import FINISH_PROBLEMS, MODES, Mode
from comvint_hf.generation.client.retry import EndpointHealth, RetryState
from comvint_hf.generation.client.server_info import ServerInfo
from comvint_hf.generation.client.settings import DEFAULT_MAX_TOKENS, LLMSettings
from comvint_hf.generation.client.usage import Usage, UsageCounts
from comvint_hf.strict_reader import LIMITS

_TEMPLATE_BYTES = 64
"""Upper bound on the bytes that a chat template adds to a prompt."""
_SHORTEST = {"messages": [{"role": "user", "content": "Say: yes."}]}
_SHORTEST_TOKENS = 64


@dataclass
class Requester:
    """Requests to one model at one endpoint.

    Attributes:
        in_flight: Requests that were sent and have no answer yet, by cache key.

    Raises:
        EndpointError: For a missing API key.
        InputError: For a budget without a price.
    """

    model: str
    settings: LLMSettings
    cache: Cache
    meter: BudgetMeter
    usage: Usage
    limiter: RateLimiter

    def __post_init__(self) -> None:
        self.price = find_price(self.model, self.settings.prices)
        require_price(self.model, self.meter.budget, self.price)
        self.endpoint = resolve_endpoint(self.settings.base_url)
        self.max_tokens = self.settings.max_tokens or (DEFAULT_MAX_TOKENS if self.meter.budget is not None else None)
        self.capabilities = Capabilities(self.cache, self.endpoint, self.model)
        self.health = EndpointHealth(self.endpoint.url, self.settings.patience, supervised=self.settings.supervised)
        self.in_flight: dict[bytes, asyncio.Task[Any]] = {}
        self._activity = Activity()
        self._refusals = RefusalJudge(self.capabilities, self.health, self._ask_shortest)
        self._server = ServerInfo(self.get_client, self.endpoint.url, self.model)
        self._stop_error: EndpointError | None = None
        self._clients: dict[asyncio.AbstractEventLoop, Any] = {}
        self._send_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._mean_reply_tokens = 500.0

    def get_counts(self, request: ReplyRequest) -> UsageCounts:
        """The usage counts of this request's prompt."""
        return self.usage.get_counts(self.model, request.prompt.name)

    async def build_body(
        self, request: ReplyRequest, earlier: RawReply | None, shape: RequestShape | None = None
    ) -> dict[str, Any]:
        """Build the request body; after an `earlier` mismatch it says why that did not match."""
        shape = shape or RequestShape()
        mode = shape.mode or self.capabilities.mode
        image = None
        if max_pixels := self.settings.max_pixels:
            image = await asyncio.to_thread(to_data_url, request.prompt.scene, max_pixels)
        # What is asked for again is spelled out: the first reply lacked it, whoever enforces what.
        in_full = mode != MODES[0] or not self.capabilities.enforces or bool(request.prompt.blanks.get("attempt"))
        messages = build_messages(request.prompt.text, request.schema, image, earlier, in_full=in_full)
        body = {"model": self.model, "messages": messages, **self.settings.request_fields}
        if (response_format := request.schema.response_format(mode, narrowed=self.capabilities.narrows)) is not None:
            body["response_format"] = response_format
        most = self.max_tokens
        if most is not None:
            if self.settings.max_tokens is None and self.capabilities.context is None:
                self.capabilities.context = await self._server.get_context()
            most = min(most, shape.max_tokens or most)
        return self.capabilities.shape(body, max_tokens=most, prompt_bytes=count_prompt_bytes(body), stream=shape.stream)

    def compute_max_cost(self, body: dict[str, Any], *, batch: bool = False) -> float:
        """Most dollars a request can cost: no token is shorter than a byte, no reply longer than the bound."""
        if self.price is None:
            return 0.0
        bounds = self.compute_token_bounds(count_prompt_bytes(body))
        most = next((body[name] for name in MAX_TOKENS_NAMES if name in body), DEFAULT_MAX_TOKENS)
        return self.price.compute_cost(bounds.prompt, most, batch=batch)

    def compute_token_bounds(self, prompt_bytes: int, *, has_images: bool = False) -> TokenBounds:
        """The token counts that an answer to so many bytes of prompt may claim; `has_images` says that images are among them."""
        image_tokens = self.price.image_tokens if self.price else LIMITS.reply_tokens
        prompt = prompt_bytes + _TEMPLATE_BYTES + (image_tokens if self.settings.see else 0)
        # Twice, because some servers leave the schema out of the prompt's tokens.
        low = 1 if has_images else prompt_bytes // (2 * MOST_BYTES_PER_TOKEN)
        return TokenBounds(prompt_bytes // FEWEST_BYTES_PER_TOKEN, low, prompt, self.max_tokens or LIMITS.reply_tokens)

    def make_reply(self, completion: Completion, mode: Mode, *, batch: bool = False) -> RawReply:
        """Make the reply that the cache stores, with its cost."""
        prompt_tokens, completion_tokens = completion.prompt_tokens, completion.completion_tokens
        cost = None
        if self.price is not None:
            cost = self.price.compute_cost(prompt_tokens, completion_tokens, completion.cached_tokens, batch=batch)
        return RawReply(completion.text, completion.finish_reason, mode, prompt_tokens, completion_tokens, cost)

    def count_correction(self, prompt: str, completion: Completion) -> None:
        """Count a completion whose token counts could not be right, and what the provider had cached of its prompt."""
        counts = self.usage.get_counts(self.model, prompt)
        counts.corrected += completion.corrected
        counts.reused_tokens += completion.cached_tokens

    def count_reply(self, prompt: str, reply: RawReply) -> None:
        """Count a reply that was paid for."""
        counts = self.usage.get_counts(self.model, prompt)
        counts.requests += 1
        counts.prompt_tokens += reply.prompt_tokens
        counts.completion_tokens += reply.completion_tokens
        counts.cost += reply.cost or 0.0
        counts.unpriced += reply.cost is None

    async def request_reply(self, request: ReplyRequest, earlier: list[RawReply]) -> RawReply:
        """Get the next reply after the `earlier` ones, and write it to the cache.

        Raises:
            ReplyError: For a prompt that the endpoint cannot serve.
            EndpointError: When the endpoint serves no prompt any more.
            BudgetError: When the budget could be exceeded.
        """
        shape = RequestShape()
        with RetryState(self.health) as state:
            try:
                while True:
                    try:
                        return await self._send_shielded(
                            request, earlier, shape, urgent=bool(state.tries or earlier or shape.changes)
                        )
                    except RefusedFieldError as error:
                        shape.change(error)
                    except PromptRefusal as refusal:
                        if (failure := await self._refusals.settle(refusal, shape)) is not None:
                            raise self._note_stop(failure) from refusal
                    except RetryableError as error:
                        self.get_counts(request).retries += 1
                        if error.timed_out:
                            shape.stream = True
                            self._activity.bear_more(self.settings.timeout, self.settings.patience)
                        await asyncio.sleep(self._next_delay(state, error))
            finally:
                self._refusals.finish(shape)

    async def _ask_shortest(self) -> bool:
        """Ask the shortest question there is. Whether the endpoint replies to it says whether our prompts are at fault."""
        body = {"model": self.model, **_SHORTEST, **self.settings.request_fields}
        body = self.capabilities.shape(body, max_tokens=_SHORTEST_TOKENS, prompt_bytes=0)
        reserved = await self.meter.reserve(self.compute_max_cost(body) if self.meter.budget is not None else 0.0)
        cost = 0.0
        try:
            cost = self.make_reply(await self._post(body), MODES[-1]).cost or 0.0
        except (ReplyError, EndpointError, RefusedFieldError, UnfitReplyError):
            return False
        except RetryableError:
            return True
        finally:
            self.meter.settle(reserved, cost)
        return True

    def _note_stop(self, failure: Exception) -> Exception:
        if isinstance(failure, EndpointError):
            self._stop_error = failure
        return failure

    def _next_delay(self, state: RetryState, error: RetryableError) -> float:
        try:
            return state.next_delay(error)
        except EndpointError as stop:
            self._stop_error = stop
            raise

    def record_mismatch(self, reply: RawReply, problem: str) -> None:
        """Record a reply that does not match its schema. Raises `EndpointError` where none of many ever did."""
        # A refusal says something about the prompt; the others say that the model cannot keep to a form.
        if reply.finish_reason in ("refusal", "content_filter") or problem == FINISH_PROBLEMS["refusal"]:
            return
        if (stop := self.health.record_useless(self.model, problem, reply.text)) is not None:
            self._stop_error = stop
            raise stop

    async def _send_shielded(
        self, request: ReplyRequest, earlier: list[RawReply], shape: RequestShape, *, urgent: bool
    ) -> RawReply:
        """Send a request; a cancellation stops it only while it is not sent yet."""
        sending = asyncio.create_task(self._send_in_turn(request, earlier, shape, urgent))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            sending.add_done_callback(_ignore_failure)
            if request.key not in self.in_flight:
                sending.cancel()
            raise

    async def _send_in_turn(self, request: ReplyRequest, earlier: list[RawReply], shape: RequestShape, urgent: bool) -> RawReply:
        """Send a request when the rate limiter allows it, and occupy its slot until the reply is on disk."""
        tokens = len(request.prompt.text) / 4 + self._mean_reply_tokens
        window = await self.limiter.acquire(tokens, urgent=urgent)
        while self._refusals.gate.is_closed and not shape.is_probing:
            self.limiter.release(window, unexpected_tokens=-tokens)
            await self._refusals.gate.wait()
            window = await self.limiter.acquire(tokens, urgent=True)
        throttled, timed_out, retry_after, used = False, False, None, tokens
        try:
            reply = await self._send_within_budget(request, earlier, shape)
            used = reply.prompt_tokens + reply.completion_tokens
            return await self.cache.add_reply(request.key, len(earlier), reply, self.model, request.prompt.name)
        except RetryableError as error:
            throttled, timed_out, retry_after = error.throttled, error.timed_out, error.retry_after
            raise
        finally:
            self.in_flight.pop(request.key, None)
            self.limiter.release(
                window, throttled=throttled, timed_out=timed_out, retry_after=retry_after, unexpected_tokens=used - tokens
            )

    async def _send_within_budget(self, request: ReplyRequest, earlier: list[RawReply], shape: RequestShape) -> RawReply:
        """Send a request once, with its highest cost reserved until the answer."""
        mode = shape.mode or self.capabilities.mode
        body = await self.build_body(request, earlier[-1] if earlier else None, shape)
        await self._yield_to_replies()
        reserved = await self.meter.reserve(self.compute_max_cost(body) if self.meter.budget is not None else 0.0)
        try:
            if self._stop_error is not None:  # the run may have stopped while this request waited
                raise EndpointError(str(self._stop_error))
            task = asyncio.current_task()
            assert task is not None
            self.in_flight[request.key] = task
            completion = await self._send(body, mode, shape)
            reply = self.make_reply(completion, mode)
        except (RetryableError, asyncio.CancelledError) as error:
            # A cancelled request may have reached the endpoint, so it counts as billed.
            billed = not isinstance(error, RetryableError) or error.billed
            self.meter.write_off(reserved) if billed else self.meter.settle(reserved, 0.0)
            raise
        except BaseException:
            self.meter.settle(reserved, 0.0)
            raise
        self.meter.settle(reserved, reply.cost or 0.0)
        self.count_reply(request.prompt.name, reply)
        self.count_correction(request.prompt.name, completion)
        self._mean_reply_tokens += 0.05 * (reply.completion_tokens - self._mean_reply_tokens)
        return reply

    async def check_enforcement(self, request: ReplyRequest, reply: RawReply) -> None:
        """Learn from a reply whether the endpoint enforces the schemas that it accepts."""
        if reply.mode != MODES[0] or reply.finish_reason != "stop" or not self.capabilities.enforces:
            return
        if request.schema.violation(reply.text):
            await self.capabilities.save("enforces", False)

    async def _yield_to_replies(self) -> None:
        """Let one request go at each turn of the event loop, so that replies are written before the next request is sent.

        Otherwise a process short of CPU sends all its requests and holds as many replies unread, which a `kill -9` would lose.
        """
        async with self._send_locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await asyncio.sleep(0)

    async def _send(self, body: dict[str, Any], mode: Mode, shape: RequestShape) -> Completion:
        """Send a body and judge what comes back, for this prompt and for the endpoint."""
        started = time.monotonic()
        try:
            completion = await self._post(body)
        except UnfitReplyError as error:
            completion = make_unfit(error.text, self.compute_token_bounds(count_prompt_bytes(body)))
        except RefusedFieldError as error:
            # A format that is not in the request is not its fault: the words are about something else.
            if error.field.name == "response_format" and "response_format" not in body and self.health.last_success:
                raise self._refusals.judge(
                    ReplyError(f"{self.endpoint.url} refuses the request ({error})."), mode, shape
                ) from error
            await self._adapt(error, body)
            raise
        except EndpointError as error:
            if error.is_of_model:
                error = EndpointError(f"{error}{await self._server.name_models()} Nothing is lost.")
            raise self._note_stop(error) from None
        except ReplyError as error:
            if error.is_of_prompt:
                raise self._note_stop(self.health.record_unfit_prompt(error)) from error
            self._check_extra_body(error)
            raise self._refusals.judge(error, mode, shape) from error
        if completion.finish_reason == UNREADABLE:
            # The reply is paid for, so it is kept; an endpoint that gives no other gets no more requests.
            self._note_stop(self.health.record_refusal(ReplyError(f"{self.endpoint.url} gave an answer that cannot be read.")))
            return completion
        self.health.record_success()
        await self._note_success(body, mode, completion, time.monotonic() - started)
        return completion

    async def _post(self, body: dict[str, Any]) -> Completion:
        """Send a body and parse what comes back. Raises what `classify_error` makes of a failure."""
        import httpx2
        import openai

        try:
            response = await self.get_client().post("/chat/completions", cast_to=httpx2.Response, body=body)
        except openai.APIError as error:
            raise classify_error(error, self.model, self.endpoint.url) from error
        bounds = self.compute_token_bounds(count_prompt_bytes(body))
        return parse_body(response.content, bounds, self.model, self.endpoint.url)

    async def _adapt(self, error: RefusedFieldError, body: dict[str, Any]) -> None:
        """Remember what the endpoint does not take, and raise what cannot be mended by that."""
        self._check_extra_body(error)
        try:
            await self.capabilities.adapt(error, body, count_prompt_bytes(body))
        except ReplyError as unfit:
            raise self._note_stop(self.health.record_unfit_prompt(unfit)) from error
        except EndpointError as stop:
            self._stop_error = stop
            raise

    def _check_extra_body(self, error: Exception) -> None:
        """Raise `EndpointError` where a refusal names a field that the user has added."""
        named = [name for name in self.settings.extra_body if name in str(error)]
        if named:
            stop = EndpointError(f"{self.endpoint.url} refuses {', '.join(named)} of --extra-body ({error}): leave it out.")
            raise self._note_stop(stop) from error

    async def _note_success(self, body: dict[str, Any], mode: Mode, completion: Completion, seconds: float) -> None:
        """Remember what a good answer says about the endpoint."""
        if not self.capabilities.is_mode_proven:
            await self.capabilities.set_mode(mode)
        # Without events this answer would have come too late.
        if body.get("stream") and seconds > self.settings.timeout and not self.capabilities.streams:
            await self.capabilities.save("streams", True)
        # Cut by a bound that the server has set itself: ours is higher, or ends an endless reply sooner.
        is_cut = completion.finish_reason in ("length", "thinking") and completion.completion_tokens < DEFAULT_MAX_TOKENS
        if is_cut and self.max_tokens is None:
            self.max_tokens = DEFAULT_MAX_TOKENS

    def get_client(self) -> Any:
        """The openai client of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            client = self.endpoint.create_client(
                connections=self.limiter.concurrency,
                timeout=self.settings.timeout,
                headers=self.settings.headers,
                activity=self._activity,
            )
            self._clients = {loop: client}  # connections of a finished loop cannot be used again
        return self._clients[loop]

    async def close(self) -> None:
        """Send nothing more, wait at most `timeout` seconds for requests in flight, and close the connections.

        The cache stays open. A cancellation ends the wait; requests without an answer then count with their highest cost.
        """
        self._stop_error = self._stop_error or EndpointError(f"{self.endpoint.url} gets no more requests: its LLM was closed.")
        try:
            if self.in_flight:
                await asyncio.wait(self.in_flight.values(), timeout=self.settings.timeout)
        finally:
            unanswered = [*self.in_flight.values()]
            for task in unanswered:
                task.cancel()
            await asyncio.gather(*unanswered, return_exceptions=True)
            client = self._clients.pop(asyncio.get_running_loop(), None)
            if client is not None:
                await client.close()


def _ignore_failure(task: asyncio.Task[RawReply]) -> None:
    """Retrieve an exception that nobody waits for, or asyncio logs it."""
    if not task.cancelled():
        task.exception()
