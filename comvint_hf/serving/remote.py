"""Chat with a model behind an OpenAI-compatible endpoint (vLLM, TGI, llama.cpp, ...)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import Conventions
from comvint_hf.errors import EndpointError, InputError
from comvint_hf.images import to_data_url
from comvint_hf.serving.chat import BaseChat, ChatMessage, DecodedConversation

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam
    from PIL.Image import Image


class RemoteChat(BaseChat):
    """A chat with a model of an endpoint.

    Args:
        base_url: The endpoint, like http://localhost:8000/v1.
        model: The endpoint's name of the model.
        api_key: The key, by default `OPENAI_API_KEY`; most local servers need none.
        conventions: The model's box format and pixel bounds, which the endpoint cannot tell: read them from the model's folder.
        max_new_tokens: The longest reply.
        timeout: Seconds to wait for the endpoint.

    Raises:
        EndpointError: While answering, if the endpoint refuses or cannot be reached, with its own message.
    """

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
        self.client = OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=2)
        self.name = model
        self.conventions = conventions or Conventions()
        self.max_new_tokens = max_new_tokens

    def _stream_reply(self, messages: Sequence[ChatMessage], image: Image | None) -> Generator[str, None, None]:
        from openai import OpenAIError

        try:
            with self.client.chat.completions.create(
                model=self.name,
                messages=to_openai_messages(messages, image),
                max_tokens=self.max_new_tokens,
                temperature=0,  # greedy, as local models answer
                stream=True,
            ) as stream:
                for event in stream:
                    if event.choices and (piece := event.choices[0].delta.content):
                        yield piece
        except OpenAIError as error:
            raise EndpointError(
                f"The endpoint {self.client.base_url} gave no answer from the model {self.name!r} ({error}); "
                "check the address, the model's name and the key."
            ) from error

    def _batch_replies(self, conversations: Sequence[DecodedConversation]) -> list[str]:
        with ThreadPoolExecutor(max_workers=max(len(conversations), 1)) as pool:
            return list(pool.map(lambda conversation: "".join(self._stream_reply(*conversation)), conversations))


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
