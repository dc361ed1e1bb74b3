"""Run many coroutines concurrently and return their results in order. This module knows nothing of what they do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
LOOKAHEAD = 4
"""How many times `concurrency` calls may have started from the first unfinished one on, before a slow one holds up the rest."""


async def run_in_order(
    calls: Iterable[tuple[K, Callable[[], Awaitable[T]]]],
    concurrency: int,
    fatal: tuple[type[BaseException], ...] = (),
) -> AsyncGenerator[tuple[K, T], None]:
    """Keep `concurrency` calls running and yield each one's key and result, in the order of `calls`.

    An error is raised when its turn comes, a `fatal` one at once. In both cases, what still runs is cancelled.
    """
    free = asyncio.Semaphore(concurrency)
    queue: deque[tuple[K, asyncio.Future[T]]] = deque()
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def on_done(task: asyncio.Future[T]) -> None:
        free.release()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, fatal) and not failure.done():
            failure.set_result(error)

    try:
        for key, call in calls:
            await free.acquire()  # calls are made lazily: a source is read no faster than its scenes are finished
            task = asyncio.ensure_future(call())
            task.add_done_callback(on_done)
            queue.append((key, task))
            while queue and (len(queue) >= LOOKAHEAD * concurrency or queue[0][1].done() or failure.done()):
                yield await _pop_first(queue, failure)
        while queue:
            yield await _pop_first(queue, failure)
    finally:
        left = [future for _, future in queue]
        for future in left:
            future.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _pop_first(queue: deque[tuple[K, asyncio.Future[T]]], failure: asyncio.Future[BaseException]) -> tuple[K, T]:
    key, task = queue[0]
    if not task.done():
        await asyncio.wait((task, failure), return_when=asyncio.FIRST_COMPLETED)
    if failure.done():
        raise failure.result()
    result = await task
    queue.popleft()
    return key, result
