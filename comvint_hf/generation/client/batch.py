"""Answers through a provider's batch API: cheaper, slower, and filling the same cache.

A batch run is: run the recipe (every prompt the cache cannot answer is noted and raises `PendingError`), `collect` (submit
what was noted, wait, put the replies into the cache), and run again until nothing is missing: `in_batches` does that. It
may be stopped anywhere; what was submitted is collected by the next run. One process collects at a time. This file knows
the files and batches API; the ledger of what is where lies in `ledger`.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, BinaryIO

from comvint_hf.errors import BudgetError, EndpointError, PendingError, ReplyError
from comvint_hf.generation.client.batch_jobs import Batch, Ledger, Wanted
from comvint_hf.generation.client.completion import completion_of
from comvint_hf.generation.client.errors import FormatRefused, Trouble, by_status, diagnose
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.retry import TRIES, Health, Persistence
from comvint_hf.generation.llm import R
from comvint_hf.generation.prompt import Prompt

MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000
"""What one batch file may hold at OpenAI (200 MB there; the rest is for line heads)."""
_HEAD = 200
_TOGETHER = 500
_TAG = "comvint"
Told = Callable[[str], None]


class BatchLLM:
    """`llm`, answered from its cache and through batches; `poll` is the seconds between two looks at a batch."""

    deterministic = False

    def __init__(
        self, llm: OpenAILLM, *, most_requests: int = MOST_REQUESTS, most_bytes: int = MOST_BYTES, poll: float = 30.0
    ) -> None:
        self.name = llm.name
        self.llm = llm
        self._ledger = Ledger(llm.cache, llm.requester.model)
        self._most_requests, self._most_bytes, self._poll = most_requests, most_bytes, poll
        self._asked: set[bytes] = set()
        self._given_up: dict[bytes, str] = {}
        self._requester = llm.requester
        self._health = Health(self._requester.access.url)

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the form from the cache. Raises `PendingError` when a batch must bring the reply, else as `OpenAILLM`."""
        llm = self.llm
        question = await llm.question(prompt, reply_type)
        replies = llm.cache.replies(question.key)
        reply, problem = llm.first_fit(question, replies)
        if reply is not None:
            self._requester.count(question).cached += 1
            llm.settle(question, replies, good=True)
            return reply
        if len(replies) >= llm.most_replies(question, replies):
            llm.settle(question, replies, good=False)
            raise llm.no_fit(question, replies, problem)
        if question.key in self._given_up:
            raise ReplyError(f"{self.name} gave no reply to {prompt.name}; the last problem: {self._given_up[question.key]}.")
        self._asked.add(question.key)
        mode = self._requester.ability.mode
        body = await self._requester.body(question, replies[-1] if replies else None)
        worst = self._requester.worst_cost(body, batch=True)
        await self._ledger.want(question.key, len(replies), prompt.name, mode, body, worst)
        raise PendingError(f"{prompt.name} waits for a batch of {self.name}.")

    async def collect(self, told: Told | None = None) -> int:
        """Submit all that was asked for, wait for every batch, and give the number of requests that are settled now.

        Raises `BudgetError` when not one request fits the budget and `EndpointError` when the provider refuses for good.
        """
        settled = 0
        while True:
            await self._submit(told)
            batches = self._ledger.open()
            if not batches:
                return settled
            finished = [await self._look_at(batch, told) for batch in batches]
            settled += sum(count for count in finished if count is not None)
            if all(count is None for count in finished):
                await asyncio.sleep(self._poll)

    async def _submit(self, told: Told | None) -> None:
        """Send half-sent batches on their way, then as many new ones as are needed and the budget allows."""
        for batch in self._ledger.open():
            if batch.provider is None:
                await self._send(batch, told)
        while waiting := self._ledger.unsent(self._asked):
            chosen = await self._choose(waiting)
            if not chosen:
                if self._ledger.open():
                    return
                raise BudgetError(self._requester.meter.spent_up(waiting[0].worst))
            await self._send(await self._ledger.begin(chosen), told)

    async def _choose(self, waiting: list[Wanted]) -> list[Wanted]:
        """As many as one file and the budget hold."""
        free = await self.llm.cache.write(self._requester.meter.free)
        chosen: list[Wanted] = []
        size = 0
        for one in waiting[: self._most_requests]:
            free, size = free - one.worst, size + one.size + _HEAD
            if free < 0 or (size > self._most_bytes and chosen):
                break
            chosen.append(one)
        return chosen

    async def _send(self, batch: Batch, told: Told | None) -> None:
        """Upload a batch's file and start it, going on where an earlier run stopped."""
        found = await self._started_before(batch)
        if found is None:
            if batch.file is None:
                with tempfile.TemporaryFile() as file:
                    file.writelines(self._ledger.lines(batch))
                    batch = await self._ledger.name(batch, file=await self._persist(lambda: self._upload(batch, file)))
            found = await self._persist(lambda: self._start(batch))
        await self._ledger.name(batch, provider=found)
        if told:
            told(f"batch {found}: submitted {len(self._ledger.inside(batch)):,} requests to {self.name}")

    async def _upload(self, batch: Batch, file: BinaryIO) -> str:
        file.seek(0)
        return (await self._requester.client().files.create(file=(f"{_TAG}-{batch.tag}.jsonl", file), purpose="batch")).id

    async def _start(self, batch: Batch) -> str:
        """Start the batch, unless a try whose answer was lost did."""
        return (
            await self._find(batch)
            or (
                await self._requester.client().batches.create(
                    input_file_id=batch.file, endpoint="/v1/chat/completions", completion_window="24h", metadata={_TAG: batch.tag}
                )
            ).id
        )

    async def _started_before(self, batch: Batch) -> str | None:
        return await self._persist(lambda: self._find(batch)) if batch.file else None

    async def _find(self, batch: Batch) -> str | None:
        """The provider's name of the batch that carries this one's tag."""
        async for known in self._requester.client().batches.list(limit=100):
            if (known.metadata or {}).get(_TAG) == batch.tag:
                return known.id
        return None

    async def _look_at(self, batch: Batch, told: Told | None) -> int | None:
        """Collect a batch if it is over; `None` if it is not, else the number of requests it settled."""
        state = await self._persist(lambda: self._requester.client().batches.retrieve(batch.provider))
        if state.status == "failed":
            await self._refused(batch, state)
            return 0
        if state.status not in ("completed", "expired", "cancelled"):
            if told and state.request_counts:
                told(f"batch {state.id}: {state.request_counts.completed:,} of {state.request_counts.total:,} done")
            return None
        inside = self._ledger.inside(batch)
        for file in (state.output_file_id, state.error_file_id):
            if file:
                await self._persist(lambda file=file: self._read(file, inside))
        left = len(self._ledger.inside(batch))
        await self._ledger.close(batch)
        if left and left == len(inside) and state.status == "completed":
            raise EndpointError(
                f"Batch {state.id} is completed and brought nothing of {left:,} requests: look at it with the provider."
            )
        if told:
            told(f"batch {state.id}: {state.status}, {len(inside) - left:,} of {len(inside):,} settled")
        return len(inside) - left

    async def _refused(self, batch: Batch, state: Any) -> None:
        """A batch that failed its validation: too much at once goes again in smaller parts, anything else ends the run."""
        problem = state.errors.data[0] if state.errors and state.errors.data else None
        count = len(self._ledger.inside(batch))
        await self._ledger.close(batch)
        if problem and "limit" in f"{problem.code} {problem.message}" and count > 1:
            self._most_requests = max(1, count // 2)
            return
        said = problem.message if problem else "no reason given"
        raise EndpointError(
            f"{self._requester.access.url} refuses batch {state.id} of {count:,} requests ({said}). Nothing is lost."
        )

    async def _read(self, file: str, inside: dict[str, Wanted]) -> None:
        """Read a result file line by line into the cache."""
        gathered: list[tuple[Wanted, Any]] = []
        async with self._requester.client().files.with_streaming_response.content(file) as response:
            async for line in response.iter_lines():
                if line.strip():
                    await self._take(json.loads(line), inside, gathered)
                if len(gathered) >= _TOGETHER:
                    await self._bring(gathered)
        await self._bring(gathered)

    async def _take(self, line: dict[str, Any], inside: dict[str, Wanted], gathered: list[tuple[Wanted, Any]]) -> None:
        one = inside.get(line["custom_id"])
        if one is None:
            return
        response = line.get("response") or {"status_code": 500, "body": line.get("error")}
        try:
            if response["status_code"] != 200:
                raise by_status(response["status_code"], response["body"], {}, self.name, self._requester.access.url)
            completion = completion_of(response["body"], one.size)
            gathered.append((one, self._requester.paid(completion, one.mode, batch=True)))
        except FormatRefused as refused:
            await self._requester.ability.refuse_mode(one.mode, str(refused))
            await self._ledger.forget(one)
        except (Trouble, ReplyError) as problem:
            if isinstance(problem, ReplyError) or one.failures + 1 >= TRIES:
                self._given_up[one.key] = str(problem)
                await self._ledger.forget(one)
            else:
                await self._ledger.retry(one)

    async def _bring(self, gathered: list[tuple[Wanted, Any]]) -> None:
        for one, paid in await self._ledger.bring(list(gathered)):
            self._requester.tally(one.prompt, paid)
            self._requester.meter.add(paid.cost or 0.0)
        gathered.clear()

    async def _persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Call the provider until it answers."""
        import openai

        with Persistence(self._health) as persistence:
            while True:
                try:
                    answer = await call()
                except openai.APIError as error:
                    failure = diagnose(error, self.name, self._requester.access.url)
                    if not isinstance(failure, Trouble):
                        raise EndpointError(str(failure)) from error
                    wait = persistence.wait_after(failure)
                else:
                    self._health.good()
                    return answer
                await asyncio.sleep(wait)


async def in_batches(run: Callable[[], Awaitable[None]], llms: Iterable[BatchLLM], told: Told | None = None) -> None:
    """Run, collect what was missing, and run again until nothing is: `run` passes by what raises `PendingError`."""
    llms = list(dict.fromkeys(llms))
    while True:
        await run()
        if not sum(await asyncio.gather(*(llm.collect(told) for llm in llms))):
            return
