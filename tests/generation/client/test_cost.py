"""Prices and the meter: nothing is sent that could pass the budget, in one process or in many."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from comvint_hf.errors import BudgetError, InputError
from comvint_hf.generation.client.cache import Cache, Paid
from comvint_hf.generation.client.cost import Meter, Price, needs_price, price_of, prices


@pytest.fixture
def cache(tmp_path):
    opened = Cache(tmp_path / "replies.sqlite")
    yield opened
    opened.close()


def test_a_dated_model_has_the_price_of_the_plain_one() -> None:
    assert price_of("gpt-4o-mini-2024-07-18") == price_of("gpt-4o-mini") != price_of("gpt-4o")
    assert price_of("gpt-4o-mini-of-mine") is None


def test_cached_tokens_and_batches_are_cheaper() -> None:
    price = Price(input=2, output=8, cached_input=1, batch=0.5)
    assert price.cost(1_000_000, 1_000_000) == 10
    assert price.cost(1_000_000, 1_000_000, 500_000) == 9.5
    assert price.cost(1_000_000, 1_000_000, batch=True) == 5


def test_a_users_file_is_read_over_the_packages(tmp_path) -> None:
    mine = tmp_path / "prices.toml"
    mine.write_text('["gpt-4o"]\ninput = 1\noutput = 2\n["my/model:fast"]\ninput = 0\noutput = 0\n')
    assert price_of("gpt-4o", mine).input == 1 and price_of("my/model:fast", mine).output == 0
    assert price_of("gpt-4o-mini", mine) == prices()["gpt-4o-mini"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"no toml [", "line 1"),
        (b"\xff", "utf-8"),
        (b'["m"]\ninput = -1\noutput = "x"', r"\(m\.input: [^\n]*0\)"),
        (b'["m"]\ninput = 1', r"m\.output"),
        (b'["m"]\ninput = 1\noutput = 1\nx = 2', r"m\.x"),
    ],
)
def test_a_broken_price_file_says_so_in_one_line(tmp_path, text, said) -> None:
    (tmp_path / "prices.toml").write_bytes(text)
    with pytest.raises(InputError, match=f"no price file.*{said}") as refused:
        price_of("m", tmp_path / "prices.toml")
    assert "\n" not in str(refused.value)


def test_a_budget_needs_a_price() -> None:
    with pytest.raises(InputError, match="--prices"):
        needs_price("unheard-of", 25, None)
    needs_price("unheard-of", None, None)


def test_requests_in_flight_count(cache) -> None:
    async def go() -> None:
        meter = Meter(cache, 1.0)
        holds = [await meter.hold(0.3) for _ in range(3)]
        waiting = asyncio.create_task(meter.hold(0.3))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        meter.settle(holds[0], 0.01)
        await asyncio.wait_for(waiting, 100)
        assert meter.spent == 0.01

    asyncio.run(go())


def test_the_budget_ends_with_a_sentence_that_says_how_to_go_on(cache) -> None:
    async def go() -> None:
        meter = Meter(cache, 1.0)
        for number in range(3):
            meter.settle(await meter.hold(0.3), 0.3)
            await cache.record(bytes([number]), 0, Paid("t", "stop", "text", 1, 1, 0.3), "m", "p")
        with pytest.raises(BudgetError, match=r"budget of \$1.00 .* cost \$0\.30: .* paid \$0\.90\. .*higher --budget"):
            await meter.hold(0.3)

    asyncio.run(go())


def test_lost_replies_count_as_spent(cache) -> None:
    async def go() -> None:
        meter = Meter(cache, 1.0)
        meter.lose(await meter.hold(0.8))
        assert meter.unconfirmed == 0.8
        with pytest.raises(BudgetError, match=r"up to \$0\.80 more .* was on its way"):
            await meter.hold(0.3)

    asyncio.run(go())


def test_what_another_run_holds_is_said(cache) -> None:
    async def go() -> None:
        other = Cache(cache.path)
        await Meter(other, 1.0).hold(0.8)
        with pytest.raises(BudgetError, match=r"paid \$0\.00, up to \$0\.90 more is held by other runs"):
            await Meter(cache, 1.0).hold(0.3)
        other.close()

    asyncio.run(go())


def test_the_first_run_does_not_take_all_of_a_small_budget(cache) -> None:
    async def go() -> None:
        first, other = Meter(cache, 1.0), Cache(cache.path)
        await first.hold(0.1)
        second = Meter(other, 1.0)
        for _ in range(2):  # without what the first has to spare, and may yet give back
            await asyncio.wait_for(second.hold(0.1), 100)
        other.close()

    asyncio.run(go())


def test_without_a_budget_nothing_waits(cache) -> None:
    async def go() -> None:
        meter = Meter(cache)
        for _ in range(1000):
            await meter.hold(1e9)

    asyncio.run(go())


def spend(path, budget: float, seed: int) -> float:
    """Spend what a process can, each request costing up to its worst case; gives what was spent."""

    async def go() -> float:
        cache, draw, number = Cache(path), random.Random(seed), 0
        meter = Meter(cache, budget)

        async def one() -> None:
            nonlocal number
            while True:
                try:
                    hold = await meter.hold(0.05)
                except BudgetError:
                    return
                await asyncio.sleep(0)
                cost = draw.uniform(0, 0.05)
                meter.settle(hold, cost)
                number += 1
                await cache.record(f"{seed} {number}".encode(), 0, Paid("t", "stop", "text", 1, 1, cost), "m", "p")

        await asyncio.gather(*(one() for _ in range(4)))
        cache.close()
        return meter.spent

    return asyncio.run(go())


def test_processes_share_one_budget(tmp_path) -> None:
    path = tmp_path / "replies.sqlite"
    Cache(path).close()
    with ThreadPoolExecutor(3) as pool:
        spent = sum(pool.map(lambda seed: spend(path, 2.0, seed), range(3)))
    assert 1.5 < spent <= 2.0
    spent += spend(path, 2.0, 99)
    assert 1.9 < spent <= 2.0
    assert spent < spent + spend(path, 2.5, 100) <= 2.5


def test_what_a_killed_run_had_taken_stays_taken(tmp_path) -> None:
    killed = Cache(tmp_path / "replies.sqlite")
    killed.before_close = lambda last: None

    async def die_in_flight() -> None:
        await Meter(killed, 1.0).hold(0.05)

    asyncio.run(die_in_flight())
    killed.close()
    assert 0 < spend(killed.path, 1.0, 0) <= 1 - 9 * 0.05 + 1e-9


def test_a_run_that_ends_gives_back_what_it_did_not_need(tmp_path) -> None:
    ended = Cache(tmp_path / "replies.sqlite")

    async def one() -> None:
        meter = Meter(ended, 1.0)
        meter.settle(await meter.hold(0.05), 0.0)

    asyncio.run(one())
    ended.close()
    assert spend(ended.path, 1.0, 0) > 0.94
