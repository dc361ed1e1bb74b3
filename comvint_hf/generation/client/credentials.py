"""Where an endpoint is and which key opens it. Keys come from the environment only.

OPENAI_API_KEY opens OpenAI and every compatible server, HF_TOKEN the Hugging Face router, AZURE_OPENAI_API_KEY (or
OPENAI_API_KEY) an Azure resource; a server of one's own needs none. This file knows addresses; it knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from comvint_hf.errors import EndpointError, InputError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
_KEYS = {
    "huggingface.co": ("HF_TOKEN",),
    "azure.com": ("AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"),
    "": ("OPENAI_API_KEY",),
}


@dataclass(frozen=True)
class Access:
    """An endpoint's address without its query, and how to be let in; the key is never shown."""

    url: str
    key: str = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    azure: bool = False

    @property
    def takes_completion_cap(self) -> bool:
        """Whether it calls the bound on a reply `max_completion_tokens`, as OpenAI does, or `max_tokens`, as others do."""
        return self.azure or self.url.startswith(OPENAI)

    def client(self, *, connections: int, timeout: float) -> AsyncOpenAI:
        """An openai client that never retries by itself: whoever sends sees every failure and adapts."""
        import httpx2
        from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        times = httpx2.Timeout(timeout, connect=min(timeout, 10.0))
        return AsyncOpenAI(
            base_url=self.url,
            api_key=self.key,
            max_retries=0,
            timeout=times,
            default_query=dict(self.query),
            default_headers={"api-key": self.key} if self.azure else None,
            http_client=DefaultAsyncHttpx2Client(limits=limits, timeout=times),
        )


def access(base_url: str | None = None, environment: Mapping[str, str] = os.environ) -> Access:
    """Find the key for an address; OPENAI_BASE_URL or OpenAI itself where none is given.

    Raises `EndpointError` for a missing key and `InputError` for what is no address.
    """
    given = base_url or environment.get("OPENAI_BASE_URL") or OPENAI
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--base-url {given!r} is no address: expected one like {OPENAI} or http://localhost:8000/v1.")
    url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    owner = next(domain for domain in _KEYS if parts.hostname == domain or parts.hostname.endswith(f".{domain}") or not domain)
    key = next((environment[name] for name in _KEYS[owner] if environment.get(name)), None)
    if key is None and not _is_own(parts.hostname):
        raise EndpointError(
            f"{parts.hostname} wants a key: set {' or '.join(_KEYS[owner])} in the environment and run the same again."
        )
    return Access(url, key or "none", dict(parse_qsl(parts.query)), azure=owner == "azure.com")


def _is_own(host: str) -> bool:
    """Whether a host is on this machine or in a private network, where servers rarely want keys."""
    private = host.startswith(("127.", "10.", "192.168.")) or host.endswith((".local", ".internal"))
    return private or "." not in host or host == "0.0.0.0"
