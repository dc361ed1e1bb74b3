"""Answers of the local endpoint: a schema filled by hash, or the recorded reply of another LLM to the same prompt."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def fill_form(text: str, schema: dict[str, Any] | None) -> str:
    """Fill any JSON schema with words that depend on the prompt alone; without one, a question and its answer.

    A list called "evidence" stays empty: made-up tags would have every sample rejected.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return json.dumps(
        _filled(schema, digest, schema) if schema else {"question": f"What is {digest}?", "answer": f"It is {digest}."}
    )


def _filled(schema: dict[str, Any], digest: str, root: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _filled(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], digest, root)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], digest, root)
    match schema.get("type"):
        case "object":
            parts = schema["properties"].items()
            return {name: [] if name == "evidence" else _filled(part, f"{name} {digest}", root) for name, part in parts}
        case "array":
            return [_filled(schema["items"], f"{digest} {number}", root) for number in range(schema.get("minItems", 3))]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return f"The {digest}."


class RecordedReplies:
    """The replies of another LLM by the prompt's text: `endpoint.answer = recorded.answer`.

    Wrap the LLM with `record`, run a recipe once without a network, and the endpoint gives the same replies. A prompt that is
    asked twice gets its first reply, here and there. A prompt without a recorded reply is answered by `fill_form`.
    """

    def __init__(self) -> None:
        self.replies: dict[str, str] = {}

    def record(self, llm: Any, deterministic: bool | None = None) -> Any:
        """An LLM that replies as `llm` does and is recorded; `deterministic` is that of `llm` by default."""
        return _RecordingLLM(llm, self, llm.deterministic if deterministic is None else deterministic)

    def answer(self, text: str, schema: dict[str, Any] | None) -> str:
        return self.replies.get(text) or fill_form(text, schema)


class _RecordingLLM:
    def __init__(self, llm: Any, recorded: RecordedReplies, deterministic: bool) -> None:
        self.name, self.deterministic = llm.name, deterministic
        self._llm, self._recorded = llm, recorded

    async def ask(self, prompt: Any, reply_type: Any) -> Any:
        if prompt.text not in self._recorded.replies:
            reply = await self._llm.ask(prompt, reply_type)
            self._recorded.replies[prompt.text] = reply.model_dump_json()
        return reply_type.model_validate_json(self._recorded.replies[prompt.text])
