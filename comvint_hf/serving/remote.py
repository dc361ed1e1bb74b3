"""Chat with a model behind an OpenAI-compatible endpoint (vLLM, TGI, llama.cpp, ...)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import Conventions
from comvint_hf.endpoint.abilities import Abilities
from comvint_hf.endpoint.address import Endpoint, resolve_endpoint
from comvint_hf.endpoint.errors import RefusedFieldError, RetryableError, UnfitReplyError, classify_error
from comvint_hf.endpoint.event_stream import EventStream
from comvint_hf.endpoint.model_info import models_url, name_models, read_models
from comvint_hf.errors import ComvintError, EndpointError, InputError, ReplyError
from comvint_hf.images import to_data_url
from comvint_hf.serving.chat import BaseChat, ChatMessage, DecodedConversation
from comvint_hf.strict_reader import LIMITS, redact

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam
    from PIL.Image import Image

_MOST_CHANGES = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
"""Seconds between two tries of a question where the endpoint names none."""


class RemoteChat(BaseChat):
    """A chat with a model of an endpoint.

    Args:
        base_url: The endpoint, like http://localhost:8000/v1.
        model: The endpoint's name of the model.
        api_key: The key, by default the provider's environment variable; most local servers need none.
        conventions: The model's box format and pixel bounds, which the endpoint cannot tell: read them from the model's folder.
        max_new_tokens: The longest reply.
        timeout: Seconds of silence after which an answer has failed, and of waiting while the endpoint is busy.
        temperature: The sampling temperature; 0 is greedy, as local models answer. A model that takes none is asked without.
        extra_body: Further fields of every request.
        headers: Further HTTP headers of every request.

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
        temperature: float = 0.0,
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise InputError(f"The endpoint's address is {base_url!r}; expected one like http://localhost:8000/v1.")
        endpoint = _resolve(base_url, api_key)
        self.client = endpoint.create_blocking_client(connections=2 * self.concurrency, timeout=timeout, headers=headers)
        self.url = endpoint.url
        self.abilities = Abilities(endpoint.url, model, endpoint.max_tokens_name)
        self.fields = {"temperature": temperature, **(extra_body or {})}
        self.patience = timeout
        self.name = model
        self.conventions = conventions or Conventions()
        self.max_new_tokens = max_new_tokens

    def _stream_reply(self, messages: Sequence[ChatMessage], image: Image | None) -> Generator[str, None, None]:
        try:
            with closing(self._ask(to_openai_messages(messages, image))) as pieces:
                yield from pieces
        except ReplyError as error:
            raise EndpointError(str(error)) from None

    def _ask(self, messages: list[Any]) -> Generator[str, None, None]:
        """Ask, again in another way where the endpoint does not take the first, and later where it is busy.

        Raises `EndpointError`, and `ReplyError` for a question that is refused.
        """
        started, waits, changes, most = time.monotonic(), 0, 0, self.max_new_tokens
        while True:
            body = {"model": self.name, "messages": messages, **self.fields, "stream": True}
            body = self.abilities.shape(body, max_tokens=most, prompt_bytes=_count_bytes(messages))
            has_text = False
            try:
                for piece in self._stream_once(body):
                    has_text = True
                    yield piece
                return
            except RefusedFieldError as error:
                changes += 1
                if changes > _MOST_CHANGES:
                    raise self._make_error(error) from None
                most = self._adapt(error, body) or most
            except RetryableError as error:
                waits += 1
                delay = error.retry_after or min(_FIRST_WAIT * 2 ** (waits - 1), _LONGEST_WAIT)
                is_over = time.monotonic() - started + delay > self.patience or waits > (20 if error.throttled else 2)
                # A part of the answer was given out already, or its time is over.
                if has_text or error.timed_out or is_over:
                    raise self._make_error(error) from None
                time.sleep(delay)
            except UnfitReplyError as error:
                raise ReplyError(str(self._make_error(error))) from None

    def _adapt(self, error: RefusedFieldError, body: dict[str, Any]) -> int | None:
        """Learn what the endpoint does not take; the most tokens that it takes for this question, where it names them."""
        named = [name for name in self.fields if name != "temperature" and name in str(error)]
        if named:
            raise EndpointError(f"{self.url} refuses {', '.join(named)} of the further fields ({error}): leave it out.") from None
        return self.abilities.learn(error.field, str(error), body, _count_bytes(body["messages"])).limit

    def _stream_once(self, body: dict[str, Any]) -> Generator[str, None, None]:
        """Send a request and yield its text. Raises what `classify_error` makes of a failure."""
        import httpx2
        import openai

        events, has_text = None, False
        try:
            create = self.client.chat.completions.with_streaming_response.create
            with create(model=self.name, messages=body["messages"], extra_body=body) as response:
                events = EventStream(response.http_response.iter_bytes(), self.name, self.url)
                for piece in events:
                    has_text = True
                    yield piece
        except openai.APIError as error:
            raise self._name_models(classify_error(error, self.name, self.url)) from None
        except httpx2.TimeoutException as error:
            raise RetryableError(f"no answer in time ({redact(str(error))})", timed_out=True) from None
        except (httpx2.HTTPError, ValueError) as error:
            if isinstance(error, ComvintError):
                raise
            raise RetryableError(redact(f"{error}", LIMITS.message_characters), answered=True) from None
        if not events.is_finished:
            raise EndpointError(
                f"The answer of the model {self.name!r} was cut: the endpoint {self.url} closed its stream without an end. Ask again."
            )
        if rest := events.take_rest(has_text):
            yield rest
        elif not has_text and events.finish_reason == "length":
            warnings.warn(f"{self.name} spent all tokens of a reply on its thoughts: allow more of them.", stacklevel=2)

    def _name_models(self, failure: Exception) -> Exception:
        """The same failure; one of the model's name also says which ones are served."""
        import httpx2
        import openai

        if not (isinstance(failure, EndpointError) and failure.is_of_model):
            return failure
        try:
            models = read_models(self.client.get(models_url(self.url), cast_to=httpx2.Response).content)
        except (openai.APIError, httpx2.HTTPError):
            models = []
        return EndpointError(f"{failure}{name_models(models, self.name)}")

    def _make_error(self, error: Exception) -> EndpointError:
        return EndpointError(
            f"The endpoint {self.url} gave no answer from the model {self.name!r} ({error}); check the address, the model's name and "
            "the key."
        )

    def _batch_replies(self, conversations: Sequence[DecodedConversation]) -> list[str]:
        """Ask all at once. A question that is refused for itself has no answer, unless all are."""
        refused: list[ReplyError] = []

        def ask(conversation: DecodedConversation) -> str:
            try:
                return "".join(self._ask(to_openai_messages(*conversation)))
            except ReplyError as error:
                refused.append(error)
                return ""

        with ThreadPoolExecutor(max_workers=max(len(conversations), 1)) as pool:
            replies = list(pool.map(ask, conversations))
        if refused and len(refused) == len(conversations):
            raise EndpointError(f"All {len(refused):,} questions were refused; the last: {refused[-1]}")
        if refused:
            warnings.warn(f"{len(refused):,} questions were refused and have no answer; the first: {refused[0]}", stacklevel=2)
        return replies


def _resolve(base_url: str, api_key: str | None) -> Endpoint:
    """The endpoint with its key. A server that wants none may be anywhere, so a missing key is the server's to refuse."""
    try:
        return resolve_endpoint(base_url, api_key=api_key)
    except EndpointError:
        return resolve_endpoint(base_url, api_key="none")


def _count_bytes(messages: Sequence[Any]) -> int:
    """The bytes of the messages' text; images are left out."""
    contents = [message["content"] for message in messages]
    parts = [content if isinstance(content, str) else "".join(part.get("text", "") for part in content) for content in contents]
    return sum(len(part.encode()) for part in parts)


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
