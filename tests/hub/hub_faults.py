"""What the local Hub does wrong on purpose: errors, cut connections, and requests that wait until a test lets them go.

`POST /_fault` asks for a fault, `GET /_held` answers when requests are held, `GET /_gone` when the client of one has died,
`POST /_release` lets them go on. This file knows requests; it knows no repository.
"""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

CUT, HOLD = 0, 1
"""Statuses of faults that cut the connection instead of answering, and that keep the request waiting until `/_release`."""
SHORT, TEXT, EMPTY, SHAPE, STALL, REDIRECT = 2, 3, 4, 5, 6, 7
"""Statuses of faults that cut a body, answer in HTML, answer nothing, answer JSON of another shape, never answer, and redirect in a
circle; those that answer do so with status 200."""
STALL_SECONDS = 20
router = APIRouter()
faults: list[dict] = []
held: list[tuple[asyncio.Event, tuple[str, int]]] = []
"""Requests that wait, and whose they are."""
connections: dict[tuple[str, int], asyncio.Transport] = {}


class Cuttable(H11Protocol):
    """uvicorn's HTTP, its connections within reach of a fault that cuts them."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        connections[transport.get_extra_info("peername")] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        connections.pop(self.transport.get_extra_info("peername"), None)
        super().connection_lost(exc)


async def meet(request: Request, call_next) -> Response:
    """Carry a request out, or let it meet the first fault that is meant for it."""
    fault = _meant_for(f"{request.method} {request.url.path}")
    if fault is None:
        return await call_next(request)
    if fault["status"] == HOLD:
        await request.body()
        connections[tuple(request.client)].resume_reading()  # or it would not tell that its client is gone
        held.append((released := asyncio.Event(), tuple(request.client)))
        await released.wait()
        there = tuple(request.client) in connections
        return await call_next(request) if there else Response(status_code=410)  # nobody waits for it any more
    if fault.get("after"):
        await call_next(request)
    if fault["status"] == CUT:
        connections[tuple(request.client)].abort()
    if fault["status"] in range(SHORT, REDIRECT + 1):
        return await _answer_oddly(fault["status"], request)
    headers = {"Retry-After": "0"} if fault["status"] == 429 else {}
    return JSONResponse({"error": "a fault that the test asked for"}, fault["status"] or 500, headers)


async def _answer_oddly(kind: int, request: Request) -> Response:
    if kind == STALL:
        await asyncio.sleep(STALL_SECONDS)
    match kind:
        case 2:
            return Response(b'{"success": tr', headers={"Content-Length": "1000", "Content-Type": "application/json"})
        case 3:
            return Response("<!doctype html><title>Be right back</title>", media_type="text/html")
        case 5:
            return JSONResponse([{"what": None}])
        case 7:
            return Response(status_code=307, headers={"Location": str(request.url)})
    return Response()


def _meant_for(line: str) -> dict | None:
    for fault in faults:
        if fault["times"] > 0 and re.search(fault["pattern"], line):
            if not fault.get("skip"):
                fault["times"] -= 1
                return fault
            fault["skip"] -= 1
    return None


@router.post("/_fault")
async def ask_for_fault(request: Request) -> dict:
    """{"pattern": regex over "METHOD /path", "status": int, `CUT` or `HOLD`, "times": int,
    "skip": how many to let through before, "after": carry it out before failing}."""
    faults.append(await request.json())
    return {}


@router.get("/_unmet")
async def unmet() -> int:
    """How many times faults that were asked for are still to come."""
    return sum(fault["times"] for fault in faults)


@router.get("/_held")
async def wait_for_held(count: int) -> dict:
    """Answer as soon as so many requests are held."""
    while len(held) < count:
        await asyncio.sleep(0.005)
    return {}


@router.get("/_gone")
async def wait_for_gone() -> dict:
    """Answer as soon as the client of the held requests is known to be gone, whichever connections it had."""
    while any(client in connections for _, client in held):
        await asyncio.sleep(0.005)
    return {}


@router.post("/_release")
async def release() -> dict:
    """Let the held requests go on, and hold no more."""
    faults[:] = [fault for fault in faults if fault["status"] != HOLD]
    while held:
        held.pop()[0].set()
    return {}
