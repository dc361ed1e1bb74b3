"""What an endpoint takes for a model, learnt from its refusals: the format, the bound on a reply, temperature, streaming."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comvint_hf.endpoint.messages import MODES, Mode
from comvint_hf.endpoint.refused_fields import FEWEST_TOKENS, MAX_TOKENS_NAMES, RefusedField
from comvint_hf.errors import EndpointError, ReplyError

_BYTES_PER_TOKEN = 2.5


class Lesson(NamedTuple):
    """What a refusal has taught: the attributes that changed, and most tokens that this request's reply may have.

    Nothing changes where another request has already learnt the same.
    """

    changed: dict[str, Any]
    limit: int | None


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

    @property
    def notes(self) -> list[str]:
        """What the user should know of replies that were asked for in another way than wished."""
        notes = []
        if not self.temperature:
            notes.append(f"{self.model} takes no temperature: --temperature was left out")
        if self.mode != MODES[0]:
            how = "JSON without a schema" if self.mode == "json_object" else "plain text"
            notes.append(f"{self.model} was asked for {how}: the endpoint refuses schemas")
        if self.most_tokens is not None:
            notes.append(f"{self.model} takes at most {self.most_tokens:,} tokens for a reply")
        return notes

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

    def learn(self, refused: RefusedField, message: str, body: dict[str, Any], prompt_bytes: int) -> Lesson:
        """Learn from the refusal of a body's field in these words.

        Raises `EndpointError` where nothing is left to try, and `ReplyError` where the prompt leaves no room for a reply.
        """
        before, limit = dict(vars(self)), None
        match refused.name:
            case "response_format":
                self._downgrade_mode(body, message)
            case "max_tokens_name":
                self._switch_name(body, message)
            case "max_tokens":
                limit = self._lower_bound(refused, message, body, prompt_bytes)
            case "temperature_range":
                raise EndpointError(
                    f"{self.url} does not take --temperature {body.get('temperature')} ({message}): give another one."
                )
            case "stream":
                self.streams = True
            case "no_stream":
                self.can_stream = self.streams = False
            case "temperature" | "stream_options" as name:
                if name not in body:
                    raise EndpointError(f"{self.url} refuses {self.model} ({message}), though {name} was not sent.")
                setattr(self, name, False)
        changed = {name: value for name, value in vars(self).items() if value != before[name] and not name.startswith("_")}
        return Lesson(changed, limit)

    def _downgrade_mode(self, body: dict[str, Any], message: str) -> None:
        mode = body.get("response_format", {}).get("type", MODES[-1])
        if mode == MODES[-1]:
            raise EndpointError(f"{self.url} refuses {self.model} even in plain text ({message}): is this a chat model?")
        # Many requests in flight may be refused for the same format.
        if self.mode == mode:
            self.mode = MODES[MODES.index(mode) + 1]

    def _switch_name(self, body: dict[str, Any], message: str) -> None:
        refused = next((name for name in MAX_TOKENS_NAMES if name in body), self.max_tokens_name)
        self._refused_names.add(refused)
        if len(self._refused_names) == len(MAX_TOKENS_NAMES):
            raise EndpointError(f"{self.url} accepts neither {' nor '.join(MAX_TOKENS_NAMES)} for {self.model} ({message}).")
        if self.max_tokens_name == refused:
            self.max_tokens_name = MAX_TOKENS_NAMES[1 - MAX_TOKENS_NAMES.index(refused)]

    def _lower_bound(self, told: RefusedField, message: str, body: dict[str, Any], prompt_bytes: int) -> int:
        refused = next((body[name] for name in MAX_TOKENS_NAMES if name in body), None)
        limit = 0 if refused is None else told.find_limit(refused)
        if refused is None or (limit < FEWEST_TOKENS and limit < refused):
            error = ReplyError(
                f"{self.url} leaves {max(limit, 0)} tokens for a reply of {self.model} ({message}): serve the model with a longer "
                "context, or give a shorter prompt."
            )
            error.is_of_prompt = True
            raise error
        if told.context is None:
            self.most_tokens = min(limit, self.most_tokens or limit)
        else:
            self.context = min(told.context, self.context or told.context)
            # Another prompt has another length, so what is remembered is how far this one was underestimated.
            self.extra_tokens = max(self.extra_tokens, told.context - limit - _estimate_tokens(prompt_bytes))
        return limit


def _estimate_tokens(prompt_bytes: int) -> int:
    return int(prompt_bytes / _BYTES_PER_TOKEN)
