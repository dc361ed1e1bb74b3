"""What an endpoint can do with a model, learnt from its refusals and remembered in the cache file.

This file knows response formats and parameter names; it sends nothing.
"""

from __future__ import annotations

from comvint_hf.errors import EndpointError
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.credentials import Access
from comvint_hf.generation.client.reply_parsing import MODES, Mode

CAP_NAMES = ("max_completion_tokens", "max_tokens")


class Ability:
    """The strictest response format that works, and the name of the bound on a reply's tokens."""

    def __init__(self, cache: Cache, access: Access, model: str) -> None:
        self._cache, self._url, self._model = cache, access.url, model
        known = dict(cache.read("SELECT ability, value FROM abilities WHERE endpoint = ? AND model = ?", (access.url, model)))
        self.mode: Mode = known.get("mode", MODES[0])
        self._refused: set[str] = set()
        self.cap_name: str = known.get("cap_name", CAP_NAMES[0] if access.takes_completion_cap else CAP_NAMES[1])

    async def refuse_mode(self, mode: Mode, reason: str) -> None:
        """Step down from a refused format, unless another task has. Raises `EndpointError` below plain text."""
        if self.mode != mode:
            return
        if mode == MODES[-1]:
            raise EndpointError(f"{self._url} refuses {self._model} even in plain text ({reason}): is this a chat model?")
        self.mode = MODES[MODES.index(mode) + 1]
        await self._remember("mode", self.mode)

    async def refuse_cap_name(self, name: str, reason: str) -> None:
        """Use the other name. Raises `EndpointError` if that was refused as well."""
        self._refused.add(name)
        if len(self._refused) == len(CAP_NAMES):
            raise EndpointError(f"{self._url} takes neither {' nor '.join(CAP_NAMES)} for {self._model} ({reason}).")
        if self.cap_name == name:
            self.cap_name = CAP_NAMES[1 - CAP_NAMES.index(name)]
            await self._remember("cap_name", self.cap_name)

    async def _remember(self, ability: str, value: str) -> None:
        row = (self._url, self._model, ability, value)
        await self._cache.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO abilities VALUES (?, ?, ?, ?)", row).rowcount
        )
