"""Reads what a provider says of a batch: its state, and the lines of its result files. Nothing here is taken on trust."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from comvint_hf.errors import EndpointError, InputError
from comvint_hf.strict_reader import LIMITS, bounded_int, parse_json, redact

if TYPE_CHECKING:
    import httpx2

    from comvint_hf.generation.client.batch_queue import PendingRequest

_LONGEST_ID = 512


def check_id(value: object) -> str:
    """Return an id of the provider. Raises `ValueError` for anything that is no short printable text."""
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable():
        return value
    raise ValueError("an id that is no short text")


class BatchState(NamedTuple):
    """The state of a batch; `problem` is the code and the message of a failed validation."""

    status: str
    file_ids: tuple[str, ...]
    completed: int
    total: int
    problem: str
    problem_message: str

    @classmethod
    def parse(cls, state: Any) -> BatchState:
        """Read the openai client's object, which takes fields of any type. Raises `ValueError` for an id that is none."""
        counts = state.request_counts
        completed, total = (bounded_int(getattr(counts, name, None), 0, 10**9, default=0) for name in ("completed", "total"))
        problems = getattr(state.errors, "data", None)
        first = problems[0] if isinstance(problems, list) and problems else None
        message = redact(str(getattr(first, "message", "")), LIMITS.message_characters)
        return cls(
            status=str(state.status),
            file_ids=tuple(check_id(file_id) for file_id in (state.output_file_id, state.error_file_id) if file_id),
            completed=completed or 0,
            total=total or 0,
            problem=f"{getattr(first, 'code', '')} {message}",
            problem_message=message,
        )


@dataclass
class BatchResults:
    """The results of a batch while its files are read.

    Attributes:
        requests: The requests without a result, by custom id.
        replied: Custom ids with a good reply.
        failed: The errors of the others, by custom id.
        unreadable: Lines that are no result of this batch.
        stop: An error that ends the run if no reply came at all.
    """

    requests: dict[str, PendingRequest]
    replied: set[str] = field(default_factory=set)
    failed: dict[str, Exception] = field(default_factory=dict)
    unreadable: int = 0
    stop: EndpointError | None = None
    _seen: set[str] = field(default_factory=set)

    def begin_file(self) -> None:
        """Forget which lines were read, because a file is read from its beginning."""
        self._seen = set()

    def parse_line(self, line: bytes | None) -> tuple[PendingRequest, dict[str, Any]] | None:
        """The request and the result of a line; `None` for one that is read already or, counted, cannot be read."""
        if line is not None and not line.strip():
            return None
        try:
            if line is None:
                raise InputError("The line is too long.")
            result = parse_json(line, what="The line", max_bytes=LIMITS.batch_line_bytes, allow_non_finite=True)
            custom_id = result["custom_id"]
            request = self.requests[custom_id]
        except (InputError, LookupError, TypeError):
            self.unreadable += 1
            return None
        if custom_id in self._seen:
            self.unreadable += 1
        # A good reply stays, whatever a second line of the same request says.
        if custom_id in self.replied:
            return None
        self._seen.add(custom_id)
        return request, result


async def iter_lines(response: httpx2.Response) -> AsyncGenerator[bytes | None, None]:
    """Yield the lines of a result file, and `None` for one that is too long to be kept."""
    from comvint_hf.endpoint.bounded_http import iter_bounded

    line, too_long = bytearray(), False
    async with aclosing(iter_bounded(response, LIMITS.batch_file_bytes)) as chunks:
        async for chunk in chunks:
            first, *others = chunk.split(b"\n")
            if not too_long:
                line += first
            too_long = too_long or len(line) > LIMITS.batch_line_bytes
            for part in others:
                yield None if too_long else bytes(line)
                line, too_long = bytearray(part), len(part) > LIMITS.batch_line_bytes
    if line or too_long:
        yield None if too_long else bytes(line)
