"""Answers of the local endpoint: a schema filled by hash, or the recorded reply of another LLM to the same prompt."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from comvint_hf.generation.group import OneByOne


def fill_form(text: str, schema: dict[str, Any] | None) -> str:
    """Answer a prompt like a stranger, who knows nothing but its text and the schema that came along.

    What the schema leaves open is looked up in the text: how many of what, which topics, how evidence is written and how one
    points at things. What the text does not explain either is filled with plain words, so a prompt that demands more than it
    explains has its samples rejected. Without a schema it is a question and its answer.
    """
    schema = schema or {"type": "object", "properties": {"question": _STRING, "answer": _STRING}}
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return json.dumps(_Stranger(text, schema).fill(schema, "", digest))


_STRING = {"type": "string"}
_FORM = re.compile(r"nothing else, of this form: (\{.*\})$", re.MULTILINE)
_COUNT = re.compile(r"[Ww]rite (\d+) (?:question|conversation)")
_EXPLAINED = re.compile(r'^"(\w+)" is .*?for example (\[[^\]]*\])', re.MULTILINE)
_TOPICS = re.compile(r"^- (\w+): ", re.MULTILINE)
_POINTING = re.compile(r"<st>[^<>]+<ed>\[[or]\d+\]")


class _Stranger:
    def __init__(self, text: str, root: dict[str, Any]) -> None:
        self._text, self._root = text, root
        counts = [int(count) for count in _COUNT.findall(text)]
        self._counts = iter(counts or [3])
        self._explained = {name: json.loads(example) for name, example in _EXPLAINED.findall(text)}
        topics = text.partition('"topic" is one of these words')[2]
        self._topics = _TOPICS.findall(topics.partition("\n\n")[0])
        self._pointer = _POINTING.search(text.partition("Point at a thing")[2].partition("\n")[0])

    def fill(self, part: dict[str, Any], name: str, digest: str) -> Any:
        if "$ref" in part:
            return self.fill(self._root["$defs"][part["$ref"].rsplit("/", 1)[1]], name, digest)
        if "enum" in part or "const" in part:
            values = part.get("enum") or [part["const"]]
            return values[hashlib.sha256(digest.encode()).digest()[0] % len(values)]
        if "anyOf" in part:
            return self.fill(part["anyOf"][hashlib.sha256(digest.encode()).digest()[0] % len(part["anyOf"])], name, digest)
        match part.get("type"):
            case "object":
                return {key: self.fill(inner, key, f"{key} {digest}") for key, inner in part["properties"].items()}
            case "array":
                return self._fill_list(part, name, digest)
            case "integer" | "number":
                return 1
            case "boolean":
                return True
            case _:
                return self._write(part, name, digest)

    def _fill_list(self, part: dict[str, Any], name: str, digest: str) -> list[Any]:
        item = part.get("items", _STRING)
        if name in self._explained and "enum" not in item:
            return self._explained[name]
        count = part["minItems"] if "minItems" in part else next(self._counts, 3)
        return [self._fill_item(item, name, f"{digest} {number}", number + 1) for number in range(count)]

    def _fill_item(self, part: dict[str, Any], name: str, digest: str, place: int) -> Any:
        """An item of a list, with its number where the prompt asks for one."""
        numbered = [option for option in part.get("anyOf", ()) if place in _number_of(option).get("enum", ())]
        made = self.fill(numbered[0] if numbered else part, name, digest)
        return made | {"number": place} if isinstance(made, dict) and "number" in made else made

    def _write(self, part: dict[str, Any], name: str, digest: str) -> str:
        if name == "topic" and self._topics:
            return self._topics[hashlib.sha256(digest.encode()).digest()[0] % len(self._topics)]
        pattern = part.get("pattern", "")
        plain = f"Is it the {digest}?" if pattern.endswith(r"\?$") else f"The {digest}."
        if "<st>" in pattern:
            plain = f"The {digest} with {self._point(pattern)}."
        elif not pattern and self._pointer and name in ("question", "answer"):
            plain = f"The {digest} with {self._pointer[0]}."
        plain = f"{plain[:-1]}?" if pattern.endswith("\\?$") else plain
        assert re.search(pattern, plain), f"{plain!r} is not of the form {pattern}"
        return plain

    def _point(self, pattern: str) -> str:
        """A reference that the pattern allows, with the name that the text gives to its tag."""
        tag = re.search(r"\b[or]\d+\b", pattern.partition("<ed>")[2])
        assert tag, f"the pattern names no tag: {pattern}"
        listed = re.search(rf"^\[{tag[0]}\] ([^(:\n]+)|: ([^:\n]+) \[{tag[0]}\]", self._text, re.MULTILINE)
        assert listed, f"the prompt does not say what {tag[0]} is"
        return f"<st>{(listed[1] or listed[2]).strip()}<ed>[{tag[0]}]"


def _number_of(part: dict[str, Any]) -> dict[str, Any]:
    return part.get("properties", {}).get("number", {})


def read_form(text: str) -> dict[str, Any] | None:
    """Read the form that a prompt's last paragraph spells out, as a schema; `None` without one.

    >>> read_form('Reply with one JSON object and nothing else, of this form: {"pairs": [{"a": string}, ...] (exactly 2)}')
    {'type': 'object', 'properties': {'pairs': {'type': 'array', 'items': {'type': 'object', 'properties': {'a': {'type': 'string'}}}, 'minItems': 2}}}
    """
    found = _FORM.findall(text)
    return _FormReader(found[-1]).read() if found else None


class _FormReader:
    def __init__(self, text: str) -> None:
        self._rest = text

    def read(self) -> dict[str, Any]:
        if self._take("{"):
            properties = {}
            while not self._take("}"):
                name = self._match(r'"(\w+)": ')
                properties[name] = self.read()
                self._match(r"( \([^()]*\))?")
                self._take(", ")
            part: dict[str, Any] = {"type": "object", "properties": properties}
        elif self._take("["):
            part = {"type": "array", "items": self.read()}
            self._match(r"(, \.\.\.\])")
            if count := self._match(r"(?: \((?:exactly|at least) (\d+)[^)]*\)| \([^)]*\))?"):
                part["minItems"] = int(count)
        elif value := self._match(r'("(?:[^"\\]|\\.)*"|\.\.\.)?'):
            part = {"enum": [] if value == "..." else [json.loads(value)]}
        else:
            part = {"type": self._match(r"(\w+)")}
        if self._take(" or "):
            other = self.read()
            return {"enum": [*part["enum"], *other["enum"]]} if "enum" in part and "enum" in other else part
        return part

    def _take(self, mark: str) -> bool:
        found = self._rest.startswith(mark)
        self._rest = self._rest[len(mark) :] if found else self._rest
        return found

    def _match(self, pattern: str) -> str:
        found = re.match(pattern, self._rest)
        assert found, f"a form that cannot be read: {self._rest[:80]}"
        self._rest = self._rest[found.end() :]
        return found[1] or ""


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
        self._llm, self._recorded = OneByOne(llm), recorded

    async def ask(self, prompt: Any, reply_type: Any) -> Any:
        if prompt.text not in self._recorded.replies:
            reply = await self._llm.ask(prompt, reply_type)
            # As a model that sees the image is asked, too.
            for text in (prompt.text, prompt.with_image().text):
                self._recorded.replies[text] = reply.model_dump_json()
        return reply_type.model_validate_json(self._recorded.replies[prompt.text])
