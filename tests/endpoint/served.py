"""A model's server as `--serve` starts one: the full writer as a process, which can load slowly, die, or never answer.

`python tests/endpoint/served.py --port 8123`; /health answers as those of vLLM and llama.cpp do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from endpoint.full_writer import endpoint_settings
from endpoint.server import Endpoint
from endpoint.wire import Connection, Request, Response


class Server:
    """The endpoint behind /health; it dies in the middle of the request number `die_at`, on its first `deaths` starts."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.endpoint = Endpoint(**endpoint_settings())
        self.ready_at = time.monotonic() + asked.load
        self.has_health = not asked.no_health
        self.never = asked.never
        self.left = asked.die_at if asked.state is None or count_start(asked.state) <= asked.deaths else 0
        self.requests = asked.requests

    def __call__(self, request: Request) -> Response:
        is_ready = not self.never and time.monotonic() >= self.ready_at
        if request.path == "/health" and self.has_health:
            return Response.of({"status": "ok" if is_ready else "loading"}, 200 if is_ready else 503)
        if not is_ready:
            return Response.of({"error": {"message": "Loading model", "code": 503}}, 503)
        if request.path.endswith("/chat/completions"):
            if self.requests:
                with self.requests.open("a") as log:
                    log.write(f"{os.getpid()}\n")
            if self.left == 1:
                print("CUDA out of memory", flush=True)
                os._exit(9)
            self.left -= 1
        return self.endpoint(request)


def count_start(state: Path) -> int:
    """Count the starts in a file."""
    count = int(state.read_text()) + 1 if state.exists() else 1
    state.write_text(str(count))
    return count


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody waited for stays in the table."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


async def listen(server: Server, port: int) -> None:
    listening = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", port)
    print(f"listening on {port}, token {os.environ.get('TOY_TOKEN', 'none')}", flush=True)
    async with listening:
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--load", type=float, default=0.0, help="seconds until it is healthy")
    parser.add_argument("--never", action="store_true", help="never be healthy")
    parser.add_argument("--no-health", action="store_true", help="have no /health")
    parser.add_argument("--die-at", type=int, default=0, help="die in this request")
    parser.add_argument("--deaths", type=int, default=1, help="on the first so many starts")
    parser.add_argument("--state", type=Path, help="the file that counts the starts")
    parser.add_argument("--requests", type=Path, help="a file that gets this process's number at each request")
    parser.add_argument("--child", type=Path, help="start a process of its own, and write its number here")
    asked = parser.parse_args()
    if asked.child:
        asked.child.write_text(str(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]).pid))
    asyncio.run(listen(Server(asked), asked.port))


if __name__ == "__main__":
    main()
