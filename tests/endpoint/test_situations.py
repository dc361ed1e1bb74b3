"""Every situation of the table against a real server, through the whole client: answered, one sample lost, or a clear end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from endpoint.asking import QA, opened, toy_prompt
from endpoint.situations import GOOD, SITUATIONS, Script, events, fail, ok
from endpoint.wire import Request, Response, running

from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.serving.remote import RemoteChat

MODELS = {"object": "list", "data": [{"id": "llama-3"}, {"id": "qwen"}]}


class Scripted:
    """An endpoint whose chat answers a script gives; `bodies` are the requests so far."""

    def __init__(self, script: Script, models: dict[str, Any] | None = None) -> None:
        self.script, self.models = script, models or MODELS
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    def __call__(self, request: Request) -> Response:
        if request.method == "GET":
            return Response.of(self.models) if request.path.endswith("/models") else Response(b"", 404)
        self.bodies.append(request.json())
        self.headers.append(request.headers)
        return self.script(len(self.bodies), request.json())


def ask(endpoint: Scripted, folder: Path, prompts: int = 1, **options: Any) -> list[Any]:
    """The replies, or the errors in their place."""

    async def go() -> list[Any]:
        with running(endpoint) as address:
            async with opened(f"{address}/v1", folder / "c.sqlite", "m", **options) as llm:
                found: list[Any] = []
                for number in range(prompts):
                    try:
                        found.append(await llm.ask(toy_prompt(number), QA))
                    except (ReplyError, EndpointError) as error:
                        found.append(error)
                return [*found, llm.usage.total]

    return asyncio.run(go())


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_answered_or_ends_as_it_should(name: str, tmp_path: Path) -> None:
    situation = SITUATIONS[name]
    endpoint = Scripted(situation.script)
    reply, _ = ask(endpoint, tmp_path, **(situation.options or {}))
    assert len(endpoint.bodies) <= situation.most, reply
    if situation.told is None:
        assert isinstance(reply, QA) and reply.answer == "A cup.", reply
        assert "draft" not in reply.question
    else:
        assert isinstance(reply, EndpointError if situation.stops else ReplyError) and situation.told in str(reply), reply
        assert "\n" not in str(reply) and len(str(reply)) < 700


def test_there_are_as_many_situations_as_were_asked_for() -> None:
    assert len(SITUATIONS) >= 60


@pytest.mark.parametrize("name", ["trailing comma", "python dict", "quotes inside of a text", "last bracket missing"])
def test_repaired_replies_are_counted_and_said(name: str, tmp_path: Path) -> None:
    _, usage = ask(Scripted(SITUATIONS[name].script), tmp_path)
    assert usage.repaired == 1 and usage.rejected == 0
    _, usage = ask(Scripted(lambda number, body: ok(GOOD)), tmp_path / "other")
    assert usage.repaired == 0


@pytest.mark.parametrize(
    "name",
    ["max_completion_tokens wanted", "max_tokens too large: less than or equal", "temperature unsupported", "schema refused: unavailable",
     "schema refused: in words that say nothing", "max_tokens too large: context and prompt"],
)  # fmt: skip
def test_what_an_endpoint_takes_is_learnt_once(name: str, tmp_path: Path) -> None:
    endpoint = Scripted(SITUATIONS[name].script)
    *replies, _ = ask(endpoint, tmp_path, prompts=5, **(SITUATIONS[name].options or {}))
    assert all(isinstance(reply, QA) for reply in replies) and len(endpoint.bodies) == 6


def test_a_bound_is_fitted_to_the_context_that_the_server_tells(tmp_path: Path) -> None:
    prices = tmp_path / "p.toml"
    prices.write_text("[m]\ninput = 0.1\noutput = 0.1\n")
    endpoint = Scripted(lambda number, body: ok(GOOD), {"data": [{"id": "m", "max_model_len": 2048}]})
    ask(endpoint, tmp_path, budget=1.0, prices=prices)
    assert 1024 < endpoint.bodies[0]["max_tokens"] < 2048


def test_prompts_that_are_refused_for_themselves_never_end_the_run(tmp_path: Path) -> None:
    refused = SITUATIONS["prompt over the context"].script(1, {})
    endpoint = Scripted(lambda number, body: refused if number <= 20 else ok(GOOD))
    *replies, _ = ask(endpoint, tmp_path, prompts=22)
    assert [isinstance(reply, QA) for reply in replies] == [False] * 20 + [True] * 2


def test_prompts_refused_in_words_that_say_nothing_do_not_end_the_run_of_an_endpoint_that_works(tmp_path: Path) -> None:
    refused = fail(400, {"error": {"message": "No."}})
    endpoint = Scripted(lambda number, body: refused if "question number" in str(body) and number < 20 else ok(GOOD))
    *replies, _ = ask(endpoint, tmp_path, prompts=20)
    assert isinstance(replies[-1], QA) and all(isinstance(reply, ReplyError) for reply in replies[:10])


def test_a_model_of_useless_replies_stops_the_run_and_shows_one(tmp_path: Path) -> None:
    endpoint = Scripted(lambda number, body: ok("The cup is blue. " * 30))
    *replies, usage = ask(endpoint, tmp_path, prompts=40)
    stop = next(reply for reply in replies if isinstance(reply, EndpointError))
    assert "The cup is blue" in str(stop) and "could all not be used" in str(stop) and len(str(stop)) < 900
    assert usage.requests == 24


def test_one_good_reply_proves_a_model(tmp_path: Path) -> None:
    endpoint = Scripted(lambda number, body: ok(GOOD if number == 1 else "no"))
    *replies, _ = ask(endpoint, tmp_path, prompts=20)
    assert not any(isinstance(reply, EndpointError) for reply in replies) and len(endpoint.bodies) == 1 + 19 * 3


def test_headers_and_fields_are_sent_and_stand_in_no_message(tmp_path: Path) -> None:
    echo = fail(400, {"error": {"message": "I do not like team-secret-77"}})
    endpoint = Scripted(lambda number, body: ok(GOOD) if number == 1 else echo)
    good, bad, _ = ask(endpoint, tmp_path, prompts=2, headers={"X-Team": "team-secret-77"}, extra_body={"top_p": 0.5})
    assert isinstance(good, QA) and endpoint.headers[0]["x-team"] == "team-secret-77" and endpoint.bodies[0]["top_p"] == 0.5
    assert isinstance(bad, ReplyError) and "team-secret-77" not in str(bad)


def chat(script: Script, **options: Any) -> tuple[str, Scripted]:
    endpoint = Scripted(script)
    with running(endpoint) as address:
        try:
            return RemoteChat(f"{address}/v1", "m", **options).answer([{"role": "user", "content": "What?"}], None), endpoint
        except EndpointError as error:
            return f"error: {error}", endpoint


_IN_CHAT = (
    "429 that advertises billing", "429 in a list with retryDelay", "429 inside of 200", "429 inside of the first choice", "529 overloaded",
    "503 while the model loads", "502 of a proxy as a web page", "stream though none was asked for", "DONE behind a whole answer",
    "comments before the answer", "max_completion_tokens wanted", "temperature unsupported", "max_tokens too large: a range",
    "max_tokens too large: context and prompt", "content in parts", "in reasoning_content", "thoughts apart, reply in content", "think",
    "think without its opening", "THINK in brackets", "harmony channels", "error as a text inside of 200",
)  # fmt: skip


@pytest.mark.parametrize("name", _IN_CHAT)
def test_a_chat_meets_the_same_situations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comvint_hf.serving.remote._FIRST_WAIT", 0.01)
    monkeypatch.setattr("comvint_hf.serving.remote._LONGEST_WAIT", 0.05)
    situation = SITUATIONS[name]
    options = {"max_new_tokens": 8000} if "max_tokens" in (situation.options or {}) else {}
    assert chat(situation.script, **options)[0] == GOOD


@pytest.mark.parametrize("name", [name for name, one in SITUATIONS.items() if one.stops and one.told[:2] not in ("--", "It")])
def test_a_chat_ends_in_the_same_words(name: str) -> None:
    answer, endpoint = chat(SITUATIONS[name].script)
    assert answer.startswith("error: ") and SITUATIONS[name].told in answer and len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    "pieces",
    [("<th", "ink>No cat", " here.</thi", "nk>\n\nYes"), ("It is not A.</think>\n", "Yes"), ("[THI", "NK]no[/TH", "INK]Yes"),
     ("<|chan", "nel|>analysis<|mess", "age|>no<|end|><|start|>assistant<|channel|>final<|message|>Y", "es<|return|>"), ("Y", "e", "s")],
)  # fmt: skip
def test_thoughts_are_taken_out_of_a_stream(pieces: tuple[str, ...]) -> None:
    assert chat(lambda number, body: events(*pieces))[0] == "Yes"


def test_a_model_that_marks_only_the_end_of_its_thoughts_is_known_from_its_first_answer() -> None:
    endpoint = Scripted(lambda number, body: events("It is not A.", "</think>", "Yes"))
    with running(endpoint) as address:
        remote = RemoteChat(f"{address}/v1", "m")
        remote.answer([{"role": "user", "content": "What?"}], None)
        assert list(remote.stream([{"role": "user", "content": "What?"}], None)) == ["Yes"]


def test_an_error_in_a_stream_is_told_and_one_refused_question_costs_one_answer() -> None:
    broken = events("A", {"error": {"message": "out of memory", "code": 500}}, end="")
    assert "out of memory" in chat(lambda number, body: broken)[0]
    refusal = SITUATIONS["content filter of the prompt"].script(1, {})
    endpoint = Scripted(lambda number, body: refusal if "bad" in str(body) else events("Yes"))
    questions = [([{"role": "user", "content": text}], None) for text in ("good?", "bad?", "good again?")]
    with running(endpoint) as address:
        remote = RemoteChat(f"{address}/v1", "m")
        with pytest.warns(UserWarning, match="1 questions were refused"):
            answers = remote.answers(questions)
    assert answers == ["Yes", "", "Yes"]
