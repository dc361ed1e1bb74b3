"""Finds out whose fault a refusal is whose words say nothing: the response format's, the prompt's, or everything's.

One request tries the laxer formats while the others wait. After several refusals the shortest question is asked: an endpoint that
replies to it refuses our prompts one by one, and each costs its own sample; one that does not ends the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comvint_hf.endpoint.messages import MODES, Mode
from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.generation.client.gate import Gate

if TYPE_CHECKING:
    from comvint_hf.endpoint.errors import RefusedFieldError
    from comvint_hf.generation.client.capabilities import Capabilities
    from comvint_hf.generation.client.retry import EndpointHealth

_MAX_CHANGES = 12
"""Most changes of one request to what the endpoint takes."""


@dataclass
class RequestShape:
    """How one request is sent differently from others, because the endpoint refused it or was silent.

    Attributes:
        mode: A laxer response format than the endpoint's usual one.
        max_tokens: The bound that the endpoint has named for this prompt.
        stream: Whether the reply is asked for in events.
        changes: How often it was refused for a field.
        is_probing: Whether others wait for what comes of it.
    """

    mode: Mode | None = None
    max_tokens: int | None = None
    stream: bool = False
    changes: int = 0
    is_probing: bool = False

    def change(self, error: RefusedFieldError) -> None:
        """Take over what a refusal says of this request. Raises `ReplyError` for one that is refused however it is changed."""
        self.changes += 1
        self.max_tokens = error.limit or self.max_tokens
        if error.field.name == "response_format" and self.mode is not None:
            self.mode = MODES[min(MODES.index(self.mode) + 1, len(MODES) - 1)]
        if self.changes > _MAX_CHANGES:
            raise ReplyError(f"The endpoint refuses the request however it is changed ({error}).")


class PromptRefusal(Exception):
    """A request was refused in words that say nothing.

    Attributes:
        mode: The response format whose fault it may be, because the endpoint has never replied in it.
        stop: What stops the run if the endpoint refuses everything.
        is_first: Whether this is the refusal after which that is found out.
    """

    def __init__(self, error: Exception, mode: Mode | None, *, stop: Exception | None = None, is_first: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.mode, self.stop, self.is_first = error, mode, stop, is_first


class RefusalJudge:
    """Judges the refusals of one endpoint; `gate` is closed while it finds something out.

    Args:
        capabilities: What the endpoint takes.
        health: The state of the endpoint.
        ask_shortest: Asks the shortest question there is, and says whether the endpoint replies.
    """

    def __init__(self, capabilities: Capabilities, health: EndpointHealth, ask_shortest: Callable[[], Awaitable[bool]]) -> None:
        self.gate = Gate()
        self._capabilities, self._health, self._ask_shortest = capabilities, health, ask_shortest
        self._has_probed = self._answers_shortest = False

    def judge(self, error: ReplyError, mode: Mode, shape: RequestShape) -> PromptRefusal:
        """What to raise for a refusal: the format may be at fault where it has never worked."""
        if self._capabilities.is_mode_proven or (self._has_probed and not self.gate.is_closed):
            return self._count(error)
        # The gate is closed at once, before the refused request frees its slot for another one.
        if not self.gate.is_closed:
            self.gate.close()
            self._has_probed = shape.is_probing = True
        return PromptRefusal(error, mode)

    async def settle(self, refusal: PromptRefusal, shape: RequestShape) -> Exception | None:
        """What to raise for a refused request, after what is to be found out has been; `None` where it is to be sent again."""
        if refusal.mode is None:
            return await self._conclude(refusal)
        assert isinstance(refusal.error, ReplyError)
        if not shape.is_probing:
            await self.gate.wait()
            if self._capabilities.mode == refusal.mode:
                return await self._conclude(self._count(refusal.error))
        elif refusal.mode == MODES[-1]:
            self.finish(shape)
            return await self._conclude(self._count(refusal.error))
        else:
            self._health.refused += 1
            shape.mode = MODES[MODES.index(refusal.mode) + 1]
        shape.changes += 1
        return None

    def finish(self, shape: RequestShape) -> None:
        """Let the others go on, if they wait for this request."""
        if shape.is_probing:
            shape.is_probing = False
            self.gate.open()

    def _count(self, error: ReplyError) -> PromptRefusal:
        """Count a refused prompt, and close the gate where the endpoint may be refusing everything."""
        if self._answers_shortest:
            return PromptRefusal(self._health.record_unfit_prompt(error), None)
        failure = self._health.record_refusal(error)
        stop = failure if isinstance(failure, EndpointError) else None
        is_first = stop is not None and not self.gate.is_closed
        if is_first:
            self.gate.close()
        return PromptRefusal(error, None, stop=stop, is_first=is_first)

    async def _conclude(self, refusal: PromptRefusal) -> Exception:
        if refusal.is_first:
            try:
                self._answers_shortest = await self._ask_shortest()
            finally:
                self.gate.open()
        await self.gate.wait()
        return refusal.error if refusal.stop is None or self._answers_shortest else refusal.stop
