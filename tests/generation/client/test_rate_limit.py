"""The limiter: bounded, fair to retries, shrinking in a storm, climbing again, and kept to a rate a minute."""

import asyncio

import pytest

from comvint_hf.generation.client.rate_limit import LeakyBucket, RateLimiter


def storm(limiter: RateLimiter, answers: int, throttled: int, retry_after: float | None = None) -> None:
    """Let so many requests through, the first of them throttled."""

    async def go() -> None:
        for number in range(answers):
            window = await limiter.acquire(0)
            limiter.release(window, throttled=number < throttled, retry_after=retry_after)

    asyncio.run(go())


def test_never_more_at_once_than_allowed() -> None:
    limiter, peak = RateLimiter(3), 0

    async def one() -> None:
        nonlocal peak
        window = await limiter.acquire(0)
        peak = max(peak, limiter.active)
        await asyncio.sleep(0)
        limiter.release(window)

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(50)))

    asyncio.run(many())
    assert peak == 3 and limiter.active == 0


def test_urgent_requests_go_first() -> None:
    order = []

    async def go() -> None:
        limiter = RateLimiter(1)
        window = await limiter.acquire(0)

        async def one(name: str, urgent: bool) -> None:
            mine = await limiter.acquire(0, urgent=urgent)
            order.append(name)
            limiter.release(mine)

        tasks = [asyncio.create_task(one("first", False)), asyncio.create_task(one("retry", True))]
        await asyncio.sleep(0)
        limiter.release(window)
        await asyncio.gather(*tasks)

    asyncio.run(go())
    assert order == ["retry", "first"]


def test_a_cancelled_wait_gives_its_turn_on() -> None:
    async def go() -> None:
        limiter = RateLimiter(1)
        window = await limiter.acquire(0)
        waiting = [asyncio.create_task(limiter.acquire(0)) for _ in range(2)]
        await asyncio.sleep(0)
        limiter.release(window)
        waiting[0].cancel()
        await asyncio.wait_for(waiting[1], 100)
        assert limiter.active == 1

    asyncio.run(go())


def test_few_throttled_answers_change_nothing() -> None:
    limiter = RateLimiter(32)
    storm(limiter, 320, throttled=3)
    assert limiter.limit == 32


def test_a_storm_shrinks_to_what_got_through_and_it_climbs_again() -> None:
    limiter = RateLimiter(40)
    storm(limiter, 40, throttled=12)
    assert limiter.limit == pytest.approx(28, abs=0.5)
    storm(limiter, 400, throttled=0)
    assert limiter.limit == 40


def test_a_storm_never_stops_everything() -> None:
    limiter = RateLimiter(8)
    for _ in range(20):
        storm(limiter, 20, throttled=20, retry_after=0.0)
    assert limiter.limit == 1


def test_in_a_storm_everybody_waits_as_long_as_was_asked(monkeypatch) -> None:
    slept = []

    async def go() -> None:
        limiter = RateLimiter(20)

        async def no_sleep(seconds: float) -> None:
            slept.append(seconds)
            limiter._resume_at -= seconds

        monkeypatch.setattr("comvint_hf.generation.client.rate_limit.asyncio.sleep", no_sleep)
        windows = [await limiter.acquire(0) for _ in range(20)]
        for window in windows:
            limiter.release(window, throttled=True, retry_after=7.0)
        assert not slept
        await limiter.acquire(0)

    asyncio.run(go())
    assert sum(slept) == pytest.approx(7, abs=3), "less what has passed since"


def test_answers_to_old_requests_do_not_count_against_the_new_limit() -> None:
    async def go() -> float:
        limiter = RateLimiter(40)
        windows = [await limiter.acquire(0) for _ in range(40)]
        for window in windows:
            limiter.release(window, throttled=True)
        return limiter.limit

    assert asyncio.run(go()) == 10


def test_a_rate_is_kept_evenly() -> None:
    bucket = LeakyBucket(600)
    assert [round(bucket.reserve(1, now=100.0), 3) for _ in range(4)] == [0.0, 0.1, 0.2, 0.3]
    assert bucket.reserve(1, now=200.0) == 0
    bucket.adjust(10)
    assert bucket.reserve(1, now=200.0) == pytest.approx(1.1)
    assert LeakyBucket(None).reserve(1000, now=0.0) == 0
