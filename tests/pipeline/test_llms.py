"""From names and the environment to LLMs: which key goes where, who sees, who judges, and what a dry run says."""

import asyncio
from concurrent.futures import Future
from dataclasses import replace

import pytest
from endpoint.asking import QA, ask_all, toy_prompt
from endpoint.server import Endpoint, serve

from comvint_hf.endpoint.address import resolve_endpoint
from comvint_hf.endpoint.errors import classify_status, parse_retry_after
from comvint_hf.errors import EndpointError, InputError, ReplyError
from comvint_hf.generation.client.batch import BatchLLM
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.pipeline.llms import open_llms


@pytest.mark.parametrize(
    ("url", "environment", "key"),
    [
        (None, {"OPENAI_API_KEY": "secret-sk"}, "secret-sk"),
        ("https://router.huggingface.co/v1", {"OPENAI_API_KEY": "secret-sk", "HF_TOKEN": "secret-hf"}, "secret-hf"),
        (
            "https://mine.openai.azure.com/openai/v1/",
            {"AZURE_OPENAI_API_KEY": "secret-az", "OPENAI_API_KEY": "secret-sk"},
            "secret-az",
        ),
        ("https://mine.openai.azure.com/openai/v1/", {"OPENAI_API_KEY": "secret-sk"}, "secret-sk"),
        ("http://localhost:11434/v1", {}, "none"),
        ("http://192.168.1.7:8000/v1", {}, "none"),
        ("http://gpu-node:8000/v1", {}, "none"),
        ("http://localhost:8000/v1", {"OPENAI_API_KEY": "secret-sk"}, "secret-sk"),
    ],
)
def test_the_key_that_opens_an_endpoint(url, environment, key) -> None:
    found = resolve_endpoint(url, environment)
    assert found.api_key == key and "secret" not in repr(found)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        (None, "OPENAI_API_KEY"),
        ("https://router.huggingface.co/v1", "HF_TOKEN"),
        ("https://x.openai.azure.com/v1", "AZURE_OPENAI_API_KEY"),
    ],
)
def test_a_missing_key_is_named(url, names) -> None:
    with pytest.raises(EndpointError, match=names):
        resolve_endpoint(url, {"UNRELATED": "x", **({"OPENAI_API_KEY": "sk"} if names == "HF_TOKEN" else {})})


def test_an_address_keeps_its_query_apart_and_the_environment_may_name_it() -> None:
    azure = resolve_endpoint("https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21", {"OPENAI_API_KEY": "sk"})
    assert azure.url.endswith("/deployments/d") and azure.query == {"api-version": "2024-10-21"} and azure.is_azure
    assert resolve_endpoint(None, {"OPENAI_BASE_URL": "http://localhost:1/v1"}).url == "http://localhost:1/v1"
    with pytest.raises(InputError, match="no address"):
        resolve_endpoint("localhost:8000", {})


def test_the_same_model_sits_in_both_chairs_and_both_see_or_neither(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk")

    async def go() -> None:
        for number, (judge, see, same) in enumerate(
            [(None, False, True), ("b", False, False), (None, True, True), ("b", True, False), ("a", False, True)]
        ):
            settings = LLMSettings(cache=tmp_path / f"{number}.sqlite", see=see)
            llms = open_llms("a", judge, settings)
            assert (llms.writer is llms.judge) == same and llms.judge.sees == llms.writer.sees == see
            assert llms.writer.requester.meter is llms.judge.requester.meter and llms.writer.cache is llms.judge.cache
            await llms.close()
        batched = open_llms("a", "b", LLMSettings(cache=tmp_path / "batched.sqlite", batch=True))
        assert [type(llm) for llm in batched.batches] == [BatchLLM, BatchLLM]
        await batched.close()

    asyncio.run(go())


def test_a_model_that_sees_and_judges_has_one_rate_limiter(tmp_path) -> None:
    async def go() -> None:
        settings = LLMSettings(base_url="http://localhost:1/v1", see=True, cache=tmp_path / "one.sqlite")
        one = open_llms("a", settings=settings)
        two = open_llms("a", "b", replace(settings, see=False, cache=tmp_path / "two.sqlite"))
        assert one.writer.requester.limiter is one.judge.requester.limiter
        assert two.writer.requester.limiter is not two.judge.requester.limiter
        await one.close()
        await two.close()

    asyncio.run(go())


def test_writer_and_judge_share_budget_and_counts(tmp_path) -> None:
    (tmp_path / "p.toml").write_text('["a"]\ninput = 10\noutput = 20\n["b"]\ninput = 1\noutput = 2\n')

    async def go() -> dict:
        with serve(Endpoint()) as url:
            settings = LLMSettings(base_url=url, cache=tmp_path / "c.sqlite", budget=5, prices=tmp_path / "p.toml")
            llms = open_llms("a", "b", settings)
            await ask_all(llms.writer, map(toy_prompt, range(10)))
            await ask_all(llms.judge, map(toy_prompt, range(10)))
            summary = llms.summary()
            await llms.close()
            return summary

    summary = asyncio.run(go())
    assert summary["models"]["a"]["cost"] == pytest.approx(10 * summary["models"]["b"]["cost"])
    assert summary["requests"] == 20 and summary["budget"] == 5 and summary["unconfirmed_cost"] == 0


def test_closing_says_once_how_many_replies_of_both_are_waited_for(tmp_path) -> None:
    endpoint, told = Endpoint(held=Future()), []

    def tell(*waiting: float) -> None:
        told.append(waiting)
        endpoint.held.set_result(None)

    async def go() -> None:
        with serve(endpoint) as url:
            llms = open_llms("a", "b", LLMSettings(base_url=url, cache=tmp_path / "c.sqlite"))
            asking = [asyncio.create_task(llm.ask(toy_prompt(1), QA)) for llm in (llms.writer, llms.judge)]
            while endpoint.asked.total() < 2:
                await asyncio.sleep(0)
            await llms.close(tell)
            assert [type(reply) for reply in await asyncio.gather(*asking)] == [QA, QA]

    asyncio.run(go())
    assert told == [(2, 300.0)] and endpoint.asked.total() == 2


def test_a_budget_for_a_model_without_a_price_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no price for 'unheard-of'"):
        settings = LLMSettings(base_url="http://localhost:1/v1", cache=tmp_path / "c.sqlite", budget=5)
        open_llms("unheard-of", settings=settings)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": "bad key"}}, EndpointError),
        (403, {"message": "flagged by moderation"}, ReplyError),
        (404, "not found", EndpointError),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, EndpointError),
        (402, {"error": "Payment required"}, EndpointError),
        (400, {"message": "This model's maximum context length is 4096 tokens."}, ReplyError),
    ],
)
def test_statuses_and_what_they_mean(status, body, kind) -> None:
    assert type(classify_status(status, body, {}, "m", "http://x")) is kind


def test_retry_after_comes_in_three_forms() -> None:
    from email.utils import formatdate
    from time import time

    assert parse_retry_after({"retry-after-ms": "250"}) == 0.25
    assert parse_retry_after({"retry-after": "3"}) == 3
    assert 8 < parse_retry_after({"retry-after": formatdate(time() + 10, usegmt=True)}) <= 10.5
    assert parse_retry_after({}) is None and parse_retry_after({"retry-after": "soon"}) is None
