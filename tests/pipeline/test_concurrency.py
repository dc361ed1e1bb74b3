"""Concurrent coroutines: results in order, no slow one in the way, and errors that end the run."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from comvint_hf.pipeline.concurrency import LOOKAHEAD, run_in_order


class Desk:
    """Jobs that end when a test says so; counts how many run."""

    def __init__(self, count: int) -> None:
        self.ends = [asyncio.Event() for _ in range(count)]
        self.running = self.most = 0
        self.started: list[int] = []

    async def job(self, number: int) -> int:
        self.started.append(number)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.ends[number].wait()
        finally:
            self.running -= 1
        return number * 10

    def jobs(self):
        return [(number, partial(self.job, number)) for number in range(len(self.ends))]


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_slow_job_holds_back_only_what_is_far_behind_it() -> None:
    async def go() -> None:
        desk = Desk(40)
        for end in desk.ends[1:]:
            end.set()
        found = []

        async def read() -> None:
            async for pair in run_in_order(desk.jobs(), concurrency=2):
                found.append(pair)

        reading = asyncio.create_task(read())
        await settle()
        assert found == [] and desk.started == list(range(LOOKAHEAD * 2)), "the queue is full, and its first call still runs"
        desk.ends[0].set()
        await reading
        assert found == [(number, number * 10) for number in range(40)]
        assert desk.most == 2 and desk.running == 0

    asyncio.run(go())


async def fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("fatal", "before"), [((), [0]), ((ValueError,), [])])
def test_a_failure_comes_in_its_turn_and_a_fatal_one_at_once(fatal, before) -> None:
    async def go() -> None:
        desk, found = Desk(4), []
        jobs = desk.jobs()
        jobs[1] = (1, partial(fails, ValueError("no")))

        async def read() -> None:
            async for key, _ in run_in_order(jobs, concurrency=4, fatal=fatal):
                found.append(key)

        reading = asyncio.create_task(read())
        await settle()
        assert reading.done() == bool(fatal)
        desk.ends[0].set()
        with pytest.raises(ValueError, match="no"):
            await reading
        assert found == before and desk.running == 0, "what still ran was cancelled"

    asyncio.run(go())


def test_leaving_early_cancels_what_runs() -> None:
    async def go() -> None:
        desk = Desk(9)
        desk.ends[0].set()
        results = run_in_order(desk.jobs(), concurrency=3)
        assert await anext(results) == (0, 0)
        await results.aclose()
        assert desk.running == 0 and len(desk.started) < 9

    asyncio.run(go())
