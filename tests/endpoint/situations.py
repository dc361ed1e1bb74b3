"""What servers and models do that is not in the protocol, each as public reports describe it: a script, and what is right.

A script maps the number of a chat request (from 1) and its body to an answer. `answered` requests are those that the prompt may
cost in all; `told` is in the error where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from endpoint.wire import Response

Script = Callable[[int, dict[str, Any]], Response]
GOOD = '{"question": "What is it?", "answer": "A cup."}'
DRAFT = '{"question": "Is it a draft?", "answer": "No."}'


@dataclass(frozen=True)
class Situation:
    """`told` is None where the prompt is answered; `stops` says whether the whole run ends; `most` bounds the requests."""

    script: Script
    told: str | None = None
    stops: bool = False
    most: int = 2
    options: dict[str, Any] | None = None


def ok(text: Any, finish: str | None = "stop", usage: Any = None, **message: Any) -> Response:
    whole = {"role": "assistant", "content": text, **message}
    body = {"id": "c", "choices": [{"index": 0, "message": whole, "finish_reason": finish, "logprobs": None}]}
    return Response.of({**body, "usage": usage or {"prompt_tokens": 30, "completion_tokens": 9}})


def fail(status: int, body: Any, **headers: str) -> Response:
    response = Response.of(body, status) if not isinstance(body, bytes) else Response(body, status)
    response.headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return response


def error(status: int, message: str, headers: dict[str, str] | None = None, **fields: Any) -> Response:
    return fail(status, {"error": {"message": message, **fields}}, **(headers or {}))


def first(answer: Response, times: int = 1) -> Script:
    """The first answers are this one, the others good."""
    return lambda number, body: answer if number <= times else ok(GOOD)


def always(answer: Response) -> Script:
    return lambda number, body: answer


def unless(taken: Callable[[dict[str, Any]], bool], refusal: Response) -> Script:
    """Good for bodies that the server takes, else this refusal."""
    return lambda number, body: ok(GOOD) if taken(body) else refusal


def events(*parts: Any, end: str = "data: [DONE]\n\n") -> Response:
    """Server-sent events, one for each text or object."""
    made = [{"choices": [{"index": 0, "delta": {"content": part}}]} if isinstance(part, str) else part for part in parts]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in made) + end
    return Response(text.encode(), 200, {"content-type": "text/event-stream"})


def cap(body: dict[str, Any]) -> int:
    return body.get("max_tokens") or body.get("max_completion_tokens") or 0


def capped(most: int, message: str, status: int = 400, **fields: Any) -> Situation:
    """A server that takes at most so many tokens for a reply, and says so."""

    def script(number: int, body: dict[str, Any]) -> Response:
        given = cap(body)
        return ok(GOOD) if given <= most else error(status, message.format(given=given, total=given + 700), **fields)

    return Situation(script, options={"max_tokens": 8000})


def formless(message: str, status: int = 400, **fields: Any) -> Situation:
    """A server that takes no schema, and says so in these words."""
    return Situation(
        unless(lambda body: body.get("response_format", {}).get("type") != "json_schema", error(status, message, **fields))
    )


def says(text: Any, finish: str | None = "stop", **message: Any) -> Situation:
    """A model whose reply is read at once."""
    return Situation(always(ok(text, finish, **message)), most=1)


def unusable(text: Any, told: str, finish: str | None = "stop", **message: Any) -> Situation:
    """A model whose replies are all no reply, for this reason."""
    return Situation(always(ok(text, finish, **message)), told, most=3)


def slow_down(message: str, status: int = 429, headers: dict[str, str] | None = None, **fields: Any) -> Situation:
    return Situation(first(error(status, message, headers, **fields)))


FILTERED = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
SITUATIONS: dict[str, Situation] = {
    # Throttles, and accounts that are empty.
    "429 that advertises billing": slow_down("Rate limit reached. Please try again in 0.1s. Upgrade at x/settings/billing", code="rate_limit_exceeded"),
    "429 in a list with retryDelay": Situation(first(fail(429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details.", "details": [{"retryDelay": "0.1s"}]}}]))),
    "429 as a text": Situation(first(fail(429, {"error": "Too many requests, slow down"}))),
    "429 as plain text": Situation(first(fail(429, b"Too Many Requests"))),
    "429 with milliseconds in a header": slow_down("slow", headers={"retry_after_ms": "50"}),
    "429 with a unit in a header": slow_down("slow", headers={"retry_after": "0.1s"}),
    "429 inside of 200": Situation(first(fail(200, {"choices": None, "error": {"message": "Provider returned error", "code": 429}}), 7), most=8),
    "429 inside of the first choice": Situation(first(fail(200, {"choices": [{"error": {"code": 429, "message": "busy"}, "finish_reason": "error"}]}))),
    "529 overloaded": Situation(first(fail(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))),
    "498 capacity": slow_down("Flex tier capacity exceeded", status=498, code="capacity_exceeded"),
    "503 while the model loads": Situation(first(fail(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}), 7), most=8),
    "500 that is overloaded": slow_down("The engine is currently overloaded, please try again later", status=500),
    "502 of a proxy as a web page": Situation(first(fail(502, b"<html><head><title>502 Bad Gateway</title></head><body>x</body></html>"))),
    "524 of a proxy": Situation(first(fail(524, b"error code: 524"))),
    "insufficient_quota": Situation(always(error(429, "You exceeded your current quota.", code="insufficient_quota")), "no quota left", True, 1),
    "current quota without a wait": Situation(always(error(429, "You exceeded your current quota, please check your plan and billing details.")), "no quota left", True, 1),
    "402 insufficient balance": Situation(always(error(402, "Insufficient Balance", code="invalid_request_error")), "no quota left", True, 1),
    "403 with a low credit balance": Situation(always(error(403, "Your credit balance is too low to access the API.")), "no quota left", True, 1),
    "monthly credits are gone": Situation(always(fail(402, {"error": "You have exceeded your monthly included credits for Inference Providers."})), "no quota left", True, 1),
    # Keys, names and addresses.
    "401": Situation(always(error(401, "Incorrect API key provided.", code="invalid_api_key")), "refuses the API key", True, 1),
    "404 of a model, as a text": Situation(always(fail(404, {"error": "model 'm' not found, try pulling it first"})), "It serves llama-3, qwen", True, 1),
    "404 of a path": Situation(always(fail(404, b"404 page not found")), "does not serve the model", True, 1),
    "400 of an unknown model": Situation(always(fail(400, {"detail": "Model not found: m"})), "does not serve the model", True, 1),
    "model needs more memory": Situation(always(fail(500, {"error": "model requires more system memory (5.6 GiB) than is available (3.1 GiB)"})), "smaller model", True, 1),
    # One prompt is refused.
    "content filter of the prompt": Situation(always(error(400, FILTERED, code="content_filter")), "content", most=1),
    "flagged by moderation": Situation(always(error(403, "Your input was flagged by moderation")), "refuses the prompt's content", most=1),
    "data inspection": Situation(always(error(400, "Output data may contain inappropriate content.", code="data_inspection_failed")), "refuses the prompt's content", most=1),
    "prompt over the context": Situation(always(error(400, "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
        code="context_length_exceeded")), "too long", most=1),
    "prompt over a slot": Situation(always(error(400, "the request exceeds the available context size, try increasing it", type="exceed_context_size_error", n_ctx=4096)), "too long", most=1),
    "prompt over the context, status 500": Situation(always(fail(500, {"error": "input is too long: the prompt exceeds the context window of 2048"})), "too long", most=1),
    "413 payload": Situation(always(fail(413, b"Payload Too Large")), "too long", most=1),
    # Fields that a server does not take.
    "max_completion_tokens wanted": Situation(unless(lambda body: "max_tokens" not in body, error(400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter")),
        options={"max_tokens": 100}),
    "max_tokens too large: context and prompt": capped(3396, "'max_tokens' or 'max_completion_tokens' is too large: {given}. This model's maximum context length is 4096 tokens "
        "and your request has 700 input tokens ({given} > 4096 - 700)."),
    "max_tokens too large: in the completion": capped(3396, "This model's maximum context length is 4096 tokens. However, you requested {total} tokens (700 in the messages, "
        "{given} in the completion). Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    "max_tokens too large: less than or equal": capped(4096, "`max_tokens` must be less than or equal to `4096`, the maximum value for `max_tokens` is less than the `context_window`"),
    "max_tokens too large: more than": capped(4096, "max_tokens: {given} > 4096, which is the maximum allowed number of output tokens for m", type="invalid_request_error"),
    "max_tokens too large: a range": capped(2000, "Range of max_tokens should be [1, 2000]"),
    "max_tokens too large: supports at most": capped(4096, "max_tokens is too large: {given}. This model supports at most 4096 completion tokens, whereas you provided {given}."),
    "max_tokens too large: sum with the inputs": capped(3396, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 700 `inputs` tokens and {given} "
        "`max_new_tokens`", status=422),
    "max_tokens too large: a limit in thousands": capped(4096, "The maximum tokens you requested exceeds the model limit of 4,096."),
    "max_tokens too large: no number": Situation(unless(lambda body: cap(body) <= 2000, error(400, "max_tokens is too large")), options={"max_tokens": 8000}, most=3),
    "long replies only in a stream": Situation(lambda number, body: events(GOOD, {"choices": [{"delta": {}, "finish_reason": "stop"}]}) if body.get("stream") else error(400,
        "Requests with max_tokens > 4096 must have stream=true"), options={"max_tokens": 8000}),
    "temperature unsupported": Situation(unless(lambda body: "temperature" not in body, error(400, "Unsupported value: 'temperature' does not support 0.2 with this model. "
        "Only the default (1) value is supported.", param="temperature", code="unsupported_value")), options={"temperature": 0.2}),
    "temperature out of range": Situation(always(fail(422, {"detail": [{"loc": ["body", "temperature"], "msg": "Input should be less than or equal to 1"}]})), "--temperature 1.5", True, 1,
        options={"temperature": 1.5}),
    "extra field refused": Situation(always(error(400, "Unrecognized request argument supplied: top_k")), "--extra-body", True, 1, options={"extra_body": {"top_k": 5}}),
    "schema refused: unknown name": Situation(unless(lambda body: body.get("response_format", {}).get("type") != "json_schema", fail(400, [{"error": {"code": 400,
        "message": "Unknown name \"additionalProperties\" at 'generation_config.response_schema': Cannot find field."}}]))),
    "schema refused: invalid parameter": formless("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
    "schema refused: unavailable": formless("This response_format type is unavailable now"),
    "schema refused: by its place": Situation(unless(lambda body: body.get("response_format", {}).get("type") != "json_schema", fail(422, {"detail": [{"type": "literal_error",
        "loc": ["body", "response_format", "type"], "msg": "Input should be 'text' or 'json_object'"}]}))),
    "schema refused: in words that say nothing": formless("Bad Request"),
    "all forms refused in words that say nothing": Situation(unless(lambda body: "response_format" not in body, error(422, "Unprocessable Entity")), most=3),
    "schema refused: a grammar that fails": formless("failed to parse grammar", status=400),
    # Answers that are not what was asked for.
    "stream though none was asked for": Situation(always(events(GOOD[:9], GOOD[9:])), most=1),
    "DONE behind a whole answer": Situation(always(Response(ok(GOOD).body + b"\n\ndata: [DONE]\n\n", 200, {"content-type": "text/event-stream"})), most=1),
    "comments before the answer": Situation(always(Response(b": PROCESSING\n\n: PROCESSING\n\n" + ok(GOOD).body)), most=1),
    "stream that ends with an error": Situation(first(events(GOOD[:20], {"error": {"message": "upstream overloaded", "code": 503}}, end=""))),
    "error as a text inside of 200": Situation(first(fail(200, {"error": "upstream connect error"}))),
    "error object inside of 200": Situation(first(fail(200, {"object": "error", "message": "worker is busy", "code": 503}))),
    "no choices": Situation(first(fail(200, {"choices": [], "usage": None}))),
    "finish reason error": Situation(first(ok("", "error"))),
    "json_validate_failed": Situation(first(error(400, "Failed to generate JSON.", code="json_validate_failed", failed_generation='{"question": "Wh'))),
    "usage as texts": Situation(always(ok(GOOD, usage={"prompt_tokens": "30", "completion_tokens": "9"})), most=1),
    # Where models and servers put the reply.
    "content in parts": says([{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}]),
    "content in parts with thoughts": says([{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": GOOD}]),
    "content as an object": says(json.loads(GOOD)),
    "in a tool call": says(None, "tool_calls", tool_calls=[{"type": "function", "function": {"name": "QA", "arguments": GOOD}}]),
    "in reasoning_content": says(None, reasoning_content=GOOD),
    "in reasoning": says("", reasoning=GOOD),
    "thoughts apart, reply in content": says(GOOD, reasoning_content=DRAFT),
    "prose in reasoning_content": unusable(None, "reasoning_content", reasoning_content="Perhaps a cup."),
    "thoughts cut off": unusable(None, "--max-tokens", "length", reasoning_content="Perhaps a"),
    "thoughts cut off in the text": unusable(f"<think>I could write {DRAFT} but", "--max-tokens", "length"),
    "no finish reason": says(GOOD, None),
    # Thoughts in the text.
    "think": says(f"<think>First {DRAFT}</think>\n{GOOD}"),
    "think without its opening": says(f"First {DRAFT}\n</think>\n\n{GOOD}"),
    "think twice": says(f"<think>a {DRAFT}</think> hm <think>{DRAFT}</think>{GOOD}"),
    "THINK in brackets": says(f"[THINK]{DRAFT}[/THINK]{GOOD}"),
    "think unclosed": unusable(f"<think>I could write {DRAFT}", "only the model's thoughts"),
    "harmony channels": says(f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{GOOD}<|return|>"),
    "harmony without its marks": says(f"analysisWe could write {DRAFT}assistantfinal{GOOD}"),
    # Nearly JSON.
    "trailing comma": says(GOOD[:-1] + ",}"),
    "python dict": says("{'question': 'What is it?', 'answer': 'A cup.'}"),
    "typographic quotes": says("{“question”: “What is it?”, “answer”: “A cup.”}"),
    "keys without quotes": says('{question: "What is it?", answer: "A cup."}'),
    "a comment": says('{"question": "What is it?", // the question\n "answer": "A cup."}'),
    "a comma that is missing": says('{"question": "What is it?" "answer": "A cup."}'),
    "quotes inside of a text": says('{"question": "What is "it"?", "answer": "A cup."}'),
    "last bracket missing": says(GOOD[:-1]),
    "fenced with a trailing comma": says(f"Sure!\n```json\n{GOOD[:-1]},}}\n```\nBye."),
    "a list of one": says(f"[{GOOD}]"),
    "under a key of its own": says(f'{{"QA": {GOOD}}}'),
    "JSON in a JSON text": says(json.dumps(GOOD)),
    "cut inside of a text": unusable('{"question": "What is it?", "answer": "A cu', "no complete JSON"),
    # Refusals.
    "refusal field": unusable(None, "refused", refusal="I can't help with that."),
    "refusal with a curly apostrophe": unusable("I’m sorry, but I can’t help with that.", "refused"),
    "refusal in Spanish": unusable("Lo siento, pero no puedo ayudar con eso.", "refused"),
    "refusal in Chinese": unusable("抱歉，我无法回答这个问题。", "refused"),
    "content filter of the reply": unusable("", "content filter", "content_filter"),
    "SAFETY": unusable("", "content filter", "SAFETY"),
}  # fmt: skip
