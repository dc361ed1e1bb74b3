"""What replies took: counted once a question, whoever asks it, and the same in every order."""

from __future__ import annotations

import asyncio
import random

from comvint_hf.generation.client.cache import RawReply
from comvint_hf.generation.client.usage import CostRecord, Usage, collect_costs, record_cost

COSTS = (0.1, 0.2, 0.0003, 1e-7, 1 / 3)


def paid(cost: float | None) -> RawReply:
    return RawReply("text", "stop", "text", 10, 3, cost)


def test_a_bill_is_the_same_in_every_order_and_counts_a_question_once() -> None:
    written = []
    for seed in range(5):
        one = CostRecord()
        for number in random.Random(seed).sample(range(5), 5):
            one.add_request(bytes([number]), "m", "toy", [paid(COSTS[number]), paid(None)], unusable=1)
            one.add_request(bytes([number]), "m", "toy", [paid(9.0)], unusable=0)
        written.append(one.to_json())
    assert all(other == written[0] for other in written)
    total = {"requests": 10, "unusable": 5, "prompt_tokens": 100, "completion_tokens": 30, "unpriced": 5}
    assert written[0]["m"] == {**total, "cost": 0.633633433, "prompts": {"toy": {**total, "cost": 0.633633433}}}


def test_bills_add_up_to_the_bill_of_all() -> None:
    whole, parts = CostRecord(), CostRecord()
    for number, cost in enumerate(COSTS):
        part = CostRecord()
        for each in (whole, part):
            each.add_request(bytes([number]), "ab"[number % 2], "xyz"[number % 3], [paid(cost)], unusable=0)
        parts.merge(part.to_json())
    written = whole.to_json()
    assert parts.to_json() == written and list(written) == ["a", "b"] and list(written["b"]["prompts"]) == ["x", "y"]
    assert written["a"]["cost"] == sum(held["cost"] for held in written["a"]["prompts"].values())


def test_a_bill_gathers_what_all_tasks_inside_it_ask_and_nothing_else() -> None:
    async def ask(number: int) -> None:
        await asyncio.sleep(0)
        record_cost(bytes([number]), "m", "toy", [paid(0.5)], 0)

    async def scene(first: int) -> float:
        with collect_costs() as held:
            await asyncio.gather(*(ask(first + number) for number in range(3)))
        record_cost(b"outside", "m", "toy", [paid(0.5)], 0)
        return held.to_json()["m"]["requests"]

    async def go() -> list[float]:
        return await asyncio.gather(*(scene(10 * number) for number in range(4)))

    assert asyncio.run(go()) == [3, 3, 3, 3]


def test_a_run_tells_a_line_a_model() -> None:
    usage = Usage()
    assert not usage.has_counts and usage.format_lines() == []
    count = usage.get_counts("m", "toy")
    count.requests, count.rejected, count.retries, count.prompt_tokens, count.cost = 1200, 3, 2, 5000, 1.5
    assert usage.format_lines() == ["m: 1,200 requests, 2 retries, 3 unusable, 0 from the cache, 5,000 tokens, $1.50"]
    count.cost = 0.00123
    assert usage.format_line().endswith("5,000 tokens, $0.0012"), "small sums are not told as nothing"
    usage.get_counts("m", "other").requests = 1
    assert [line.split(":")[0] for line in usage.format_lines()] == ["m", "  other", "  toy"]


def test_tokens_that_the_provider_had_cached_are_counted_at_their_price(tmp_path) -> None:
    """A line that says so, and a cost that is lower by just that."""
    import asyncio

    from endpoint.asking import QA, ask_all, opened, toy_prompt
    from endpoint.server import Endpoint, serve

    class Caching(Endpoint):
        def complete(self, body, text, kind=None):
            completion = super().complete(body, text, kind)
            completion["usage"] = {
                "prompt_tokens": 40,
                "completion_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 30},
            }
            return completion

    prices = tmp_path / "prices.toml"
    prices.write_text('["toy-model"]\ninput = 10\ncached_input = 1\noutput = 100\n')

    async def go():
        with serve(Caching()) as url:
            async with opened(url, tmp_path / "replies.sqlite", prices=prices) as llm:
                await ask_all(llm, [toy_prompt(1), toy_prompt(2)], QA)
                return llm.usage

    usage = asyncio.run(go())
    assert usage.total.reused_tokens == 60
    assert round(usage.total.cost * 1e6) == 2 * (10 * 10 + 30 * 1 + 10 * 100)
    assert "100 tokens (60 cached by the provider)" in usage.format_line()


def test_repaired_replies_are_recorded_where_there_are_any() -> None:
    record, other = CostRecord(), CostRecord()
    record.add_request(b"1", "m", "toy", [paid(0.5)], unusable=0, repaired=1)
    record.add_request(b"2", "m", "toy", [paid(0.5)], unusable=0)
    other.merge(record.to_json())
    assert other.to_json()["m"]["repaired"] == other.to_json()["m"]["prompts"]["toy"]["repaired"] == 1
    plain = CostRecord()
    plain.add_request(b"2", "m", "toy", [paid(0.5)], unusable=0)
    assert "repaired" not in plain.to_json()["m"]
