"""What was sent is let come back, whoever stops waiting for it; what was not sent yet never is."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
from endpoint.asking import QA, opened, toy_prompt
from endpoint.faults import Faults
from endpoint.server import Endpoint, serve

from comvint_hf.errors import BudgetError, EndpointError
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.completion import Completion
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.request import Requester
from comvint_hf.pipeline.concurrency import run_in_order


@pytest.fixture
def cache(tmp_path):
    held = Cache(tmp_path / "replies.sqlite")
    yield held
    held.close()


@pytest.fixture
def prices(tmp_path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text('["toy-model"]\ninput = 1\noutput = 1\n')
    return path


async def stopped_while_asking(llm: OpenAILLM, endpoint: Endpoint, prompts: int, sent: int) -> None:
    """Ask so many prompts, and cancel them all when so many were sent."""
    asking = [asyncio.create_task(llm.ask(toy_prompt(number), QA)) for number in range(prompts)]
    while endpoint.asked.total() < sent:
        await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert all(task.cancelled() for task in asking)


def kept(cache: Cache) -> int:
    return cache.query("SELECT count(*) FROM replies")[0][0]


def test_one_request_leaves_at_each_turn_of_the_loop_so_that_replies_are_written_first(cache, monkeypatch) -> None:
    turn, sent = 0, []

    async def post(self: Requester, body: dict) -> Completion:
        sent.append(turn)
        return Completion('{"question": "q", "answer": "a"}', "stop", 1, 1, 0)

    async def go() -> None:
        nonlocal turn
        async with opened("http://localhost:1/v1", cache) as llm:
            asking = asyncio.gather(*(llm.ask(toy_prompt(number), QA) for number in range(8)))
            while not asking.done():
                turn += 1
                await asyncio.sleep(0)

    monkeypatch.setattr(Requester, "_post", post)
    asyncio.run(go())
    assert len(sent) == len(set(sent)) == 8


def test_what_was_sent_comes_back_and_what_was_not_is_never_sent(cache) -> None:
    endpoint = Endpoint(held=Future())

    async def go() -> None:
        with serve(endpoint) as url:
            async with opened(url, cache, concurrency=4) as llm:
                await stopped_while_asking(llm, endpoint, prompts=10, sent=4)
                assert len(llm.requester.in_flight) == 4 and kept(cache) == 0
                endpoint.held.set_result(None)

    asyncio.run(go())
    assert endpoint.asked.total() == kept(cache) == 4


def test_asked_again_while_the_first_request_is_out_it_is_waited_for(cache) -> None:
    endpoint = Endpoint(held=Future())

    async def go() -> QA:
        with serve(endpoint) as url:
            async with opened(url, cache) as llm:
                await stopped_while_asking(llm, endpoint, prompts=1, sent=1)
                asking = asyncio.create_task(llm.ask(toy_prompt(0), QA))
                await asyncio.sleep(0)
                endpoint.held.set_result(None)
                return await asking

    assert isinstance(asyncio.run(go()), QA) and endpoint.asked.total() == 1


def test_what_fails_after_all_gave_up_waiting_is_not_sent_again_and_says_nothing(cache, caplog) -> None:
    endpoint = Endpoint(held=Future(), faults=Faults(share=1, kinds=("500",)))

    async def go() -> None:
        with serve(endpoint) as url:
            async with opened(url, cache) as llm:
                await stopped_while_asking(llm, endpoint, prompts=3, sent=3)
                endpoint.held.set_result(None)

    asyncio.run(go())
    gc.collect()
    assert endpoint.asked.total() == 3 and kept(cache) == 0 and not caplog.records


def test_nothing_is_sent_again_or_anew_once_it_is_closed(cache) -> None:
    endpoint = Endpoint(held=Future(), faults=Faults(share=1, kinds=("500",)))

    async def go() -> None:
        with serve(endpoint) as url:
            async with opened(url, cache) as llm:
                orphans = [asyncio.create_task(llm.ask(toy_prompt(number), QA)) for number in range(3)]
                while endpoint.asked.total() < 3:
                    await asyncio.sleep(0)
                closing = asyncio.create_task(llm.close())
                await asyncio.sleep(0)
                endpoint.held.set_result(None)
                await closing
            for orphan in (*orphans, llm.ask(toy_prompt(7), QA)):
                with pytest.raises(EndpointError, match="was closed"):
                    await orphan

    asyncio.run(go())
    assert endpoint.asked.total() == 3 and kept(cache) == 0


def test_a_reply_that_never_comes_is_waited_for_no_longer_than_any_other_and_counts_as_paid(cache, prices) -> None:
    endpoint = Endpoint(faults=Faults(share=1, kinds=("stall",)))

    async def go() -> tuple[float, float]:
        with serve(endpoint) as url:
            async with opened(url, cache, budget=1, prices=prices, timeout=0.5) as llm:
                await stopped_while_asking(llm, endpoint, prompts=2, sent=2)
            return llm.requester.meter.spent, llm.requester.meter.unconfirmed

    spent, unconfirmed = asyncio.run(go())
    assert spent == 0 and 2 * 8192e-6 < unconfirmed < 2 * 9000e-6


def test_what_comes_back_after_a_stop_is_settled_at_its_real_price(cache, prices) -> None:
    endpoint = Endpoint(held=Future())

    async def go() -> float:
        with serve(endpoint) as url:
            async with opened(url, cache, budget=1, prices=prices) as llm:
                meter = llm.requester.meter

                async def has_no_room() -> None:
                    while endpoint.asked.total() < 3:
                        await asyncio.sleep(0)
                    raise BudgetError("no room")

                jobs = [(0, has_no_room), *((number, partial(llm.ask, toy_prompt(number), QA)) for number in range(1, 4))]
                with pytest.raises(BudgetError):
                    await anext(run_in_order(jobs, concurrency=4))
                endpoint.held.set_result(None)
            assert meter.unconfirmed == 0
            return meter.spent

    assert asyncio.run(go()) * 1e6 == pytest.approx(endpoint.tokens.total())
    assert endpoint.asked.total() == kept(cache) == 3
