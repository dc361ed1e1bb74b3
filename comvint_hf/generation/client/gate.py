"""Holds requests back while one of them finds out what the endpoint takes, so that the others need not fail for the same."""

from __future__ import annotations

import asyncio


class Gate:
    """A gate that one request closes and opens again; the others wait in front of it."""

    def __init__(self) -> None:
        self._opened: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        return self._opened is not None

    def close(self) -> None:
        """Close the open gate."""
        self._opened = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        """Open the gate, if it is closed, and let all go on."""
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)
        self._opened = None

    async def wait(self) -> None:
        """Wait until the gate is open."""
        while (opened := self._opened) is not None:
            await asyncio.wait((opened,))
