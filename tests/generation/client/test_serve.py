"""`--serve` with real processes: they start, load, die, are restarted, and leave nothing behind."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from endpoint.asking import QA, ask_all, opened, toy_prompt
from endpoint.served import is_running

from comvint_hf.errors import EndpointError, InputError
from comvint_hf.generation.client import serve
from comvint_hf.generation.client.serve import ModelServer, is_server_healthy, parse_command

SERVED = Path(__file__).parents[2] / "endpoint" / "served.py"


def command(*flags: object) -> str:
    return shlex.join([sys.executable, str(SERVED), "--port", "{port}", *map(str, flags)])


def start(tmp_path: Path, *flags: object, **options) -> ModelServer:
    return ModelServer(parse_command(command(*flags)), tmp_path / "server.log", **{"backoff": 0.01, "timeout": 60, **options})


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)


@pytest.mark.parametrize("flags", [("--load", 0.3), ("--no-health", "--load", 0.3)], ids=["health", "models"])
def test_a_server_is_used_when_it_is_healthy_and_ended_with_all_its_processes(flags, tmp_path) -> None:
    with start(tmp_path, *flags, "--child", tmp_path / "child") as server:
        assert is_server_healthy(server.base_url)
        child = int((tmp_path / "child").read_text())
        assert is_running(child)
    assert not is_server_healthy(server.base_url)
    until(lambda: not is_running(child))
    assert "listening on" in server.log.read_text()


async def ask_through(server: ModelServer, cache: Path, count: int) -> list:
    async with opened(server.base_url, cache, supervised=True, concurrency=4) as llm:
        return await ask_all(llm, (toy_prompt(number) for number in range(count)), QA, 4)


def test_prompts_in_flight_are_asked_again_when_a_server_dies(tmp_path) -> None:
    import asyncio

    flags = ("--die-at", 5, "--deaths", 2, "--state", tmp_path / "starts", "--requests", tmp_path / "requests")
    with start(tmp_path, *flags) as server:
        replies = asyncio.run(ask_through(server, tmp_path / "c.sqlite", 20))
    assert [type(reply) for reply in replies] == [QA] * 20 and server.failure is None
    assert (tmp_path / "starts").read_text() == "3" and "CUDA out of memory" in server.log.read_text()
    assert len(set((tmp_path / "requests").read_text().split())) == 3


def test_a_server_that_dies_before_its_first_answer_is_waited_for_too(tmp_path) -> None:
    import asyncio

    with start(tmp_path, "--die-at", 1, "--state", tmp_path / "starts", "--load", 0.5) as server:
        assert [type(reply) for reply in asyncio.run(ask_through(server, tmp_path / "c.sqlite", 3))] == [QA] * 3


def test_a_server_that_dies_again_and_again_is_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(serve, "MAX_RESTARTS", 1)
    given_up = []
    with start(tmp_path, on_failure=lambda: given_up.append(True)) as server:
        for starts in (1, 2):
            until(
                lambda starts=starts: server.log.read_text().count("listening") == starts and is_server_healthy(server.base_url)
            )
            os.killpg(server._process.pid, signal.SIGKILL)
        until(lambda: bool(given_up))
    assert "died 2 times (killed by signal 9)" in str(server.failure) and str(server.log) in str(server.failure)


def test_a_server_that_never_answers_is_an_error_with_its_log(tmp_path) -> None:
    server = start(tmp_path, "--never", timeout=1.0)
    with pytest.raises(EndpointError, match=r"did not answer at http://127.0.0.1:\d+/v1 within 1 s.*server.log"):
        server.__enter__()
    until(lambda: not is_running(server._process.pid))


def test_a_server_that_ends_at_once_says_why(tmp_path) -> None:
    with pytest.raises(
        EndpointError, match=r"ended before it answered \(exit code 2\).*unrecognized arguments: --wrong.*server.log"
    ):
        start(tmp_path, "--wrong").__enter__()


def test_a_port_that_is_taken_is_no_server_of_ours(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = parse_command(f"{sys.executable} {SERVED} --port {port}")
        with pytest.raises(EndpointError, match=f"Port {port} is taken by another server"):
            ModelServer(found, tmp_path / "server.log").__enter__()
    assert not (tmp_path / "server.log").exists()


@pytest.mark.parametrize(
    ("line", "base_url", "said"),
    [
        ("no-such-server --port {port}", None, "there is no program 'no-such-server'"),
        ("python -m server", None, "names no port"),
        ("python 'server", None, "cannot be read as a command line"),
        ("python server --port {port}", "http://localhost:1/v1", "leave out --base-url"),
        ("A=1", "http://localhost:1/v1", "there is no program ''"),
    ],
)
def test_a_command_that_cannot_be_used_is_refused(line, base_url, said) -> None:
    with pytest.raises(InputError, match=said):
        parse_command(line, "m", base_url)


def test_a_command_gets_its_port_its_model_and_its_environment(tmp_path) -> None:
    program = shlex.quote(sys.executable)
    found = parse_command(f"TOY_TOKEN='a b' {program} --model {{model}} --json '{{\"a\": 1}}' --port {{port}}", "org/my model")
    port = found.base_url.removeprefix("http://127.0.0.1:").removesuffix("/v1")
    assert found.words[1:] == ("--model", "org/my model", "--json", '{"a": 1}', "--port", port)
    assert found.environment == (("TOY_TOKEN", "a b"),)
    assert parse_command(f"{program} -p 81").base_url == "http://127.0.0.1:81/v1"
    assert parse_command(f"{program}", base_url="http://localhost:82/v1").address == ("localhost", 82)
    with ModelServer(parse_command(f"TOY_TOKEN=mine {command()}"), tmp_path / "server.log") as server:
        assert "token mine" in server.log.read_text()


def test_even_a_killed_parent_leaves_no_server(tmp_path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from comvint_hf.generation.client.serve import *\n"
        "server = ModelServer(parse_command(sys.argv[1]), Path(sys.argv[2])).__enter__()\n"
        "print(server._process.pid, flush=True); time.sleep(600)"
    )
    words = [sys.executable, "-c", code, command("--child", tmp_path / "child"), str(tmp_path / "server.log")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        server = int(parent.stdout.readline())
        child = int((tmp_path / "child").read_text())
        assert is_running(server) and is_running(child)
        parent.kill()
    until(lambda: not is_running(server) and not is_running(child))


REPOSITORY = Path(__file__).parents[3]
WEIGHTS = REPOSITORY / "build" / "real" / "smollm2-135m.gguf"
TOOL = REPOSITORY.parent / "shared" / "tools" / "real_weights" / "serve_gguf"


def test_llama_cpp_serves_real_weights(tmp_path) -> None:
    import asyncio

    weights = Path(os.environ.get("REAL_GGUF", WEIGHTS))
    if not weights.exists() or not TOOL.exists():
        pytest.skip("there are no real weights here: make real fetches some, or REAL_GGUF names a file")
    pytest.importorskip("xllamacpp")
    line = shlex.join([sys.executable, str(TOOL), str(weights), "{port}", "1024", "2", "smollm2"])
    with ModelServer(parse_command(line), tmp_path / "server.log", timeout=120) as server:

        async def go() -> list:
            async with opened(server.base_url, tmp_path / "c.sqlite", "smollm2", supervised=True, max_tokens=60) as llm:
                return await ask_all(llm, [toy_prompt(1)], QA)

        assert asyncio.run(go())
    assert not is_server_healthy(server.base_url)
