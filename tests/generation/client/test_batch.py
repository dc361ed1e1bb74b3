"""Batches: every miss submitted once, split by the limits, collected even after a stop at any step."""

import asyncio
import json

import pytest
from endpoint.asking import QA, opened, toy_prompt
from endpoint.faults import Faults
from endpoint.server import Endpoint, serve

from comvint_hf.errors import BudgetError, EndpointError, PendingError, ReplyError
from comvint_hf.generation.client.batch import BatchLLM, run_in_batches

PRICES = '["toy-model"]\ninput = 10\noutput = 20\nbatch = 0.5\n'


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "replies.sqlite"


class Run:
    """A recipe of one question a scene, which notes what came and passes by what is pending."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.replies: dict[int, object] = {}

    async def __call__(self, llm: BatchLLM) -> None:
        for number in range(self.count):
            try:
                self.replies[number] = await llm.ask(toy_prompt(number), QA)
            except ReplyError as error:
                self.replies[number] = error
            except PendingError:
                self.replies.pop(number, None)


def batch(endpoint: Endpoint, cache, count: int = 20, told=None, options=None, **limits) -> tuple[Run, dict]:
    """Run in batches to the end; the replies and the summary."""
    run = Run(count)

    async def go() -> dict:
        with serve(endpoint) as url:
            async with opened(url, cache, **(options or {})) as llm:
                batched = BatchLLM(llm, **limits)
                await run_in_batches(lambda: run(batched), [batched], told)
                return llm.usage.summary()

    summary = asyncio.run(go())
    return run, summary


def test_a_batch_run_answers_everything_and_asks_nothing_beside(cache) -> None:
    endpoint, told = Endpoint(batch_polls=2), []
    run, summary = batch(endpoint, cache, told=told.append)
    assert len(run.replies) == 20 and all(isinstance(reply, QA) for reply in run.replies.values())
    assert len(endpoint.batches) == 1 and endpoint.requests == [] and summary["requests"] == 20
    line = json.loads(endpoint.files["file-1"].splitlines()[0])
    assert line["method"] == "POST" and line["url"] == "/v1/chat/completions"
    assert line["body"]["response_format"]["type"] == "json_schema" and line["body"]["model"] == "toy-model"
    assert "submitted 20 requests" in told[0] and "20 of 20 settled" in told[-1]
    again = Endpoint()
    assert batch(again, cache)[0].replies == run.replies and again.batches == {}


def test_a_batch_fills_the_same_cache_as_single_requests(cache) -> None:
    run, _ = batch(Endpoint(), cache)
    endpoint = Endpoint()

    async def single() -> object:
        with serve(endpoint) as url:
            async with opened(url, cache) as llm:
                return await llm.ask(toy_prompt(3), QA)

    assert asyncio.run(single()) == run.replies[3] and endpoint.asked.total() == 0


def test_files_are_split_by_their_limits(cache, tmp_path) -> None:
    endpoint = Endpoint()
    batch(endpoint, cache, max_requests=8)
    assert [len(endpoint.files[one["input_file_id"]].splitlines()) for one in endpoint.batches.values()] == [8, 8, 4]
    smaller = Endpoint()
    batch(smaller, tmp_path / "other.sqlite", max_bytes=4000)
    sizes = [len(smaller.files[one["input_file_id"]]) for one in smaller.batches.values()]
    assert len(sizes) > 3 and max(sizes) <= 4000


def test_too_much_at_once_is_halved_until_it_is_taken(cache) -> None:
    endpoint = Endpoint(batch_most=6)
    run, _ = batch(endpoint, cache)
    assert all(isinstance(reply, QA) for reply in run.replies.values()) and endpoint.paid.total() == 20


def test_failed_requests_and_bad_replies_go_into_later_batches(cache) -> None:
    endpoint = Endpoint(faults=Faults(share=0.5, kinds=("500", "malformed", "truncated", "refusal")))
    run, summary = batch(endpoint, cache)
    assert all(isinstance(reply, QA) for reply in run.replies.values()) and len(endpoint.batches) >= 2
    assert summary["requests"] == endpoint.paid.total()


def test_one_request_that_always_fails_is_one_rejected_sample(cache) -> None:
    endpoint = Endpoint(batch_fails=lambda text: "number 7 " in text)
    run, _ = batch(endpoint, cache)
    assert [number for number, reply in run.replies.items() if isinstance(reply, ReplyError)] == [7]
    assert len(run.replies) == 20
    assert isinstance(batch(Endpoint(), cache)[0].replies[7], QA), "another run tries it again"


def test_replies_that_never_fit_end_after_the_attempts(cache) -> None:
    endpoint = Endpoint(faults=Faults(share=0, never=lambda text: "empty" if "number 7 " in text else None))
    run, _ = batch(endpoint, cache)
    assert isinstance(run.replies[7], ReplyError) and "3 attempts" in str(run.replies[7])
    assert len(endpoint.batches) == 3


class Stop(BaseException):
    """A kill, as far as the code under it can tell."""


@pytest.mark.parametrize(
    "step", ["create_batch", "_upload", "_start", "_poll_batch", "_read_results", "save_replies", "close_batch"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_stopped_at_any_step_nothing_is_submitted_or_paid_twice(step, when, cache, monkeypatch) -> None:
    from comvint_hf.generation.client.batch_queue import BatchQueue

    endpoint = Endpoint()
    owner = BatchLLM if hasattr(BatchLLM, step) else BatchQueue
    whole = getattr(owner, step)

    async def stopped(*arguments, **named):
        if when == "after":
            await whole(*arguments, **named)
        raise Stop

    monkeypatch.setattr(owner, step, stopped)
    with pytest.raises(Stop):
        batch(endpoint, cache)
    monkeypatch.undo()
    run, _ = batch(endpoint, cache)
    assert all(isinstance(reply, QA) for reply in run.replies.values()) and len(run.replies) == 20
    assert len(endpoint.batches) == 1 and set(endpoint.paid.values()) == {1}


def test_what_was_submitted_is_collected_by_a_run_that_wants_less(cache) -> None:
    async def submit(url: str) -> None:
        async with opened(url, cache) as llm:
            batched = BatchLLM(llm)
            await Run(20)(batched)
            await batched._submit(None)

    endpoint = Endpoint()
    with serve(endpoint) as url:
        asyncio.run(submit(url))
    run, summary = batch(endpoint, cache, count=5)
    assert len(run.replies) == 5 and summary["requests"] == 20 and len(endpoint.batches) == 1


def test_a_batch_costs_its_factor_and_keeps_the_budget(cache, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    options = {"prices": tmp_path / "p.toml", "max_tokens": 100}
    endpoint = Endpoint()
    with pytest.raises(BudgetError, match="higher --budget"):
        batch(endpoint, cache, count=200, options={**options, "budget": 0.1})
    billed = 0.5 * (endpoint.tokens["prompt"] * 10 + endpoint.tokens["completion"] * 20) / 1e6
    assert 0.08 < billed <= 0.1
    done = endpoint.paid.total()
    _, summary = batch(endpoint, cache, count=200, options={**options, "budget": 5})
    assert summary["requests"] == 200 - done
    total = 0.5 * (endpoint.tokens["prompt"] * 10 + endpoint.tokens["completion"] * 20) / 1e6
    assert summary["cost"] == pytest.approx(total - billed)


def test_a_batch_that_is_refused_ends_with_the_providers_words(cache) -> None:
    class Refusing(Endpoint):
        def _start_batch(self, wanted):
            started = super()._start_batch(wanted)
            last = self.batches[f"batch-{len(self.batches)}"]
            last |= {"status": "failed", "errors": {"object": "list", "data": [{"code": "bad", "message": "No such endpoint."}]}}
            return started

    with pytest.raises(EndpointError, match=r"refuses batch batch-1 of 20 requests \(No such endpoint.\)"):
        batch(Refusing(), cache)


def test_an_expired_batch_gives_what_it_has_and_the_rest_goes_again(cache) -> None:
    class Expiring(Endpoint):
        def _finish_batch(self, one):
            super()._finish_batch(one)
            if one["id"] == "batch-1":
                whole = self.files[one["output_file_id"]].splitlines()
                self.files[one["output_file_id"]] = b"\n".join(whole[:12])
                one["status"] = "expired"

    endpoint = Expiring()
    run, _ = batch(endpoint, cache)
    assert all(isinstance(reply, QA) for reply in run.replies.values())
    assert [len(endpoint.files[one["input_file_id"]].splitlines()) for one in endpoint.batches.values()] == [20, 8]


def test_an_endpoint_that_refuses_schemas_in_batches_is_asked_without(cache) -> None:
    class Plain(Endpoint):
        def complete(self, body, text, kind=None):
            if body.get("response_format", {}).get("type") == "json_schema":
                raise ValueError
            return super().complete(body, text, kind)

        def _finish_batch(self, one):
            try:
                super()._finish_batch(one)
            except ValueError:
                error = {"error": {"message": "Invalid parameter: 'response_format' json_schema is not supported.", "code": None}}
                lines = [json.loads(line)["custom_id"] for line in self.files[one["input_file_id"]].splitlines()]
                bad = [{"custom_id": name, "response": {"status_code": 400, "body": error}} for name in lines]
                one |= {"status": "completed", "error_file_id": f"file-{len(self.files) + 1}"}
                self.files[one["error_file_id"]] = "\n".join(map(json.dumps, bad)).encode()

    endpoint = Plain()
    run, _ = batch(endpoint, cache)
    assert all(isinstance(reply, QA) for reply in run.replies.values()) and len(endpoint.batches) == 2
