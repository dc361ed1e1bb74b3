"""What the local endpoint answers: a form filled by hash, or what another LLM of the house said to the same prompt."""

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


class Rehearsed:
    """The answers that an LLM of the house gave, by the prompt's text: `endpoint.answer = rehearsed.answer`.

    Wrap the LLM with `listen`, run a recipe once without a network, and the endpoint can answer the same prompts on the
    wire. What was asked twice is answered as at first, here and there. Text that was not rehearsed, or that the LLM had no
    answer to, is answered by `fill_form`.
    """

    def __init__(self) -> None:
        self.replies: dict[str, str] = {}

    def listen(self, llm: Any, deterministic: bool | None = None) -> Any:
        """An LLM that answers as `llm` does and is remembered here; `deterministic` as that says unless told."""
        return _Listening(llm, self, llm.deterministic if deterministic is None else deterministic)

    def answer(self, text: str, schema: dict[str, Any] | None) -> str:
        return self.replies.get(text) or fill_form(text, schema)


class _Listening:
    def __init__(self, llm: Any, heard: Rehearsed, deterministic: bool) -> None:
        self.name, self.deterministic = llm.name, deterministic
        self._llm, self._heard = llm, heard

    async def ask(self, prompt: Any, reply_type: Any) -> Any:
        if prompt.text not in self._heard.replies:
            reply = await self._llm.ask(prompt, reply_type)
            self._heard.replies[prompt.text] = reply.model_dump_json()
        return reply_type.model_validate_json(self._heard.replies[prompt.text])
