"""The settings of a run's language models: command-line flags fill one `LLMSettings`, and everything else receives it whole."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import parse_json, remember_secret

MAX_PIXELS = 1_048_576
"""Default bound on the pixels (width times height) of an attached image: 1024 by 1024."""
DEFAULT_MAX_TOKENS = 8192
"""Most tokens of a reply where a bound is needed and none is given."""


@dataclass(frozen=True)
class LLMSettings:
    """How language models are asked, for a writer and a judge alike.

    Args:
        base_url: Address of the endpoint; `OPENAI_BASE_URL` or OpenAI itself by default.
        cache: File of the reply cache; `replies.sqlite` in the working directory by default.
        concurrency: Most requests in flight to one model.
        budget: Most dollars that the cache file may have paid, in all runs together.
        prices: TOML file of prices, read over the package's own table.
        attempts: How often a prompt is asked before its sample is rejected.
        see: Whether writer and judge are shown the image, and may use what they see.
        see_pixels: Most pixels of a shown image; `MAX_PIXELS` by default.
        temperature: Sampling temperature; the model's own by default.
        max_tokens: Most tokens of a reply; the model's own bound by default.
        requests_per_minute: Rate limit of each model.
        tokens_per_minute: Rate limit of each model, prompt and reply tokens together.
        extra_body: Further fields of every request, such as `top_p`.
        headers: Further HTTP headers of every request; `repr` and messages leave them out.
        batch: Whether to ask through the provider's batch API.
        poll: Seconds between two looks at a batch.
        seed: Seed of the embedded annotator.
        timeout: Seconds of silence after which a request has failed: no part of its answer came, and none to earlier requests.
        patience: Seconds without a good answer from the endpoint after which the run stops.
        supervised: Whether the endpoint is restarted when it dies, so that a refused connection is worth waiting for.

    Raises:
        InputError: For a number that is not finite or out of its range.
    """

    base_url: str | None = None
    cache: Path | str | None = None
    concurrency: int = 32
    budget: float | None = None
    prices: Path | None = None
    attempts: int = 3
    see: bool = False
    see_pixels: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    batch: bool = False
    poll: float = 30.0
    seed: int = 0
    timeout: float = 300.0
    patience: float = 300.0
    supervised: bool = False

    def __post_init__(self) -> None:
        # A comparison with NaN is never true, so a budget of NaN would hold nothing back.
        for name in ("budget", "temperature", "requests_per_minute", "tokens_per_minute", "poll", "timeout", "patience"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"--{name.replace('_', '-')} {value} cannot be used: expected a finite number of at least 0.")
        for name in ("concurrency", "attempts", "see_pixels", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value} cannot be used: expected a number of at least 1.")
        for value in self.headers.values():
            remember_secret(value)

    @property
    def max_pixels(self) -> int | None:
        """Most pixels of the image that goes with a request; `None` where none goes."""
        return (self.see_pixels or MAX_PIXELS) if self.see else None

    @property
    def request_fields(self) -> dict[str, Any]:
        """Fields of every request beside the model, the messages and the bounds."""
        # Only fields that are set: an explicit null would change the cache key.
        fields = {"temperature": self.temperature, **self.extra_body}
        return {name: value for name, value in fields.items() if value is not None}

    def cache_identity(self, model: str) -> bytes:
        """Serialize the settings that change replies; every cache key starts with them."""
        return json.dumps([model, self.request_fields, self.max_tokens, self.max_pixels], sort_keys=True).encode()


def parse_extra_body(text: str) -> dict[str, Any]:
    """Parse the JSON object of `--extra-body`. Raises `InputError` for anything else, and for fields that the client fills.

    >>> parse_extra_body('{"top_p": 0.9}')
    {'top_p': 0.9}
    """
    fields = parse_json(text, what="--extra-body")
    if not isinstance(fields, dict):
        raise InputError('--extra-body is no JSON object: expected one like {"top_p": 0.9}.')
    if own := [name for name in ("model", "messages", "stream", "response_format") if name in fields]:
        raise InputError(f"--extra-body cannot set {', '.join(own)}: the client fills that itself.")
    return fields


def parse_header(text: str) -> tuple[str, str]:
    """Parse the NAME=VALUE of `--header`. Raises `InputError`, without the value, for anything else.

    >>> parse_header("X-Team=vision")
    ('X-Team', 'vision')
    """
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not value.isprintable() or not value.isascii():
        raise InputError("--header is not of the form NAME=VALUE, as in X-Team=vision, with a name and a value that HTTP allows.")
    return name, value
