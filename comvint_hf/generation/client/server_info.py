"""Asks a server what it serves, for the requests to one model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from comvint_hf.endpoint.model_info import find_context, models_url, name_models, props_url, read_models, read_props


class ServerInfo:
    """What the server at an address says of a model. `get_client` gives the openai client of the running event loop."""

    def __init__(self, get_client: Callable[[], Any], url: str, model: str) -> None:
        self._get_client, self._url, self._model = get_client, url, model
        self._asked: asyncio.Event | None = None
        self._context: int | None = None

    async def get_context(self) -> int | None:
        """The length of the model's context in tokens; `None` where the server does not tell. It is asked once."""
        if self._asked is None:
            self._asked = asyncio.Event()
            models = read_models(await self._fetch(models_url(self._url)))
            self._context = find_context(models, self._model) or read_props(await self._fetch(props_url(self._url)))
            self._asked.set()
        if not self._asked.is_set():
            await self._asked.wait()
        return self._context

    async def name_models(self) -> str:
        """A sentence that names what the server serves; "" where it does not tell."""
        return name_models(read_models(await self._fetch(models_url(self._url))), self._model)

    async def _fetch(self, url: str) -> bytes:
        """What the server has at an address; b"" where that is nothing."""
        import httpx2
        import openai

        try:
            response = await self._get_client().get(url, cast_to=httpx2.Response)
        except openai.APIError:
            return b""
        content: bytes = response.content
        return content
