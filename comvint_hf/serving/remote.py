"""A chat with a model behind an OpenAI-compatible endpoint (vLLM, TGI, llama.cpp, ...). Knows that protocol alone."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import Conventions
from comvint_hf.errors import EndpointError, InputError
from comvint_hf.serving.chat import Talk, Translating, Turn

if TYPE_CHECKING:
    from PIL.Image import Image


class RemoteChat(Translating):
    """Talk with `model` at `base_url`. The key is `OPENAI_API_KEY` unless given; most local servers need none.

    `conventions` say how the model writes boxes and how large pictures may be: read them from the adapter's folder, since
    the endpoint cannot tell. Raises `EndpointError` with the endpoint's own words when it refuses or cannot be reached.
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
        key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
        self.client = OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=2)
        self.name = model
        self.conventions = conventions or Conventions()
        self.max_new_tokens = max_new_tokens

    def _raw(self, messages: Sequence[Turn], image: Image | None) -> Iterator[str]:
        from openai import OpenAIError

        try:
            with self.client.chat.completions.create(
                model=self.name,
                messages=_with_image(messages, image),
                max_tokens=self.max_new_tokens,
                temperature=0,
                stream=True,
            ) as stream:
                for event in stream:
                    if event.choices and (piece := event.choices[0].delta.content):
                        yield piece
        except OpenAIError as error:
            raise EndpointError(
                f"The endpoint {self.client.base_url} did not answer for the model {self.name!r} ({error}); "
                "check the address, the model's name and the key."
            ) from error

    def _raw_batch(self, talks: Sequence[Talk]) -> list[str]:
        with ThreadPoolExecutor(max_workers=max(len(talks), 1)) as pool:
            return list(pool.map(lambda talk: "".join(self._raw(*talk)), talks))


def _with_image(messages: Sequence[Turn], image: Image | None) -> list[dict[str, Any]]:
    """The messages in the endpoint's form, the picture as a data URL before the first question's words."""
    sent: list[dict[str, Any]] = []
    pending = image
    for turn in messages:
        if turn["role"] == "user" and pending is not None:
            picture = {"type": "image_url", "image_url": {"url": _data_url(pending)}}
            sent.append({"role": "user", "content": [picture, {"type": "text", "text": turn["content"]}]})
            pending = None
        else:
            sent.append({"role": turn["role"], "content": turn["content"]})
    return sent


def _data_url(image: Image) -> str:
    buffer = io.BytesIO()
    # PNG keeps every pixel: small rendered scenes would suffer under JPEG.
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
