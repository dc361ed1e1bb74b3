"""The address of an endpoint and its API key, which comes from the environment only.

OPENAI_API_KEY is for OpenAI and every compatible server, HF_TOKEN for the Hugging Face router, AZURE_OPENAI_API_KEY (or
OPENAI_API_KEY) for an Azure resource; a server on this machine or in a private network needs none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from comvint_hf.errors import EndpointError, InputError
from comvint_hf.strict_reader import LIMITS, redact, remember_secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

    from comvint_hf.endpoint.bounded_http import Activity

OPENAI_URL = "https://api.openai.com/v1"
_KEY_VARIABLES = {
    "huggingface.co": ("HF_TOKEN",),
    "azure.com": ("AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"),
    "": ("OPENAI_API_KEY",),
}


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's address without its query, user and password, and its API key, which `repr` leaves out.

    Attributes:
        login: User and password of the address, which go with each request.
    """

    url: str
    api_key: str = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_azure: bool = False
    login: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def max_tokens_name(self) -> str:
        """The name of the bound on a reply's tokens: OpenAI's, or the one of most other servers."""
        return "max_completion_tokens" if self.is_azure or self.url.startswith(OPENAI_URL) else "max_tokens"

    def create_client(
        self, *, connections: int, timeout: float, headers: Mapping[str, str] | None = None, activity: Activity | None = None
    ) -> AsyncOpenAI:
        """Create an openai client without retries of its own, so that the rate limiter sees every failure.

        Its answers are bounded in time and size, and redirects are not followed.
        """
        from openai import AsyncOpenAI

        from comvint_hf.endpoint.bounded_http import BoundedClient

        options = self._client_options(connections, None, timeout)
        http_client = BoundedClient(seconds=timeout, max_bytes=LIMITS.reply_bytes, activity=activity, **options)
        return AsyncOpenAI(http_client=http_client, timeout=options["timeout"], **self._identity(headers))

    def create_blocking_client(self, *, connections: int, timeout: float, headers: Mapping[str, str] | None = None) -> OpenAI:
        """Create the same for a caller that waits."""
        from openai import OpenAI

        from comvint_hf.endpoint.bounded_http import BlockingBoundedClient

        options = self._client_options(connections, timeout, timeout)
        http_client = BlockingBoundedClient(seconds=timeout, max_bytes=LIMITS.reply_bytes, **options)
        return OpenAI(http_client=http_client, timeout=options["timeout"], **self._identity(headers))

    def _client_options(self, connections: int, timeout: float | None, connect: float) -> dict[str, Any]:
        import httpx2

        return {
            "limits": httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
            # A host that is away is noticed within seconds, however long replies may take.
            "timeout": httpx2.Timeout(timeout, connect=min(connect, 10.0)),
            "auth": self.login,
        }

    def _identity(self, headers: Mapping[str, str] | None) -> dict[str, Any]:
        own = {"api-key": self.api_key} if self.is_azure else {}
        for value in (headers or {}).values():
            remember_secret(value)
        return {
            "base_url": self.url,
            "api_key": self.api_key,
            "max_retries": 0,
            "default_query": dict(self.query),
            "default_headers": {**own, **(headers or {})} or None,
        }


def resolve_endpoint(
    base_url: str | None = None, environment: Mapping[str, str] = os.environ, *, api_key: str | None = None
) -> Endpoint:
    """Find the API key of an address, by default OPENAI_BASE_URL or OpenAI itself; a given `api_key` is used as it is.

    Raises `EndpointError` for a missing key and `InputError` for an invalid address.
    """
    address = base_url or environment.get("OPENAI_BASE_URL") or OPENAI_URL
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for a port that is none
        host = parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        host = None
    if not host:
        message = f"--base-url {redact(address)!r} is no address: expected one like {OPENAI_URL} or http://localhost:8000/v1."
        raise InputError(message)
    # Messages, rows and the cache's file name the address, so user and password are kept apart.
    url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    login = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    provider = next(domain for domain in _KEY_VARIABLES if not domain or host == domain or host.endswith(f".{domain}"))
    variables = _KEY_VARIABLES[provider]
    key = api_key or next((environment[name] for name in variables if environment.get(name)), None)
    if key is None and not _is_private(host):
        raise EndpointError(
            f"{host} needs an API key: set {' or '.join(variables)} in the environment and run the same command again."
        )
    for secret in (key, *(login or ())):
        remember_secret(secret)
    return Endpoint(url, key or "none", dict(parse_qsl(parts.query)), provider == "azure.com", login)


def _is_private(host: str) -> bool:
    """Whether a host is on this machine or in a private network, where servers rarely need keys."""
    private = host.startswith(("127.", "10.", "192.168.")) or host.endswith((".local", ".internal"))
    return private or "." not in host or host == "0.0.0.0"
