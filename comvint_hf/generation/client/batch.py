"""Replies through a provider's batch API: cheaper and slower, and in the same cache.

A batch run is: run the recipe (a prompt without a cached reply is queued and raises `PendingError`), `collect` (submit the
queue, wait, put the replies into the cache), and run again until nothing is missing: `run_in_batches` does that. It may be
stopped anywhere; the next run collects what was submitted. Only one process may collect at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, BinaryIO

from comvint_hf.endpoint.errors import RefusedFieldError, RetryableError, UnfitReplyError, classify_error, classify_status
from comvint_hf.errors import EndpointError, PendingError, ReplyError
from comvint_hf.generation.client.batch_queue import Batch, BatchQueue, PendingRequest
from comvint_hf.generation.client.batch_results import BatchResults, BatchState, check_id, iter_lines
from comvint_hf.generation.client.cache import RawReply
from comvint_hf.generation.client.completion import parse_completion
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.retry import MAX_FAILURES, MAX_REFUSALS, EndpointHealth, RetryState
from comvint_hf.generation.llm import R
from comvint_hf.generation.prompt import Prompt
from comvint_hf.strict_reader import LIMITS, bounded_int, redact

MAX_REQUESTS, MAX_BYTES = 50_000, 190_000_000
"""Limits of one batch file at OpenAI; 200 MB there, and the rest is for the heads of lines."""
_HEAD_BYTES = 200
_SAVE_EVERY = 500
_TAG = "comvint"
_MOST_LISTED = 20_000
_FILE_TRIES = 3
"""How often a result file that breaks off is read from its beginning."""
_IN_PROGRESS = ("validating", "in_progress", "finalizing", "cancelling")
_UNREADABLE_ANSWERS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""Errors of the openai client for answers of another shape than it expects."""
Log = Callable[[str], None]


