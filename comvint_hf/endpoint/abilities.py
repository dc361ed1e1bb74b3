"""What an endpoint takes for a model, learnt from its refusals: the format, the bound on a reply, temperature, streaming."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from comvint_hf.endpoint.errors import LongPromptError, RefusedFieldError
from comvint_hf.endpoint.refused_fields import FEWEST_TOKENS, MAX_TOKENS_NAMES
from comvint_hf.errors import EndpointError

Mode = Literal["json_schema", "json_object", "text"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")
"""Response formats, the strictest first; an endpoint that refuses one is asked with the next."""
_BYTES_PER_TOKEN = 2.5


@dataclass
class Abilities:
    """What an endpoint takes for a model.

    Attributes:
        mode: The strictest response format.
        max_tokens_name: Its name for the bound on a reply's tokens.
        most_tokens: The highest such bound; `None` where none is known.
        context: Tokens of the model's context; `None` where it is not known.
        extra_tokens: Most tokens of a prompt beyond those of its text: templates, schemas and images.
        temperature: Whether it takes one.
        streams: Whether replies are asked for in events: they come slowly.
        stream_options: Whether it takes the wish for token counts in a stream.
        can_stream: Whether it streams at all.
    """

    url: str
    model: str
    max_tokens_name: str = MAX_TOKENS_NAMES[1]
    mode: Mode = MODES[0]
    most_tokens: int | None = None
    context: int | None = None
    extra_tokens: int = 32
    temperature: bool = True
    streams: bool = False
    stream_options: bool = True
    can_stream: bool = True
    _refused_names: set[str] = field(default_factory=set)

    def fit_max_tokens(self, wanted: int, prompt_bytes: int) -> int:
        """The bound on a reply that is `wanted`, lowered to what the endpoint and the rest of the context take."""
        bound = min(wanted, self.most_tokens or wanted)
        if self.context is not None:
            left = self.context - _estimate_tokens(prompt_bytes) - self.extra_tokens
            # An estimate does not refuse a prompt: the endpoint counts exactly, and says what is left for this one.
            bound = min(bound, max(left, self.context // 4))
        return bound

    def shape(self, body: dict[str, Any], *, max_tokens: int | None, prompt_bytes: int, stream: bool = False) -> dict[str, Any]:
        """Put the bound and the other fields that depend on the endpoint into a request's body."""
        if max_tokens is not None:
            body[self.max_tokens_name] = self.fit_max_tokens(max_tokens, prompt_bytes)
        if not self.temperature:
            body.pop("temperature", None)
        if (stream or self.streams) and self.can_stream:
            body["stream"] = True
            if self.stream_options:
                body["stream_options"] = {"include_usage": True}
        return body

    def learn(self, error: RefusedFieldError, body: dict[str, Any], prompt_bytes: int) -> dict[str, Any]:
        """Learn from the refusal of a body, and return the attributes that changed.

        None changes where another request has already learnt the same. Raises `EndpointError` where nothing is left to try, and
        `LongPromptError` where the prompt leaves no room for a reply.
        """
        before = dict(vars(self))
        match error.field.name:
            case "response_format":
                self._downgrade_mode(body, error)
            case "max_tokens_name":
                self._switch_name(body, error)
            case "max_tokens":
                self._lower_bound(body, error, prompt_bytes)
            case "temperature":
                self.temperature = False
            case "temperature_range":
                raise EndpointError(
                    f"{self.url} does not take --temperature {body.get('temperature')} ({error}): give another one."
                )
            case "stream":
                self.streams = True
            case "no_stream":
                self.can_stream = self.streams = False
            case "stream_options":
                self.stream_options = False
        if error.field.name in ("temperature", "stream_options") and error.field.name not in body:
            raise EndpointError(f"{self.url} refuses {self.model} ({error}).")
        return {name: value for name, value in vars(self).items() if value != before[name] and not name.startswith("_")}

    def _downgrade_mode(self, body: dict[str, Any], error: Exception) -> None:
        mode = body.get("response_format", {}).get("type", "text")
        # Many requests in flight may be refused for the same format.
        if self.mode == mode:
            self.mode = self.next_mode(mode, error)

    def next_mode(self, mode: Mode, error: Exception) -> Mode:
        """The format below a refused one. Raises `EndpointError` below plain text."""
        if mode == MODES[-1]:
            raise EndpointError(f"{self.url} refuses {self.model} even in plain text ({error}): is this a chat model?")
        return MODES[MODES.index(mode) + 1]

    def _switch_name(self, body: dict[str, Any], error: Exception) -> None:
        refused = next((name for name in MAX_TOKENS_NAMES if name in body), self.max_tokens_name)
        self._refused_names.add(refused)
        if len(self._refused_names) == len(MAX_TOKENS_NAMES):
            raise EndpointError(f"{self.url} accepts neither {' nor '.join(MAX_TOKENS_NAMES)} for {self.model} ({error}).")
        if self.max_tokens_name == refused:
            self.max_tokens_name = MAX_TOKENS_NAMES[1 - MAX_TOKENS_NAMES.index(refused)]

    def _lower_bound(self, body: dict[str, Any], error: RefusedFieldError, prompt_bytes: int) -> None:
        refused = next((body[name] for name in MAX_TOKENS_NAMES if name in body), None)
        if refused is None:
            raise LongPromptError(f"{self.url} finds the prompt too long for {self.model} ({error}).")
        told, limit = error.field, error.field.find_limit(refused)
        if limit < FEWEST_TOKENS and limit < refused:
            advice = "serve the model with a longer context, or give a shorter prompt"
            raise LongPromptError(f"{self.url} leaves {max(limit, 0)} tokens for a reply of {self.model} ({error}): {advice}.")
        error.limit = limit
        if told.context is None:
            self.most_tokens = min(limit, self.most_tokens or limit)
            return
        self.context = min(told.context, self.context or told.context)
        # Another prompt has another length, so what is remembered is how far this one was underestimated.
        self.extra_tokens = max(self.extra_tokens, told.context - limit - _estimate_tokens(prompt_bytes))


def _estimate_tokens(prompt_bytes: int) -> int:
    return int(prompt_bytes / _BYTES_PER_TOKEN)
