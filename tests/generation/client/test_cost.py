"""Prices and the meter: nothing is sent that could pass the budget, in one process or in many."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from comvint_hf.errors import BudgetError, InputError
from comvint_hf.generation.client.cache import Cache, RawReply
from comvint_hf.generation.client.cost import BudgetMeter, Price, find_price, load_prices, require_price


@pytest.fixture
def cache(tmp_path):
    opened = Cache(tmp_path / "replies.sqlite")
    yield opened
    opened.close()


def test_a_dated_model_has_the_price_of_the_plain_one() -> None:
    assert find_price("gpt-4o-mini-2024-07-18") == find_price("gpt-4o-mini") != find_price("gpt-4o")
    assert find_price("gpt-4o-mini-of-mine") is None


def test_cached_tokens_and_batches_are_cheaper() -> None:
    price = Price(input=2, output=8, cached_input=1, batch=0.5)
    assert price.compute_cost(1_000_000, 1_000_000) == 10
    assert price.compute_cost(1_000_000, 1_000_000, 500_000) == 9.5
    assert price.compute_cost(1_000_000, 1_000_000, batch=True) == 5


def test_a_users_file_is_read_over_the_packages(tmp_path) -> None:
    mine = tmp_path / "prices.toml"
    mine.write_text('["gpt-4o"]\ninput = 1\noutput = 2\n["my/model:fast"]\ninput = 0\noutput = 0\n')
    assert find_price("gpt-4o", mine).input == 1 and find_price("my/model:fast", mine).output == 0
    assert find_price("gpt-4o-mini", mine) == load_prices()["gpt-4o-mini"]


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
        find_price("m", tmp_path / "prices.toml")
    assert "\n" not in str(refused.value)


def test_a_budget_needs_a_price() -> None:
    with pytest.raises(InputError, match="--prices"):
        require_price("unheard-of", 25, None)
    require_price("unheard-of", None, None)


def test_requests_in_flight_count(cache) -> None:
    async def go() -> None:
        meter = BudgetMeter(cache, 1.0)
        holds = [await meter.reserve(0.3) for _ in range(3)]
        waiting = asyncio.create_task(meter.reserve(0.3))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        meter.settle(holds[0], 0.01)
        await asyncio.wait_for(waiting, 100)
        assert meter.spent == 0.01

    asyncio.run(go())


def test_the_budget_ends_with_a_sentence_that_says_how_to_go_on(cache) -> None:
    async def go() -> None:
        meter = BudgetMeter(cache, 1.0)
        for number in range(3):
            meter.settle(await meter.reserve(0.3), 0.3)
            await cache.add_reply(bytes([number]), 0, RawReply("t", "stop", "text", 1, 1, 0.3), "m", "p")
        with pytest.raises(BudgetError, match=r"budget of \$1.00 .* cost \$0\.30: .* paid \$0\.90\. .*higher --budget"):
            await meter.reserve(0.3)

    asyncio.run(go())


def test_lost_replies_count_as_spent(cache) -> None:
    async def go() -> None:
        meter = BudgetMeter(cache, 1.0)
        meter.write_off(await meter.reserve(0.8))
        assert meter.unconfirmed == 0.8
        with pytest.raises(BudgetError, match=r"interrupted requests hold up to \$0\.80 more"):
            await meter.reserve(0.3)

    asyncio.run(go())


def test_what_another_run_holds_is_said(cache) -> None:
    async def go() -> None:
        other = Cache(cache.path)
        await BudgetMeter(other, 1.0).reserve(0.8)
        with pytest.raises(BudgetError, match=r"paid \$0\.00, and other runs or interrupted requests hold up to \$0\.90 more"):
            await BudgetMeter(cache, 1.0).reserve(0.3)
        other.close()

    asyncio.run(go())


def test_the_first_run_does_not_take_all_of_a_small_budget(cache) -> None:
    async def go() -> None:
        first, other = BudgetMeter(cache, 1.0), Cache(cache.path)
        await first.reserve(0.1)
        second = BudgetMeter(other, 1.0)
        for _ in range(2):  # without what the first has to spare, and may yet give back
            await asyncio.wait_for(second.reserve(0.1), 100)
        other.close()

    asyncio.run(go())


def test_without_a_budget_nothing_waits(cache) -> None:
    async def go() -> None:
        meter = BudgetMeter(cache)
        for _ in range(1000):
            await meter.reserve(1e9)

    asyncio.run(go())


def spend(path, budget: float, seed: int) -> float:
    """Spend what a process can, each request costing up to its worst case; gives what was spent."""

    async def go() -> float:
        cache, draw, number = Cache(path), random.Random(seed), 0
        meter = BudgetMeter(cache, budget)

        async def one() -> None:
            nonlocal number
            while True:
                try:
                    hold = await meter.reserve(0.05)
                except BudgetError:
                    return
                await asyncio.sleep(0)
                cost = draw.uniform(0, 0.05)
                meter.settle(hold, cost)
                number += 1
                await cache.add_reply(f"{seed} {number}".encode(), 0, RawReply("t", "stop", "text", 1, 1, cost), "m", "p")

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
    killed.on_close = lambda last: None

    async def die_in_flight() -> None:
        await BudgetMeter(killed, 1.0).reserve(0.05)

    asyncio.run(die_in_flight())
    killed.close()
    assert 0 < spend(killed.path, 1.0, 0) <= 1 - 9 * 0.05 + 1e-9


def test_a_run_that_ends_gives_back_what_it_did_not_need(tmp_path) -> None:
    ended = Cache(tmp_path / "replies.sqlite")

    async def one() -> None:
        meter = BudgetMeter(ended, 1.0)
        meter.settle(await meter.reserve(0.05), 0.0)

    asyncio.run(one())
    ended.close()
    assert spend(ended.path, 1.0, 0) > 0.94


def test_the_state_of_the_budget_is_known_after_the_cache_is_closed(tmp_path) -> None:
    cache = Cache(tmp_path / "replies.sqlite")
    meter = BudgetMeter(cache, 1.0)
    asyncio.run(cache.add_reply(b"key", 0, RawReply("t", "stop", "text", 1, 1, 0.25), "m", "p"))
    lines = meter.format_lines()
    cache.close()
    assert meter.format_lines() == lines == [f"budget: {cache.path} has paid $0.25 of $1.00"]
    assert BudgetMeter(Cache(tmp_path / "other.sqlite")).format_lines() == []
