"""A builder in a process of its own, asking the local endpoint, which answers as the annotations would."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from endpoint.answers import RecordedReplies
from endpoint.server import Endpoint

from comvint_hf import AnnotationLLM, LLMs, load_scenes
from comvint_hf.generation.recipes.svit import SVIT_TASKS, svit

BUILDERS = Path(__file__).parents[2] / "builders"
PATIENCE = 3600
"""Seconds after which a process counts as hung. It is no limit of speed: a busy machine may take many minutes."""
started: list[subprocess.Popen[str]] = []
"""Every process of `run`; `conftest` kills those that a failed test leaves behind."""


def rehearse(spec: str, tasks: tuple[str, ...] = tuple(SVIT_TASKS), limit: int | None = None) -> RecordedReplies:
    """What the annotations answer to every prompt of a build, those that ask again for what is missing included."""
    recorded = RecordedReplies()
    llm = recorded.record(AnnotationLLM())
    llm.deterministic = False

    async def run() -> None:
        for scene in load_scenes(spec, limit=limit):
            await svit(tasks).run(scene, LLMs.one(llm))

    asyncio.run(run())
    return recorded


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a builder."""
    command = [sys.executable, str(BUILDERS / f"{script}.py"), *map(str, arguments)]
    environment = {**os.environ, "OPENAI_API_KEY": "local", "COLUMNS": "150"}
    started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return started[-1]


def start(url: str, out: Path, *more: object, scenes: str = "shapes:24", script: str = "svit") -> subprocess.Popen[str]:
    """Start a builder that asks an endpoint."""
    return run(script, "--scenes", scenes, "--llm", "toy-model", "--base-url", url, "--out", out, *more)


def finish(child: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Wait for the end; gives what was said on stdout and stderr."""
    told, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == code, said[-3000:]
    assert "Traceback" not in said
    return told, said


def until(child: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Let the builder work until something is so, and look now and then without taking its processor."""
    over = time.monotonic() + PATIENCE
    while not reached():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < over, f"this did not happen in {PATIENCE} s"
        time.sleep(0.002)


def kill(child: subprocess.Popen[str]) -> None:
    """`kill -9`, and wait until its workers are gone too: they hold its pipes."""
    child.kill()
    child.communicate(timeout=PATIENCE)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the dataset, byte for byte; the state folder is left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".build" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def asked_of(endpoint: Endpoint, start: str) -> list[str]:
    """The prompts that were sent and hold this text, once each."""
    return [text for text in dict.fromkeys(text for _, text in endpoint.arrivals) if start in text]
