"""A hostile endpoint costs the one prompt that it spoils: no run hangs, no traceback comes, no paid reply locks a build."""

import asyncio
import resource
import sqlite3
import time
from dataclasses import replace

import pytest
from endpoint.asking import QA, ask_all, opened, toy_prompt
from endpoint.hostile import REPLIES, SECRET, HostileEndpoint, counts
from endpoint.server import serve

from comvint_hf.errors import BudgetError, ComvintError, EndpointError, InputError, ReplyError
from comvint_hf.generation.client.cost import BudgetMeter
from comvint_hf.generation.client.retry import retrying_failed
from comvint_hf.generation.client.settings import LLMSettings

PRICES = '["toy-model"]\ninput = 10\noutput = 20\ncached_input = 1\n'
SECONDS = 20


@pytest.fixture
def options(tmp_path):
    (tmp_path / "p.toml").write_text(PRICES)
    return {"prices": tmp_path / "p.toml", "max_tokens": 150, "budget": 1.0, "timeout": 0.6, "patience": 5.0, "concurrency": 4}


def run(endpoint, cache, options, prompts=4):
    """Ask the prompts; the replies, or the error that stopped the run, and the usage."""

    async def go():
        with serve(endpoint) as url:
            async with opened(url.replace("//", f"//me:{SECRET}@"), cache, **options) as llm:
                try:
                    replies = await ask_all(llm, [toy_prompt(number) for number in range(prompts)])
                except ComvintError as error:
                    replies = error
                return replies, llm.usage.total, llm.requester.meter

    return asyncio.run(go())


@pytest.mark.parametrize("name", REPLIES)
def test_a_spoilt_answer_costs_only_its_own_prompt(name: str, tmp_path, options) -> None:
    spoil, outcome = REPLIES[name]
    endpoint, cache = HostileEndpoint(spoil=spoil), tmp_path / "c.sqlite"
    started, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    replies, usage, meter = run(endpoint, cache, options)
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000, "KB"
    assert 0 <= meter.spent <= options["budget"] and endpoint.followed == 0
    if outcome == "stop":
        assert isinstance(replies, EndpointError)
    else:
        good = {number for number, reply in enumerate(replies) if isinstance(reply, QA)}
        assert good == ({0, 1, 2, 3} if outcome == "reply" else {0, 2, 3})
        assert outcome == "reply" or isinstance(replies[1], ReplyError)
        assert outcome == "reply" or "status 400" in str(replies[1]) or usage.rejected + usage.retries >= 1
    text = str(replies if outcome == "stop" else [reply for reply in replies if isinstance(reply, ReplyError)])
    assert SECRET not in text and "\x1b" not in text and len(text) < 1500
    # The same cache at an endpoint that is well again: nothing that was paid for stands in the way.
    with retrying_failed():
        again, _, _ = run(HostileEndpoint(), cache, {**options, "timeout": 60.0, "budget": 5.0})
    assert all(isinstance(reply, QA) for reply in again)


def test_there_are_as_many_modes_as_the_attack_had() -> None:
    assert len(REPLIES) >= 45


@pytest.mark.parametrize("name", [name for name in REPLIES if name.startswith("usage: ") and REPLIES[name][1] == "reply"])
def test_lying_token_counts_neither_pass_the_budget_nor_give_credit(name: str, tmp_path, options) -> None:
    cache = tmp_path / "c.sqlite"
    options |= {"budget": 0.02, "timeout": 60.0}
    endpoint = HostileEndpoint(spoil=REPLIES[name][0], victim="number")
    replies, usage, meter = run(endpoint, cache, options, prompts=200)
    assert isinstance(replies, BudgetError) and endpoint.paid.total() < 30
    assert 0 < meter.spent <= 0.02 and usage.prompt_tokens > 0
    if "cached more" not in name and "list" not in name and "a text" not in name and "details" not in name:
        assert usage.corrected == usage.requests


def test_too_few_tokens_are_counted_up(tmp_path, options) -> None:
    _, usage, _ = run(HostileEndpoint(spoil=counts(prompt_tokens=1, completion_tokens=1)), tmp_path / "c.sqlite", options)
    assert usage.corrected == 1


