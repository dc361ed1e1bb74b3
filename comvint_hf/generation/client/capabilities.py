"""Capabilities of an endpoint, learnt from its refusals and remembered in the reply cache."""

from __future__ import annotations

from typing import Any

from comvint_hf.errors import EndpointError
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.endpoint import Endpoint
from comvint_hf.generation.client.reply_parsing import MODES, Mode

MAX_TOKENS_NAMES = ("max_completion_tokens", "max_tokens")


class Capabilities:
    """The strictest response format that works for a model, and the endpoint's name for the bound on a reply's tokens."""

    def __init__(self, cache: Cache, endpoint: Endpoint, model: str) -> None:
        self._cache, self._url, self._model = cache, endpoint.url, model
        query = "SELECT ability, value FROM abilities WHERE endpoint = ? AND model = ?"
        known: dict[str, Any] = dict(cache.query(query, (endpoint.url, model)))
        self.mode: Mode = known.get("mode", MODES[0])
        self.max_tokens_name: str = known.get("cap_name", endpoint.max_tokens_name)
        self._refused_names: set[str] = set()

    async def downgrade_mode(self, mode: Mode, reason: str) -> None:
        """Step down from a refused format, unless another task has. Raises `EndpointError` below plain text."""
        # Many requests in flight may be refused for the same format.
        if self.mode != mode:
            return
        if mode == MODES[-1]:
            raise EndpointError(f"{self._url} refuses {self._model} even in plain text ({reason}): is this a chat model?")
        self.mode = MODES[MODES.index(mode) + 1]
        await self._save("mode", self.mode)

    async def switch_max_tokens_name(self, refused: str, reason: str) -> None:
        """Use the other name. Raises `EndpointError` if that was refused as well."""
        self._refused_names.add(refused)
        if len(self._refused_names) == len(MAX_TOKENS_NAMES):
            raise EndpointError(f"{self._url} accepts neither {' nor '.join(MAX_TOKENS_NAMES)} for {self._model} ({reason}).")
        if self.max_tokens_name == refused:
            self.max_tokens_name = MAX_TOKENS_NAMES[1 - MAX_TOKENS_NAMES.index(refused)]
            await self._save("cap_name", self.max_tokens_name)

    async def _save(self, name: str, value: str) -> None:
        row = (self._url, self._model, name, value)
        await self._cache.execute("INSERT OR REPLACE INTO abilities VALUES (?, ?, ?, ?)", row)
