"""Run many coroutines side by side and give back their results in the order they came. This file knows nothing else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
Start = Callable[[], Awaitable[T]]
BEHIND = 4
"""A slow job holds nobody back until this many times `at_once` jobs stand in line from it on."""


async def in_order(
    jobs: Iterable[tuple[K, Start[T]]], at_once: int, fatal: type[BaseException] | tuple[()] = ()
) -> AsyncIterator[tuple[K, T]]:
    """Keep `at_once` jobs running and yield each one's key and result, in the order of `jobs`.

    A failure is raised when its turn comes, a `fatal` one at once; either way what still runs is cancelled.
    """
    room = asyncio.Semaphore(at_once)
    line: deque[tuple[K, asyncio.Future[T]]] = deque()
    broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def over(task: asyncio.Future[T]) -> None:
        room.release()
        if not task.cancelled() and isinstance(task.exception(), fatal) and not broken.done():
            broken.set_result(task.exception())

    try:
        for key, job in jobs:
            await room.acquire()
            task = asyncio.ensure_future(job())
            task.add_done_callback(over)
            line.append((key, task))
            while line and (len(line) >= BEHIND * at_once or line[0][1].done() or broken.done()):
                yield await _first(line, broken)
        while line:
            yield await _first(line, broken)
    finally:
        for _, task in line:
            task.cancel()
        await asyncio.gather(*(task for _, task in line), return_exceptions=True)


async def _first(line: deque[tuple[K, asyncio.Future[T]]], broken: asyncio.Future[BaseException]) -> tuple[K, T]:
    key, task = line[0]
    if not task.done():
        await asyncio.wait((task, broken), return_when=asyncio.FIRST_COMPLETED)
    if broken.done():
        raise broken.result()
    result = await task
    line.popleft()
    return key, result
