"""Chat with a model behind an OpenAI-compatible endpoint (vLLM, TGI, llama.cpp, ...)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import Conventions
from comvint_hf.errors import EndpointError, InputError
from comvint_hf.images import to_data_url
from comvint_hf.serving.chat import BaseChat, ChatMessage, DecodedConversation
from comvint_hf.strict_reader import LIMITS, redact, remember_secret

if TYPE_CHECKING:
    import httpx2
    from openai.types.chat import ChatCompletionMessageParam
    from PIL.Image import Image

_LAST_LINES = (b"\ndata: [DONE]", b"\ndata:[DONE]")


class RemoteChat(BaseChat):
    """A chat with a model of an endpoint.

    Args:
        base_url: The endpoint, like http://localhost:8000/v1.
        model: The endpoint's name of the model.
        api_key: The key, by default `OPENAI_API_KEY`; most local servers need none.
        conventions: The model's box format and pixel bounds, which the endpoint cannot tell: read them from the model's folder.
        max_new_tokens: The longest reply.
        timeout: Seconds until an answer is complete.

    Attributes:
        concurrency: The number of answers that the endpoint may give at once.

    Raises:
        EndpointError: While answering, if the endpoint refuses, cannot be reached, or its answer is cut. The message holds the
            endpoint's own one, without keys and passwords.
    """

    concurrency = 32

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        conventions: Conventions | None = None,
        max_new_tokens: int = 512,
        timeout: float = 120.0,
    ) -> None:
        import os

        from openai import OpenAI

        if not base_url.startswith(("http://", "https://")):
            raise InputError(f"The endpoint's address is {base_url!r}; expected one like http://localhost:8000/v1.")
        # The client refuses to work without a key, even if the server needs none.
        key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
        remember_secret(key if key != "none" else None)
        self.client = OpenAI(
            base_url=base_url, api_key=key, timeout=timeout, max_retries=2, http_client=_make_http_client(timeout)
        )
        self.name = model
        self.conventions = conventions or Conventions()
        self.max_new_tokens = max_new_tokens

    def _stream_reply(self, messages: Sequence[ChatMessage], image: Image | None) -> Generator[str, None, None]:
        import httpx2
        from openai import OpenAIError

        is_finished = False
        try:
            with self.client.chat.completions.create(
                model=self.name,
                messages=to_openai_messages(messages, image),
                max_tokens=self.max_new_tokens,
                temperature=0,  # greedy, as local models answer
                stream=True,
            ) as stream:
                for event in stream:
                    if not event.choices:
                        continue
                    is_finished = is_finished or bool(event.choices[0].finish_reason)
                    if piece := event.choices[0].delta.content:
                        yield piece
                is_finished = is_finished or getattr(stream.response.stream, "is_finished", False)
        # A reply that is not of the protocol fails anywhere in the client.
        except (OpenAIError, httpx2.HTTPError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            message = redact(f"{error}", LIMITS.message_characters)
            raise EndpointError(
                f"The endpoint {redact(str(self.client.base_url))} gave no answer from the model {self.name!r} ({message}); "
                "check the address, the model's name and the key."
            ) from None
        if not is_finished:
            raise EndpointError(
                f"The answer of the model {self.name!r} was cut: the endpoint {redact(str(self.client.base_url))} closed its stream "
                "without an end. Ask again."
            )

    def _batch_replies(self, conversations: Sequence[DecodedConversation]) -> list[str]:
        with ThreadPoolExecutor(max_workers=max(len(conversations), 1)) as pool:
            return list(pool.map(lambda conversation: "".join(self._stream_reply(*conversation)), conversations))


def _make_http_client(timeout: float) -> httpx2.Client:
    """Make an HTTP client that follows no redirect, which would take prompts and keys along, and bounds every response."""
    import httpx2

    class BoundedStream(httpx2.SyncByteStream):
        """The body of a response, which must be complete in time and may not be too large."""

        def __init__(self, stream: httpx2.SyncByteStream) -> None:
            self.stream, self.deadline, self.is_finished = stream, time.monotonic() + timeout, False

        def __iter__(self) -> Iterator[bytes]:
            size, tail = 0, b"\n"
            for chunk in self.stream:
                size += len(chunk)
                if time.monotonic() > self.deadline:
                    raise httpx2.ReadTimeout(f"the answer took longer than {timeout:g} seconds")
                if size > LIMITS.reply_bytes:
                    raise httpx2.ReadError(f"the answer is larger than {LIMITS.reply_bytes:,} bytes")
                tail += chunk
                self.is_finished = self.is_finished or any(line in tail for line in _LAST_LINES)
                tail = tail[-len(_LAST_LINES[0]) + 1 :]
                yield chunk

        def close(self) -> None:
            self.stream.close()

    class BoundedClient(httpx2.Client):
        def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
            # A few bytes can be compressed gigabytes.
            request.headers["accept-encoding"] = "identity"
            response = super().send(request, stream=True, **options | {"follow_redirects": False})
            if response.headers.get("content-encoding", "identity") != "identity":
                response.close()
                raise httpx2.DecodingError("the answer is compressed, though no compression was asked for")
            response.stream = BoundedStream(response.stream)  # type: ignore[arg-type]  # a synchronous client's stream
            if not stream:
                response.read()
            return response

    return BoundedClient(timeout=timeout, limits=httpx2.Limits(max_connections=2 * RemoteChat.concurrency))


def to_openai_messages(messages: Sequence[ChatMessage], image: Image | None) -> list[ChatCompletionMessageParam]:
    """Convert messages to the endpoint's format, with the image as a data URL before the text of the first question."""
    converted: list[Any] = []
    pending = image
    for message in messages:
        content: Any = message["content"]
        if message["role"] == "user" and pending is not None:
            # PNG keeps every pixel; JPEG would blur small rendered scenes.
            url = to_data_url(pending, "PNG")
            content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": content}]
            pending = None
        converted.append({"role": message["role"], "content": content})
    return converted
