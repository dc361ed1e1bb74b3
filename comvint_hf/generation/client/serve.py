"""Runs the server of a model for as long as it is needed: `--serve "vllm serve {model} --port {port}"`.

The server is a process group of its own. It is restarted when it dies, and ended with the run, however the run ends: a second
small process ends it even after `kill -9`. This module knows processes, ports and HTTP statuses, and nothing of prompts.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlsplit

from comvint_hf.errors import EndpointError, InputError
from comvint_hf.strict_reader import clean_text, redact

MAX_RESTARTS = 3
"""Deaths in a row after which a server is given up."""
STABLE_SECONDS = 600.0
"""A server that lived so long starts with no deaths again."""
STOP_SECONDS = 10.0
"""Seconds that a server has to end itself."""
_TAIL_LINES, _TAIL_BYTES = 3, 4000
_PORT = re.compile(r"(?:--port|-p)(?:[ =])(\d+)\b")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_NO_HEALTH = (404, 405, 501)
"""Statuses of servers that have no /health, as Ollama."""
_WATCHDOG = """
import os, signal, sys, time
sys.stdin.read()
for number in (signal.SIGTERM, signal.SIGKILL):
    try:
        os.killpg(int(sys.argv[1]), number)
    except OSError:
        break
    time.sleep(5)