def test_an_endpoint_of_unreadable_answers_gets_no_more_requests(tmp_path, options) -> None:
    endpoint = HostileEndpoint(spoil=REPLIES["body: 200 KB of ["][0], victim="number")
    replies, _, _ = run(endpoint, tmp_path / "c.sqlite", options, prompts=200)
    assert isinstance(replies, EndpointError) and "requests were all refused" in str(replies)
    assert endpoint.asked.total() <= 16


ROWS = {
    "text is no UTF-8": ("UPDATE replies SET text = CAST(x'7bff' AS TEXT)", ()),
    "text is bytes": ("UPDATE replies SET text = x'00ff'", ()),
    "text of 5,000 digits": ("UPDATE replies SET text = ?", ('{"question": "a", "answer": %s}' % ("1" * 5000),)),
    "text with a lone surrogate": ("UPDATE replies SET text = ?", (r'{"question": "a", "answer": "\ud800"}',)),
    "text of 200 KB of [": ("UPDATE replies SET text = ?", ("[" * 200_000,)),
    "text with Infinity": ("UPDATE replies SET text = ?", ('{"question": Infinity, "answer": 1e999}',)),
    "finish is a number": ("UPDATE replies SET finish = x'01'", ()),
    "mode is unknown": ("UPDATE replies SET mode = 'telepathy'", ()),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_cached_reply_that_cannot_be_read_is_counted_and_asked_again(name: str, tmp_path, options) -> None:
    cache, options = tmp_path / "c.sqlite", {**options, "timeout": 60.0}
    run(HostileEndpoint(), cache, options)
    with sqlite3.connect(cache) as connection:
        connection.execute(*ROWS[name])
    connection.close()
    endpoint = HostileEndpoint()
    replies, usage, _ = run(endpoint, cache, options)
    assert all(isinstance(reply, QA) for reply in replies) and endpoint.asked.total() == usage.requests == 4
    endpoint = HostileEndpoint()
    run(endpoint, cache, options)
    assert endpoint.asked.total() == 0, "asked again once, not for ever"


def test_cached_costs_that_are_no_numbers_do_not_stop_a_build(tmp_path, options) -> None:
    cache, options = tmp_path / "c.sqlite", {**options, "timeout": 60.0}
    run(HostileEndpoint(), cache, options)
    with sqlite3.connect(cache) as connection:
        connection.execute("UPDATE replies SET prompt_tokens = 9e99, completion_tokens = -5, cost = 9e999")
    connection.close()
    replies, _, _ = run(HostileEndpoint(), cache, options)
    assert all(isinstance(reply, QA) for reply in replies)


@pytest.mark.parametrize("budget", [float("nan"), float("inf"), -float("inf"), -1.0])
def test_a_budget_is_a_finite_number(budget: float, tmp_path) -> None:
    from comvint_hf.generation.client.cache import Cache

    with pytest.raises(InputError, match="finite"):
        LLMSettings(budget=budget)
    with pytest.raises(InputError, match="finite"):
        replace(LLMSettings(), budget=budget)
    cache = Cache(tmp_path / "c.sqlite")
    with pytest.raises(InputError, match="finite"):
        BudgetMeter(cache, budget)
    cache.close()


@pytest.mark.parametrize("flag", ["--budget", "--temperature", "--poll", "--tokens-per-minute"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_flag_refuses_what_is_no_finite_number(flag: str, value: str, tmp_path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "comvint_hf.cli", "build", "--recipe", "svit", "--scenes", "shapes:2", "--llm", "toy"]
    command += ["--base-url", "http://127.0.0.1:9/v1", "--out", str(tmp_path), f"{flag}={value}"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2 and f"Invalid value for '{flag}'" in ended.stderr and "Traceback" not in ended.stderr


def test_the_password_of_an_address_is_sent_and_stands_nowhere(tmp_path, options, caplog) -> None:
    import base64

    caplog.set_level("DEBUG")
    endpoint, seen = HostileEndpoint(spoil=REPLIES["error: escapes and keys"][0]), []
    answer = endpoint._chat
    endpoint._chat = lambda request: seen.append(request.headers["authorization"]) or answer(request)
    replies, _, _ = run(endpoint, tmp_path / "c.sqlite", options)
    assert seen[0] == "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert "http://127.0.0.1" in str(replies[1]) and SECRET not in str(replies[1])
    assert not any(SECRET in record.getMessage() for record in caplog.records if record.name.startswith(("comvint", "httpx2")))
    assert SECRET.encode() not in (tmp_path / "c.sqlite").read_bytes()