class BatchLLM:
    """An `OpenAILLM` that replies from its cache and through batches."""

    deterministic = False

    def __init__(self, llm: OpenAILLM, *, max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES) -> None:
        self.name, self.sees = llm.name, llm.sees
        self.llm = llm
        self._requester = llm.requester
        self._queue = BatchQueue(llm.cache, llm.requester.model)
        self._health = EndpointHealth(llm.requester.endpoint.url)
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self._asked: set[bytes] = set()
        self._given_up: dict[bytes, str] = {}

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Get a reply from the cache. Raises `PendingError` when a batch must bring it, else as `OpenAILLM`."""
        llm = self.llm
        request = await llm.make_request(prompt, reply_type)
        replies = llm.cache.find_replies(request.key)
        reply, problem = llm.parse_first_match(request, replies)
        if reply is not None:
            self._requester.get_counts(request).cached += 1
            llm.record_cost(request, replies, matched=True)
            return reply
        if len(replies) >= llm.compute_reply_limit(request, replies):
            llm.record_cost(request, replies, matched=False)
            raise llm.make_error(request, replies, problem)
        if request.key in self._given_up:
            raise ReplyError(f"{self.name} gave no reply to {prompt.name}; the last problem: {self._given_up[request.key]}.")
        self._asked.add(request.key)
        mode = self._requester.capabilities.mode
        body = await self._requester.build_body(request, replies[-1] if replies else None)
        max_cost = self._requester.compute_max_cost(body, batch=True)
        await self._queue.add(request.key, len(replies), prompt.name, mode, body, max_cost)
        raise PendingError(f"{prompt.name} waits for a batch of {self.name}.")

    async def collect(self, log: Log | None = None) -> int:
        """Submit all queued requests, wait for every batch, and return the number of settled requests.

        Raises:
            BudgetError: When not one request fits the budget.
            EndpointError: When the provider refuses for good.
        """
        settled = 0
        while True:
            await self._submit(log)
            batches = self._queue.find_open_batches()
            if not batches:
                return settled
            finished = [await self._poll_batch(batch, log) for batch in batches]
            settled += sum(count for count in finished if count is not None)
            if all(count is None for count in finished):
                await asyncio.sleep(self.llm.settings.poll)

    async def _submit(self, log: Log | None) -> None:
        """Submit unfinished submissions, then as many new batches as are needed and the budget allows."""
        for batch in self._queue.find_open_batches():
            if batch.provider_id is None:
                await self._submit_batch(batch, log)
        while waiting := self._queue.find_waiting(self._asked):
            selected = await self._select_requests(waiting)
            if not selected:
                if self._queue.find_open_batches():
                    return
                raise self._requester.meter.make_error(waiting[0].max_cost)
            await self._submit_batch(await self._queue.create_batch(selected), log)

    async def _select_requests(self, waiting: list[PendingRequest]) -> list[PendingRequest]:
        """As many requests as one file and the budget hold."""
        remaining = await self.llm.cache.write(self._requester.meter.compute_remaining)
        selected: list[PendingRequest] = []
        size = 0
        for request in waiting[: self._max_requests]:
            remaining, size = remaining - request.max_cost, size + request.size + _HEAD_BYTES
            # A request above the size limit gets a batch of its own, so that the provider says why it refuses it.
            if remaining < 0 or (size > self._max_bytes and selected):
                break
            selected.append(request)
        return selected

    async def _submit_batch(self, batch: Batch, log: Log | None) -> None:
        """Upload a batch's file and start it, continuing where an earlier run stopped."""
        provider_id = await self._call(lambda: self._find_started(batch)) if batch.file_id else None
        if provider_id is None:
            if batch.file_id is None:
                with tempfile.TemporaryFile() as file:
                    file.writelines(self._queue.iter_lines(batch))
                    batch = await self._queue.save_ids(batch, file_id=await self._call(lambda: self._upload(batch, file)))
            provider_id = await self._call(lambda: self._start(batch))
        await self._queue.save_ids(batch, provider_id=provider_id)
        if log:
            log(f"batch {redact(provider_id, 100)}: submitted {len(self._queue.find_requests(batch)):,} requests to {self.name}")

    async def _upload(self, batch: Batch, file: BinaryIO) -> str:
        file.seek(0)
        client = self._requester.get_client()
        return check_id((await client.files.create(file=(f"{_TAG}-{batch.tag}.jsonl", file), purpose="batch")).id)

    async def _start(self, batch: Batch) -> str:
        """Start a batch, unless an earlier call whose answer was lost did."""
        if (started := await self._find_started(batch)) is not None:
            return started
        create = self._requester.get_client().batches.create
        endpoint, metadata = "/v1/chat/completions", {_TAG: batch.tag}
        started = await create(input_file_id=batch.file_id, endpoint=endpoint, completion_window="24h", metadata=metadata)
        return check_id(started.id)

    async def _find_started(self, batch: Batch) -> str | None:
        """The id of the provider's batch with this one's tag."""
        listed = 0
        async for started in self._requester.get_client().batches.list(limit=100):
            if (started.metadata or {}).get(_TAG) == batch.tag:
                return check_id(started.id)
            listed += 1
            if listed >= _MOST_LISTED:
                url = self._requester.endpoint.url
                raise EndpointError(
                    f"{url} lists more than {_MOST_LISTED:,} batches, and not the one of this run. Nothing is lost."
                )
        return None

    async def _poll_batch(self, batch: Batch, log: Log | None) -> int | None:
        """Read the results of a finished batch and return the number of settled requests; `None` for one in progress."""
        state = await self._call(lambda: self._retrieve(batch))
        name = redact(str(batch.provider_id), 100)
        if state.status == "failed":
            await self._handle_failed_batch(batch, state)
            return 0
        if state.status in _IN_PROGRESS:
            if log and state.total:
                log(f"batch {name}: {state.completed:,} of {state.total:,} done")
            return None
        if state.status not in ("completed", "expired", "cancelled"):
            status = redact(str(state.status), 100)
            raise EndpointError(
                f"Batch {name} has the status {status!r}, which is none of the batch API: look at it with the provider. "
                "Nothing is lost."
            )
        requests = self._queue.find_requests(batch)
        results = BatchResults(requests)
        for file_id in state.file_ids:
            await self._read_file(file_id, results)
        missing = len(self._queue.find_requests(batch))
        await self._queue.close_batch(batch)
        settled = await self._settle_failures(results, is_complete=state.status == "completed")
        if log:
            unread = f", {results.unreadable:,} lines cannot be read" if results.unreadable else ""
            log(f"batch {name}: {state.status}, {len(requests) - missing:,} of {len(requests):,} settled{unread}")
        # Few requests may fail for themselves; an endpoint that refuses many for good gets no more.
        if results.stop is not None and not results.replied and len(requests) >= MAX_REFUSALS:
            raise results.stop
        if requests and not state.file_ids and state.status == "completed":
            raise EndpointError(
                f"Batch {name} is completed without a result for any of its {len(requests):,} requests: look at it with the "
                "provider."
            )
        return max(len(requests) - missing, settled)

    async def _retrieve(self, batch: Batch) -> BatchState:
        return BatchState.parse(await self._requester.get_client().batches.retrieve(batch.provider_id))

    async def _handle_failed_batch(self, batch: Batch, state: BatchState) -> None:
        """Submit a batch that exceeds a limit in smaller parts; raise `EndpointError` for any other failed validation."""
        count = len(self._queue.find_requests(batch))
        await self._queue.close_batch(batch)
        # Providers report a batch that is too large as a token or request limit.
        if "limit" in state.problem and count > 1:
            self._max_requests = max(1, count // 2)
            return
        url, name = self._requester.endpoint.url, redact(str(batch.provider_id), 100)
        reason = state.problem_message or "no reason given"
        raise EndpointError(f"{url} refuses batch {name} of {count:,} requests ({reason}). Nothing is lost.")

    async def _read_file(self, file_id: str, results: BatchResults) -> None:
        """Read a result file into the cache; one that always breaks off gives what comes before."""
        unreadable = results.unreadable
        for _ in range(_FILE_TRIES):
            results.unreadable = unreadable
            if await self._call(functools.partial(self._read_results, file_id, results)):
                return
        results.unreadable += 1

    async def _read_results(self, file_id: str, results: BatchResults) -> bool:
        """Read a result file into the cache; return whether it was read to its end."""
        import httpx2
        import openai

        replies: list[tuple[PendingRequest, RawReply]] = []
        results.begin_file()
        whole = True
        try:
            async with (
                asyncio.timeout(LIMITS.batch_file_seconds),
                self._requester.get_client().files.with_streaming_response.content(file_id) as response,
                contextlib.aclosing(iter_lines(response.http_response)) as lines,
            ):
                async for line in lines:
                    if (parsed := results.parse_line(line)) is None:
                        continue
                    request, result = parsed
                    if (reply := self._parse_result(result, request, results)) is not None:
                        results.replied.add(request.custom_id)
                        replies.append((request, reply))
                    if len(replies) >= _SAVE_EVERY:
                        await self._save_replies(replies)
        except openai.NotFoundError:  # the provider has deleted the file
            results.unreadable += 1
        except (httpx2.HTTPError, TimeoutError):
            whole = False
        await self._save_replies(replies)
        return whole

    def _parse_result(self, result: dict[str, Any], request: PendingRequest, results: BatchResults) -> RawReply | None:
        """The reply in one line of a result file; `None` for a failed request, which `results` then holds."""
        response = result.get("response")
        response = response if isinstance(response, dict) else {"status_code": 500, "body": result.get("error")}
        status = bounded_int(response.get("status_code"), 100, 999, default=500)
        assert status is not None
        url, requester = self._requester.endpoint.url, self._requester
        try:
            if status != 200:
                raise classify_status(status, response.get("body"), {}, self.name, url)
            bounds = requester.compute_token_bounds(request.size, has_images=self.llm.settings.see)
            completion = parse_completion(response.get("body"), bounds, self.name, url)
        except (RetryableError, ReplyError, EndpointError, RefusedFieldError, UnfitReplyError) as error:
            results.failed[request.custom_id] = error
            return None
        requester.count_correction(request.prompt, completion)
        reply = requester.make_reply(completion, request.mode, batch=True)
        if requester.meter.budget is not None and reply.cost is not None:
            reply = reply._replace(cost=min(reply.cost, request.max_cost))
        return reply

    async def _settle_failures(self, results: BatchResults, *, is_complete: bool) -> int:
        """Queue the requests of failed lines again, or give them up; return the number of requests that were settled.

        A request without a line has failed too where the batch is complete.
        """
        settled = 0
        for custom_id, request in results.requests.items():
            if custom_id in results.replied:
                continue
            error = results.failed.get(custom_id)
            if error is None and not is_complete:
                continue
            settled += 1
            if isinstance(error, RefusedFieldError) and (error := await self._adapt(error, request)) is None:
                continue
            if isinstance(error, EndpointError):
                results.stop = error
            self._requester.usage.get_counts(self._requester.model, request.prompt).retries += 1
            problem = error or ReplyError("the batch brought no line for it that can be read")
            if isinstance(error, ReplyError) or request.failures + 1 >= MAX_FAILURES:
                self._given_up[request.key] = str(problem)
                await self._queue.remove(request)
            else:
                await self._queue.retry(request)
        return settled

    async def _adapt(self, error: RefusedFieldError, request: PendingRequest) -> ReplyError | None:
        """Learn from a refusal, so that the request goes into the queue again as the endpoint takes it; else what gives it up."""
        capabilities = self._requester.capabilities
        try:
            changed = await capabilities.adapt(error, self._queue.find_body(request), request.size)
        except ReplyError as given_up:
            return given_up
        if not changed and error.limit is not None:
            capabilities.most_tokens = min(error.limit, capabilities.most_tokens or error.limit)
        await self._queue.remove(request)
        return None

    async def _save_replies(self, replies: list[tuple[PendingRequest, RawReply]]) -> None:
        for request, reply in await self._queue.save_replies(list(replies)):
            self._requester.count_reply(request.prompt, reply)
            self._requester.meter.add_cost(reply.cost or 0.0)
        replies.clear()

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Call the provider until it answers."""
        import openai

        with RetryState(self._health) as state:
            while True:
                try:
                    answer = await call()
                except openai.APIError as error:
                    failure = classify_error(error, self.name, self._requester.endpoint.url)
                except _UNREADABLE_ANSWERS as error:
                    failure = RetryableError(f"an answer that cannot be read ({type(error).__name__})", answered=True)
                else:
                    self._health.record_success()
                    return answer
                if not isinstance(failure, RetryableError):
                    raise EndpointError(str(failure)) from failure
                try:
                    delay = state.next_delay(failure)
                except ReplyError as error:  # a call of the batch API serves no single prompt
                    raise EndpointError(f"{error} Nothing is lost.") from error
                await asyncio.sleep(delay)


async def run_in_batches(run: Callable[[], Awaitable[None]], llms: Iterable[BatchLLM], log: Log | None = None) -> None:
    """Run, collect the missing replies, and run again until none is missing: `run` ignores each `PendingError`."""
    llms = list(dict.fromkeys(llms))
    while True:
        await run()
        if not sum(await asyncio.gather(*(llm.collect(log) for llm in llms))):
            return