"""


@dataclass(frozen=True)
class ServerCommand:
    """A command line that starts a server, and the address at which it answers."""

    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    base_url: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.base_url)
        return parts.hostname or "127.0.0.1", parts.port or 80


def parse_command(command: str, model: str = "", base_url: str | None = None) -> ServerCommand:
    """Parse a command line: `{port}` becomes a free port and `{model}` the model's name; `NAME=VALUE` may stand before it.

    >>> parse_command("python serve.py --port 8123").base_url
    'http://127.0.0.1:8123/v1'

    Raises:
        InputError: For a command that cannot be read or found, and where the server's port is not known.
    """
    if not hasattr(os, "killpg"):
        raise InputError("--serve needs process groups, which this system lacks: start the server yourself and give --base-url.")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--serve {command!r} cannot be read as a command line ({error}).") from error
    if "{port}" in command:
        if base_url is not None:
            raise InputError("--serve with {port} chooses the address itself: leave out --base-url, or write the port instead.")
        port = str(_find_free_port())
    elif base_url is None:
        found = _PORT.search(command)
        if not found:
            raise InputError(
                f"--serve {command!r} names no port: write {{port}} where the server's port goes, or give --base-url."
            )
        port = found[1]
    else:
        port = ""
    words = [word.replace("{port}", port).replace("{model}", model) for word in words]
    environment = []
    while words and _ASSIGNMENT.fullmatch(words[0]):
        name, _, value = words.pop(0).partition("=")
        environment.append((name, value))
    if not words or shutil.which(words[0]) is None:
        raise InputError(f"--serve {command!r}: there is no program {words[0] if words else ''!r}. Install it, or give its path.")
    return ServerCommand(tuple(words), tuple(environment), base_url or f"http://127.0.0.1:{port}/v1")


class ModelServer:
    """A server that runs while this context is open.

    Args:
        command: How it starts, and where it answers.
        log: The file that its output is added to.
        timeout: Seconds that it has to become healthy, each time that it starts.
        on_failure: Called, in another thread, when it is given up; `failure` is set then.
        backoff: Seconds before the first restart; each further one waits twice as long.

    Raises:
        EndpointError: When its port is taken, when it dies before it is healthy, and when it takes too long.
    """

    def __init__(
        self,
        command: ServerCommand,
        log: Path,
        *,
        timeout: float = 900.0,
        on_failure: Callable[[], None] = lambda: None,
        backoff: float = 0.5,
    ) -> None:
        self.command = command
        self.log = log
        self.timeout = timeout
        self.failure: EndpointError | None = None
        self._on_failure = on_failure
        self._backoff = backoff
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._healthy_since = 0.0

    @property
    def base_url(self) -> str:
        return self.command.base_url

    def __enter__(self) -> Self:
        host, port = self.command.address
        if _accepts_connections(host, port):
            raise EndpointError(
                f"Port {port} is taken by another server: end that one, use it with --base-url, or write {{port}} in --serve for a "
                "free port."
            )
        try:
            process = self._launch()
            self._wait_until_healthy(process)
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._watch, args=(process,), name="watch-server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server with all its processes."""
        self._stopping.set()
        with self._lock:
            process, watchdog = self._process, self._watchdog
        if process is not None:
            _end_group(process)
        if watchdog is not None:
            _end_watchdog(watchdog)

    def _launch(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.log.open("ab") as log:
            if self._stopping.is_set():
                raise EndpointError("The server was stopped.")
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {redact(shlex.join(self.command.words))}\n".encode())
            log.flush()
            process = self._process = subprocess.Popen(
                self.command.words,
                env={**os.environ, **dict(self.command.environment)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if self._watchdog is not None:
                _end_watchdog(self._watchdog)
            self._watchdog = subprocess.Popen(
                [sys.executable, "-S", "-c", _WATCHDOG, str(process.pid)], stdin=subprocess.PIPE, start_new_session=True
            )
        return process

    def _wait_until_healthy(self, process: subprocess.Popen[bytes]) -> None:
        started = time.monotonic()
        pause = 0.05
        while not self._stopping.wait(pause):
            pause = min(1.0, pause * 1.5)
            is_healthy = is_server_healthy(self.base_url)
            if (code := process.poll()) is not None:
                raise EndpointError(f"The server ended before it answered ({_describe_exit(code)}).{self._describe_log()}")
            if is_healthy:
                self._healthy_since = time.monotonic()
                return
            if time.monotonic() - started > self.timeout:
                raise EndpointError(
                    f"The server did not answer at {self.base_url} within {self.timeout:.0f} s: does it listen there? A model that "
                    f"loads longer needs --serve-timeout.{self._describe_log()}"
                )

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Restart the server when it dies, until it is stopped or given up."""
        deaths = 0
        while True:
            code = process.wait()
            if self._stopping.is_set():
                return
            _end_group(process)  # its workers may live on and hold the port and the memory
            deaths = 1 if time.monotonic() - self._healthy_since > STABLE_SECONDS else deaths + 1
            if deaths > MAX_RESTARTS:
                self._give_up(EndpointError(f"The server died {deaths} times ({_describe_exit(code)}).{self._describe_log()}"))
                return
            if self._stopping.wait(self._backoff * 2 ** (deaths - 1)):
                return
            try:
                process = self._launch()
                self._wait_until_healthy(process)
            except (EndpointError, OSError) as error:
                if process.poll() is None:  # it takes too long, and would the next time
                    _end_group(process)
                    self._give_up(EndpointError(str(error)))
                    return

    def _give_up(self, failure: EndpointError) -> None:
        if not self._stopping.is_set():
            self.failure = failure
            self._on_failure()

    def _describe_log(self) -> str:
        """Where the server's output is, with its last lines."""
        with suppress(OSError):
            lines = self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").splitlines()
            said = [clean_text(redact(line.strip()), 200) for line in lines if line.strip() and not line.startswith("--- ")]
            if said:
                return f" Its last words: {' | '.join(said[-_TAIL_LINES:])}. Its log is {self.log}."
        return f" It said nothing; its log is {self.log}."


def is_server_healthy(base_url: str) -> bool:
    """Whether a server answers: /health says so or, where there is none, the list of its models."""
    parts = urlsplit(base_url)
    status = _get_status(f"{parts.scheme}://{parts.netloc}/health")
    return status == 200 or (status in _NO_HEALTH and _get_status(f"{base_url.rstrip('/')}/models") == 200)


def _get_status(url: str) -> int | None:
    """The HTTP status of an address; `None` where nothing answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not reach this machine
    try:
        with opener.open(url, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return None


def _find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _accepts_connections(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: SIGTERM first, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def _end_watchdog(watchdog: subprocess.Popen[bytes]) -> None:
    watchdog.kill()
    watchdog.wait()
    pipe: IO[bytes] | None = watchdog.stdin
    if pipe is not None:
        pipe.close()


def _describe_exit(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
