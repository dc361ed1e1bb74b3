"""The engine against a local endpoint with every fault a real one has: right answers, nothing asked twice, one clear end."""

import asyncio
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from endpoint.asking import QA, Pairs, ask_all, opened, toy_prompt
from endpoint.faults import COMMON, FORM, HTTP, MESSAGE, Faults
from endpoint.server import Endpoint, serve

from comvint_hf.errors import BudgetError, EndpointError, ReplyError
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.retry import retrying_failed
from comvint_hf.types import Scene

CLIENT = Path(__file__).parents[2] / "endpoint" / "asking.py"
PRICES = '["toy-model"]\ninput = 10\noutput = 20\n'


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "replies.sqlite"


def ask(endpoint: Endpoint, cache: Cache | Path, prompts=30, form=QA, **options):
    """Ask so many prompts (or these) and give the replies and the usage."""

    async def go():
        asked = [toy_prompt(number) for number in range(prompts)] if isinstance(prompts, int) else prompts
        with serve(endpoint) as url:
            async with opened(url, cache, **options) as llm:
                return await ask_all(llm, asked, form), llm.usage

    return asyncio.run(go())


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The replies of a run without faults."""
    return {form: ask(Endpoint(), tmp_path_factory.mktemp("clean") / "c.sqlite", form=form)[0] for form in (QA, Pairs)}


@pytest.mark.parametrize("form", [QA, Pairs])
@pytest.mark.parametrize("kind", [*HTTP, *MESSAGE, "wrong_type"])
def test_every_fault_is_survived_and_changes_no_answer(kind, form, cache, clean) -> None:
    endpoint = Endpoint(faults=Faults(share=0.5, kinds=(kind,), retry_after="0.05"))
    replies, usage = ask(endpoint, cache, form=form, timeout=2.0 if kind == "stall" else 60.0)
    assert replies == clean[form]
    assert endpoint.statuses[kind] >= 8, "the fault did not happen"
    if kind in HTTP:
        assert usage.total.retries >= endpoint.statuses[kind] and usage.total.rejected == 0
    elif kind in ("fenced", "prose"):
        assert usage.total.requests == 30
    else:
        assert usage.total.rejected == endpoint.statuses[kind]


@pytest.mark.parametrize("kind", FORM[1:])
def test_faults_that_only_a_recipe_can_see_pass_through(kind, cache) -> None:
    replies, _ = ask(Endpoint(faults=Faults(share=1, kinds=(kind,))), cache, prompts=3, form=Pairs)
    assert all(isinstance(reply, Pairs) for reply in replies)


def test_all_faults_mixed_and_half_of_them_twice(cache, clean) -> None:
    endpoint = Endpoint(faults=Faults(share=0.6, kinds=COMMON, first=2, retry_after="0.05"))
    replies, usage = ask(endpoint, cache)
    assert replies == clean[QA]
    assert usage.total.requests == endpoint.paid.total()


def test_a_finished_run_asks_nothing_again(cache, clean) -> None:
    ask(Endpoint(), cache)
    endpoint = Endpoint()
    replies, usage = ask(endpoint, cache)
    assert replies == clean[QA] and endpoint.asked.total() == 0 and usage.total.cached == 30


def test_a_bad_reply_that_was_paid_is_not_bought_again(cache) -> None:
    never = Faults(share=0, never=lambda text: "malformed" if "number 3 " in text else None)
    first, second, third = Endpoint(faults=never), Endpoint(faults=never), Endpoint()
    replies, _ = ask(first, cache, prompts=5)
    assert first.asked.total() == 7 and [isinstance(reply, ReplyError) for reply in replies] == [False] * 3 + [True, False]
    replies, _ = ask(second, cache, prompts=5)
    assert second.asked.total() == 0 and "in 3 attempts" in str(replies[3])
    replies, _ = ask(third, cache, prompts=5, attempts=4)
    assert third.asked.total() == 1 and isinstance(replies[3], QA)


def test_what_was_given_up_is_asked_again_where_that_is_wanted_and_only_there(cache) -> None:
    def asked(faults, wanted: bool, **options) -> tuple[list, int]:
        endpoint = Endpoint(faults=faults)
        with retrying_failed(wanted):
            return ask(endpoint, cache, prompts=3, **options)[0], endpoint.asked.total()

    never = Faults(share=0, never=lambda text: "malformed" if "number 1 " in text else None)
    assert asked(never, False, attempts=2)[1] == 4
    replies, count = asked(never, True, attempts=2)
    assert count == 2 and "in 4 attempts" in str(replies[1]), "as often as at first, and no more"
    assert asked(None, False, attempts=2)[1] == 0
    replies, count = asked(None, True, attempts=2)
    assert count == 1 and isinstance(replies[1], QA), "what came right is asked no further"
    assert asked(never, True, attempts=1) == (replies, 0) == asked(never, False, attempts=1), "a reply that fits is used by all"


def test_the_model_is_told_what_did_not_fit(cache) -> None:
    endpoint = Endpoint(faults=Faults(share=1, kinds=("wrong_type",)))
    ask(endpoint, cache, prompts=1)
    question, bad, told = endpoint.requests[1]["messages"]
    assert question == endpoint.requests[0]["messages"][0] and "not" in bad["content"]
    assert "question: Input should be a valid string" in told["content"] and '{"question": string' in told["content"]


def test_a_reply_that_was_cut_off_is_asked_for_shorter(cache) -> None:
    endpoint = Endpoint(faults=Faults(share=1, kinds=("truncated",)))
    ask(endpoint, cache, prompts=1)
    assert "write less" in endpoint.requests[1]["messages"][0]["content"] and len(endpoint.requests[1]["messages"]) == 1


@pytest.mark.parametrize(("accepts", "mode"), [(("json_object", "text"), "json_object"), (("text",), "text")])
def test_a_refused_format_is_stepped_down_from_once_and_remembered(accepts, mode, cache) -> None:
    endpoint = Endpoint(accepts=accepts)
    replies, _ = ask(endpoint, cache, prompts=3, concurrency=1)
    assert all(isinstance(reply, QA) for reply in replies)
    assert endpoint.statuses == {"400": 3 - len(accepts), "good": 3}
    assert endpoint.requests[-1].get("response_format", {"type": "text"})["type"] == mode
    again, elsewhere = Endpoint(accepts=accepts), Endpoint()
    ask(elsewhere, cache, prompts=[toy_prompt(10)])
    assert elsewhere.requests[0]["response_format"]["type"] == "json_schema", "another address is another endpoint"

    async def later(url: str) -> str:
        async with opened(url, cache) as llm:
            return llm.requester.capabilities.mode

    with serve(again) as url:
        held = Cache(cache)
        held.write_blocking(lambda connection: connection.execute("UPDATE abilities SET endpoint = ?", (url,)).rowcount)
        held.close()
        assert asyncio.run(later(url)) == mode


def test_plain_text_answers_are_understood(cache) -> None:
    endpoint = Endpoint(accepts=("text",), answer=lambda text, schema: "Sure!\n**Question:** What is it?\n**Answer:** A cup.")
    replies, _ = ask(endpoint, cache, prompts=1)
    assert replies == [QA(question="What is it?", answer="A cup.")]


def test_the_name_of_the_cap_is_learnt(cache) -> None:
    class Strict(Endpoint):
        def _refused(self, body):
            if "max_tokens" in body:
                return self._refuse(
                    400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "unsupported"
                )
            return None

    endpoint = Strict()
    replies, _ = ask(endpoint, cache, prompts=2, max_tokens=100, concurrency=1)
    assert all(isinstance(reply, QA) for reply in replies) and endpoint.asked.total() == 3
    assert endpoint.requests[-1]["max_completion_tokens"] == 100


def test_the_same_question_asked_at_once_is_sent_once(cache) -> None:
    endpoint = Endpoint(latency=0.05)
    replies, usage = ask(endpoint, cache, prompts=[toy_prompt(1)] * 20)
    assert endpoint.asked.total() == 1 and len(set(map(str, replies))) == 1 and usage.total.cached == 19


def test_what_makes_a_question_another_one(cache) -> None:
    endpoint = Endpoint()
    with serve(endpoint) as url:

        async def once(prompt=None, form=QA, **options) -> None:
            async with opened(url, cache, **options) as llm:
                await llm.ask(prompt or toy_prompt(1), form)

        different = [
            {},
            {"model": "other"},
            {"temperature": 0.5},
            {"extra_body": {"top_p": 0.5}},
            {"max_tokens": 50},
            {"form": Pairs},
            {"prompt": toy_prompt(2)},
            {"prompt": toy_prompt(1, attempt=1)},
            {"prompt": toy_prompt(1, generation=2)},
        ]
        for number, options in enumerate(different, 1):
            asyncio.run(once(**options))
            assert endpoint.asked.total() == number, options
        for options in (*different, {"concurrency": 2, "attempts": 5, "timeout": 9, "prompt": toy_prompt(1, other="x")}):
            asyncio.run(once(**options))
        assert endpoint.asked.total() == len(different)


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        (Endpoint(key="right"), "refuses the API key"),
        (Endpoint(models=("other",)), "does not serve the model 'toy-model'"),
        (Endpoint(answer=lambda text, schema: "no"), None),
    ],
)
def test_what_cannot_be_mended_stops_at_once(endpoint, sentence, cache) -> None:
    if sentence is None:
        endpoint._refused = lambda body: endpoint._refuse(429, "You exceeded your current quota.", "insufficient_quota")
        sentence = "no quota left"
    with pytest.raises(EndpointError, match=sentence) as caught:
        ask(endpoint, cache, prompts=500, concurrency=8)
    assert endpoint.asked.total() <= 8 and "\n" not in str(caught.value)


def test_an_endpoint_that_refuses_everything_stops_the_run(cache) -> None:
    endpoint = Endpoint()
    endpoint._refused = lambda body: endpoint._refuse(400, "I only speak Esperanto.", None)
    with pytest.raises(EndpointError, match="first 8 requests were all refused.*Esperanto"):
        ask(endpoint, cache, prompts=500, concurrency=4)
    assert endpoint.asked.total() <= 12


def test_an_endpoint_that_is_not_there_stops_the_run(cache) -> None:
    async def go(url: str) -> None:
        async with opened(url, cache) as llm:
            await llm.ask(toy_prompt(1), QA)

    with socket.socket() as deaf:  # holds the port, so that no other test's server can take it
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(EndpointError, match="is it running"):
            asyncio.run(go(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"))


def test_a_long_silence_ends_the_run_and_not_the_samples(cache) -> None:
    endpoint = Endpoint(faults=Faults(share=1, kinds=("429",), first=1000))
    with pytest.raises(EndpointError, match="no good answer.*run the same command again later"):
        ask(endpoint, cache, prompts=5, patience=0.5)


def test_one_refused_prompt_is_one_rejected_sample(cache) -> None:
    endpoint = Endpoint()
    good = endpoint._refused
    endpoint._refused = lambda body: (
        endpoint._refuse(400, "Too long a context.", None) if "number 7 " in str(body) else good(body)
    )
    replies, _ = ask(endpoint, cache)
    assert [number for number, reply in enumerate(replies) if isinstance(reply, ReplyError)] == [7]
    assert "Too long a context" in str(replies[7])


@pytest.mark.parametrize("kind", ["500", "malformed", "refusal", "empty", "truncated", "reset"])
def test_a_prompt_that_never_succeeds_costs_only_itself(kind, cache) -> None:
    endpoint = Endpoint(faults=Faults(share=0, never=lambda text: kind if "number 7 " in text else None))
    replies, _ = ask(endpoint, cache)
    assert [number for number, reply in enumerate(replies) if isinstance(reply, ReplyError)] == [7]


def test_retry_after_is_kept_to(cache) -> None:
    endpoint = Endpoint(faults=Faults(share=1, kinds=("429-retry-after",), retry_after="0.4"))
    ask(endpoint, cache, prompts=4)
    for text in {text for _, text in endpoint.arrivals}:
        first, second = (moment for moment, asked in endpoint.arrivals if asked == text)
        assert 0.4 <= second - first


@pytest.mark.parametrize("retry_after", ["0.2", ""])
def test_a_rate_limit_is_found_and_lived_with(retry_after, cache) -> None:
    endpoint = Endpoint(latency=0.02, per_second=60, retry_after=retry_after)
    replies, usage = ask(endpoint, cache, prompts=150, concurrency=64)
    assert all(isinstance(reply, QA) for reply in replies)
    assert usage.total.retries < 900


def test_never_more_requests_at_once_than_allowed(cache) -> None:
    endpoint = Endpoint(latency=0.05)
    ask(endpoint, cache, prompts=20, concurrency=5)
    moments = sorted(moment for moment, _ in endpoint.arrivals)
    assert all(later - earlier >= 0.049 for earlier, later in zip(moments, moments[5:], strict=False))


def test_requests_a_minute_are_kept_to(cache) -> None:
    endpoint = Endpoint()
    ask(endpoint, cache, prompts=11, requests_per_minute=600)
    moments = [moment for moment, _ in endpoint.arrivals]
    assert moments[-1] - moments[0] >= 0.5, "a second, less what the first request may have been late"


def test_no_budget_is_passed_whatever_goes_wrong(cache, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    endpoint = Endpoint(latency=0.005, faults=Faults(share=0.4, kinds=(*COMMON, "cut"), retry_after="0.05"))
    options = {"prices": tmp_path / "p.toml", "max_tokens": 150, "concurrency": 16}
    for budget in (0.2, 0.35):
        with pytest.raises(BudgetError, match="higher --budget"):
            ask(endpoint, cache, prompts=1000, budget=budget, **options)
        billed = (endpoint.tokens["prompt"] * 10 + endpoint.tokens["completion"] * 20) / 1e6
        assert 0.5 * budget < billed <= budget


def test_the_budget_is_nearly_used_where_nothing_goes_wrong(cache, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    endpoint = Endpoint(latency=0.005)
    with pytest.raises(BudgetError):
        ask(endpoint, cache, prompts=1000, budget=0.2, prices=tmp_path / "p.toml", max_tokens=150, concurrency=16)
    assert 0.19 < (endpoint.tokens["prompt"] * 10 + endpoint.tokens["completion"] * 20) / 1e6 <= 0.2


def test_cost_and_tokens_are_counted_from_usage(cache, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    endpoint = Endpoint(faults=Faults(share=0.5, kinds=("malformed",)))
    _, usage = ask(endpoint, cache, prices=tmp_path / "p.toml")
    total = usage.total
    assert (total.prompt_tokens, total.completion_tokens) == (endpoint.tokens["prompt"], endpoint.tokens["completion"])
    assert total.cost == pytest.approx((total.prompt_tokens * 10 + total.completion_tokens * 20) / 1e6)
    summary = usage.summary()
    assert summary["models"]["toy-model"] == summary["prompts"]["toy/question"]
    assert summary["requests"] == 30 + summary["rejected"] and json.dumps(summary)


def test_an_endpoint_that_does_not_count_is_counted_for(cache, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    _, usage = ask(Endpoint(usage=False), cache, prices=tmp_path / "p.toml")
    assert usage.total.prompt_tokens > 30 * 40 and usage.total.cost > 0


def picture_scene(size=(1600, 1200), colour="red"):
    from PIL import Image

    return Scene(id="toy/1", source="toy", width=size[0], height=size[1], image=lambda: Image.new("RGB", size, colour))


def test_a_model_that_sees_is_shown_the_picture_within_its_bound(cache) -> None:
    import base64
    import io

    from PIL import Image

    endpoint = Endpoint()
    for colour, pixels in itertools.product(("red", "blue"), (10_000, 10_000)):
        replies, _ = ask(
            endpoint, cache, prompts=[toy_prompt(1, scene=picture_scene(colour=colour))], see=True, see_pixels=pixels
        )
        assert isinstance(replies[0], QA)
    assert len(endpoint.requests) == 2, "two pictures, each asked about once"
    picture, text = endpoint.requests[0]["messages"][0]["content"]
    shown = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))))
    assert 9_000 < shown.width * shown.height <= 10_000 and shown.width / shown.height == pytest.approx(4 / 3, abs=0.05)
    assert "question number 1" in text["text"]


def test_a_picture_that_is_missing_or_broken_costs_one_sample_and_no_request(cache) -> None:
    missing = Scene(id="toy/2", source="toy", width=4, height=4)
    broken = missing.model_copy(update={"image": b"no picture"})
    endpoint = Endpoint()
    replies, _ = ask(endpoint, cache, prompts=[toy_prompt(1, scene=scene) for scene in (missing, broken)], see=True)
    assert all(isinstance(reply, ReplyError) for reply in replies) and "--images" in str(replies[0])
    assert not endpoint.paid


def test_one_llm_serves_several_event_loops(cache) -> None:
    with serve(Endpoint()) as url:
        from comvint_hf.generation.client.openai_llm import OpenAILLM

        llm = OpenAILLM("toy-model", base_url=url, cache=cache)
        assert all(isinstance(asyncio.run(llm.ask(toy_prompt(number), QA)), QA) for number in range(3))
        llm.cache.close()


def test_killed_at_any_moment_only_what_was_in_flight_is_asked_again(tmp_path) -> None:
    endpoint, kills, at_once = Endpoint(latency=0.02, keep_requests=False), 0, 8
    with serve(endpoint) as url:
        command = [sys.executable, CLIENT, url, tmp_path / "c.sqlite", "300", "--concurrency", str(at_once)]
        while True:
            before = endpoint.paid.total()
            client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            wanted = before + 50 + 10 * kills
            while client.poll() is None and endpoint.paid.total() < wanted:
                time.sleep(0.002)
            if client.poll() is not None:
                break
            client.send_signal(signal.SIGKILL)
            client.communicate(timeout=200)
            kills += 1
        assert client.communicate(timeout=200) and client.returncode == 0
    assert kills >= 3 and len(endpoint.paid) == 300
    assert endpoint.log()["repeated"] <= kills * at_once


def test_a_budget_holds_over_kills(tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    endpoint = Endpoint(latency=0.02, keep_requests=False)
    with serve(endpoint) as url:
        command = [sys.executable, CLIENT, url, tmp_path / "c.sqlite", "2000", "--concurrency", "4"]
        command += ["--budget", "0.5", "--prices", tmp_path / "p.toml"]
        for kill in range(3):
            client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            wanted = endpoint.paid.total() + 30 + 10 * kill
            while client.poll() is None and endpoint.paid.total() < wanted:
                time.sleep(0.002)
            client.kill()
            client.communicate(timeout=200)
    assert 0 < (endpoint.tokens["prompt"] * 10 + endpoint.tokens["completion"] * 20) / 1e6 <= 0.5
