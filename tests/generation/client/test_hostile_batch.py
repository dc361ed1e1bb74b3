"""A spoilt result file costs its spoilt lines: good lines are kept, the others are counted and asked again, no batch is locked."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import pytest
from endpoint.asking import QA, opened, toy_prompt
from endpoint.server import Endpoint, serve
from endpoint.wire import Response

from comvint_hf.errors import ComvintError, EndpointError, PendingError, ReplyError
from comvint_hf.generation.client.batch import BatchLLM, run_in_batches
from comvint_hf.strict_reader import LIMITS

COUNT, DIGITS = 20, b"1" * 5000
PRICES = '["toy-model"]\ninput = 10\noutput = 20\nbatch = 0.5\n'


def changed(line: bytes, **values) -> bytes:
    return json.dumps(json.loads(line) | values).encode()


def without(line: bytes, name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(line).items() if key != name}).encode()


def response(line: bytes, **values) -> bytes:
    return changed(line, response=json.loads(line)["response"] | values)


def with_usage(line: bytes, **values) -> bytes:
    body = json.loads(line)["response"]["body"]
    return response(line, body=body | {"usage": body["usage"] | values})


LINES = {
    "cut": lambda line: line[: len(line) // 2],
    "empty": lambda line: b"",
    "blanks": lambda line: b"  \r",
    "no JSON": lambda line: b"Internal error",
    "a list": lambda line: b"[1]",
    "null": lambda line: b"null",
    "without id": lambda line: without(line, "custom_id"),
    "id is an object": lambda line: changed(line, custom_id={"a": 1}),
    "id is unknown": lambda line: changed(line, custom_id="another-0"),
    "deep": lambda line: b"[" * 200_000,
    "5,000 digits": lambda line: line.replace(b'"status_code": 200', b'"status_code": ' + DIGITS),
    "lone surrogate": lambda line: line.replace(b'"content": "', rb'"content": "\ud800'),
    "not UTF-8": lambda line: line.replace(b'"content": "', b'"content": "\xff'),
    "no response": lambda line: changed(line, response=None),
    "response is a text": lambda line: changed(line, response="yes"),
    "status is a text": lambda line: response(line, status_code="fine"),
    "status 401": lambda line: response(line, status_code=401, body={"error": {"message": "no"}}),
    "status 302": lambda line: response(line, status_code=302, body=None),
    "body is null": lambda line: response(line, body=None),
    "body is a list": lambda line: response(line, body=[1]),
    "no choices": lambda line: response(line, body={"choices": []}),
    "longer than the limit": lambda line: b"x" * (LIMITS.batch_line_bytes + 1),
}
KEPT = {
    "twice": lambda line: line + b"\n" + line,
    "twice, the second one failed": lambda line: line + b"\n" + response(line, status_code=500, body=None),
    "twice, the first one failed": lambda line: response(line, status_code=500, body=None) + b"\n" + line,
    "10**30 tokens": lambda line: with_usage(line, prompt_tokens=10**30, completion_tokens=10**30),
    "negative tokens": lambda line: with_usage(line, prompt_tokens=-(10**6), completion_tokens=-(10**6)),
    "tokens are objects": lambda line: with_usage(line, prompt_tokens={}, completion_tokens="x", prompt_tokens_details=3),
    "NaN beside the message": lambda line: line.replace(b'"request_id"', b'"score": NaN, "request_id"'),
    "carriage returns": lambda line: line + b"\r",
}


@dataclass
class HostileBatches(Endpoint):
    """Spoils the line of request 7 in the first `first` result files, or what `answers` gives for a path."""

    spoil: object = None
    first: int = 1
    lines: int = 0
    answers: dict = field(default_factory=dict)

    def _finish_batch(self, batch):
        super()._finish_batch(batch)
        name = batch.get("output_file_id")
        if self.spoil and name and int(batch["id"].removeprefix("batch-")) <= self.first:
            wanted = self.files[batch["input_file_id"]].splitlines()
            victims = {json.loads(line)["custom_id"] for line in wanted if b"number 7 " in line}
            spoilt = [
                self.spoil(line) if json.loads(line)["custom_id"] in victims else line for line in self.files[name].splitlines()
            ]
            self.files[name] = b"\n".join(spoilt)

    def __call__(self, request):
        for part, answer in self.answers.items():
            if part in f"{request.method} {request.path}":
                return answer
        return super().__call__(request)


def batch(endpoint, cache, told=None, **options):
    """Run in batches; the replies by number, or the error that stopped the run, and the summary."""
    replies: dict[int, object] = {}

    async def go():
        with serve(endpoint) as url:
            async with opened(url, cache, **options) as llm:
                batched = BatchLLM(llm)

                async def ask() -> None:
                    for number in range(COUNT):
                        try:
                            replies[number] = await batched.ask(toy_prompt(number), QA)
                        except ReplyError as error:
                            replies[number] = error
                        except PendingError:
                            replies.pop(number, None)

                batched._health.first_wait = 0.01
                try:
                    await run_in_batches(ask, [batched], told)
                except ComvintError as error:
                    return error, llm.usage.total
                return replies, llm.usage.total

    return asyncio.run(asyncio.wait_for(go(), 60))


@pytest.mark.parametrize("name", [*LINES, *KEPT])
def test_a_spoilt_line_is_counted_and_asked_again_and_the_good_ones_are_kept(name, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PRICES)
    endpoint, told = HostileBatches(spoil=LINES.get(name) or KEPT[name]), []
    options = {"prices": tmp_path / "p.toml", "max_tokens": 150, "budget": 1.0}
    replies, usage = batch(endpoint, tmp_path / "c.sqlite", told.append, **options)
    assert len(replies) == COUNT and all(isinstance(reply, QA) for reply in replies.values())
    if name in KEPT:
        assert len(endpoint.batches) == 1 and usage.requests == COUNT
    else:
        assert len(endpoint.batches) == 2 and usage.retries == 1 and usage.requests == COUNT
        sizes = [len(endpoint.files[one["input_file_id"]].splitlines()) for one in endpoint.batches.values()]
        assert sizes == [COUNT, 1]
    assert usage.corrected == ("tokens" in name)
    assert 0 < usage.cost < 1


@pytest.mark.parametrize("name", LINES)
def test_a_line_that_is_always_spoilt_is_one_rejected_sample_and_not_asked_for_ever(name, tmp_path) -> None:
    endpoint = HostileBatches(spoil=LINES[name], first=1000)
    replies, usage = batch(endpoint, tmp_path / "c.sqlite")
    assert [number for number, reply in replies.items() if isinstance(reply, ReplyError)] == [7] and len(replies) == COUNT
    assert len(endpoint.batches) <= 7 and usage.requests >= COUNT - 1
    again, _ = batch(HostileBatches(), tmp_path / "c.sqlite")
    assert isinstance(again[7], QA), "another run asks again"


def test_a_whole_file_of_rubbish_is_counted_and_asked_again(tmp_path) -> None:
    endpoint, told = HostileBatches(spoil=None), []
    finish = endpoint._finish_batch

    def spoilt(one):
        finish(one)
        if one["id"] == "batch-1":
            endpoint.files[one["output_file_id"]] = b"\n".join([b"rubbish"] * COUNT)

    endpoint._finish_batch = spoilt
    replies, usage = batch(endpoint, tmp_path / "c.sqlite", told.append)
    assert all(isinstance(reply, QA) for reply in replies.values()) and usage.retries == COUNT
    assert any(f"{COUNT} lines cannot be read" in line for line in told)


ANSWERS = {
    "upload: HTML": {"POST /v1/files": Response(b"<html>")},
    "upload: id is an object": {"POST /v1/files": Response.of({"id": {"a": 1}})},
    "upload: id of 100 KB": {"POST /v1/files": Response.of({"id": "x" * 100_000})},
    "upload: redirect": {"POST /v1/files": Response(status=307, headers={"location": "http://elsewhere/"})},
    "start: deep": {"POST /v1/batches": Response(b"[" * 200_000, headers={"content-type": "application/json"})},
    "start: id is missing": {"POST /v1/batches": Response.of({})},
    "state: null": {"GET /v1/batches/": Response.of(None)},
    "state: unknown": {"GET /v1/batches/": Response.of({"id": "batch-1", "status": "\x1b[2Jasleep"})},
    "state: of odd types": {"GET /v1/batches/": Response.of({"id": 5, "status": {"a": 1}, "request_counts": "x", "errors": 3})},
    "state: failed": {"GET /v1/batches/": Response.of({"id": "b", "status": "failed", "errors": {"data": [7]}})},
    "state: file id is a list": {"GET /v1/batches/": Response.of({"status": "completed", "output_file_id": ["a"]})},
    "list: of odd types": {"GET /v1/batches": Response.of({"data": 5, "has_more": "yes"})},
    "list: endless": {
        "GET /v1/batches": Response.of({"object": "list", "data": [{"id": "b", "metadata": None}] * 100, "has_more": True})
    },
    "list: metadata is a text": {"GET /v1/batches": Response.of({"data": [{"id": "b", "metadata": "x"}], "has_more": False})},
    "file: deleted": {"/content": Response.of({"error": {"message": "No such File object"}}, 404)},
    "file: cut": {"/content": Response(b'{"custom_id": "a"}\n' * 1000, ending="cut")},
    "file: gzip that is none": {"/content": Response(b"no", headers={"content-encoding": "gzip"})},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_spoilt_answer_of_the_batch_api_ends_with_a_sentence_and_locks_nothing(name, tmp_path) -> None:
    started = time.monotonic()
    told: list[str] = []
    endpoint = HostileBatches(answers=ANSWERS[name])
    outcome, _ = batch(endpoint, tmp_path / "c.sqlite", told.append, patience=5.0, timeout=5.0)
    assert time.monotonic() - started < 30
    if not isinstance(outcome, EndpointError):
        assert all(isinstance(reply, QA | ReplyError) for reply in outcome.values()) and len(outcome) == COUNT
    assert "\x1b" not in str(outcome) + "".join(told) and len(str(outcome)) < 20_000
    # The provider is well again.
    endpoint.answers = {}
    again, _ = batch(endpoint, tmp_path / "c.sqlite")
    assert len(again) == COUNT and all(isinstance(reply, QA) for reply in again.values())


def test_the_results_that_came_before_a_cut_are_kept(tmp_path) -> None:
    class Cutting(HostileBatches):
        def _files(self, request, path):
            answer = super()._files(request, path)
            if path.endswith("/content") and len(self.batches) == 1:
                answer.ending = "cut"
            return answer

    endpoint = Cutting()
    replies, usage = batch(endpoint, tmp_path / "c.sqlite")
    assert all(isinstance(reply, QA) for reply in replies.values()) and usage.requests == COUNT
    sizes = [len(endpoint.files[one["input_file_id"]].splitlines()) for one in endpoint.batches.values()]
    assert sizes[0] == COUNT and 5 <= sizes[1] <= 15
