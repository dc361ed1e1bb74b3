"""The abilities of an endpoint, remembered in the reply cache."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comvint_hf.endpoint.abilities import Abilities
from comvint_hf.endpoint.address import Endpoint
from comvint_hf.endpoint.messages import MODES, Mode
from comvint_hf.endpoint.refused_fields import MAX_TOKENS_NAMES
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.narrowing import CONSTRAINTS
from comvint_hf.strict_reader import bounded_int

if TYPE_CHECKING:
    from comvint_hf.endpoint.errors import RefusedFieldError

_COLUMNS = {"mode": "mode", "max_tokens_name": "cap_name"}
"""Attributes whose name in older caches was another one."""
_FLAGS = ("temperature", "streams", "stream_options", "can_stream", "narrows", "enforces")
_NUMBERS = ("most_tokens",)  # the context is not the model's but the server's, which may be started anew with another


class Capabilities(Abilities):
    """What an endpoint takes for a model, as its refusals and those of earlier runs told.

    Attributes:
        narrows: Whether schemas may hold patterns and lengths.
        enforces: Whether replies keep to the schemas; some servers accept a schema and drop it.
    """

    def __init__(self, cache: Cache, endpoint: Endpoint, model: str) -> None:
        super().__init__(endpoint.url, model, endpoint.max_tokens_name)
        self._cache = cache
        self.is_mode_proven = False
        self.narrows = self.enforces = True
        query = "SELECT ability, value FROM abilities WHERE endpoint = ? AND model = ?"
        self._restore(dict(cache.query(query, (endpoint.url, model))))

    def _restore(self, known: dict[str, Any]) -> None:
        if known.get("mode") in MODES:
            self.mode, self.is_mode_proven = known["mode"], True
        if known.get("cap_name") in MAX_TOKENS_NAMES:
            self.max_tokens_name = known["cap_name"]
        for name in _FLAGS:
            if name in known:
                setattr(self, name, known[name] == "1")
        for name in _NUMBERS:
            value = str(known.get(name, ""))
            setattr(self, name, bounded_int(int(value), 1, 10**9) if value.isdecimal() and len(value) < 10 else None)

    async def adapt(self, error: RefusedFieldError, body: dict[str, Any], prompt_bytes: int) -> bool:
        """Learn from a refusal, and return whether anything changed. Raises what `Abilities.learn` raises."""
        if await self._narrow_less(error, body):
            return True
        changed, error.limit = self.learn(error.field, str(error), body, prompt_bytes)
        for name, value in changed.items():
            await self.save(name, value)
        return bool(changed)

    async def _narrow_less(self, error: RefusedFieldError, body: dict[str, Any]) -> bool:
        """Leave patterns and lengths out of schemas, where the refusal names one that was sent."""
        sent = json.dumps(body.get("response_format", {}))
        named = [keyword for keyword in CONSTRAINTS if keyword in str(error) and f'"{keyword}"' in sent]
        if error.field.name != "response_format" or not named:
            return False
        await self.save("narrows", False)
        return True

    async def set_mode(self, mode: Mode) -> None:
        """Remember a response format that was found to work where a stricter one does not."""
        if MODES.index(mode) > MODES.index(self.mode):
            self.mode = mode
            await self.save("mode", mode)
        self.is_mode_proven = True

    async def save(self, name: str, value: Any) -> None:
        """Remember the value of an attribute for later runs, if it is one that lasts."""
        if name not in (*_COLUMNS, *_FLAGS, *_NUMBERS):
            return
        setattr(self, name, value)
        row = (self.url, self.model, _COLUMNS.get(name, name), str(int(value)) if isinstance(value, bool) else str(value))
        await self._cache.execute("INSERT OR REPLACE INTO abilities VALUES (?, ?, ?, ?)", row)
