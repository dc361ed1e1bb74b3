"""A builder in a process of its own, asking the local endpoint, which answers as the annotations would."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from endpoint.answers import Rehearsed
from endpoint.server import Endpoint

from comvint_hf import AnnotationLLM, LLMs, load_scenes
from comvint_hf.synthesis.recipes import SVIT_TASKS, svit

BUILDERS = Path(__file__).parents[2] / "builders"


def rehearse(spec: str, tasks: tuple[str, ...] = tuple(SVIT_TASKS), limit: int | None = None) -> Rehearsed:
    """What the annotations answer to every prompt of a build, those that ask again for what is missing included."""
    heard = Rehearsed()
    llm = heard.listen(AnnotationLLM())
    llm.deterministic = False

    async def run() -> None:
        for scene in load_scenes(spec, limit=limit):
            await svit(tasks).run(scene, LLMs.one(llm))

    asyncio.run(run())
    return heard


def start(url: str, out: Path, *more: object, scenes: str = "shapes:24", script: str = "svit") -> subprocess.Popen[str]:
    command = [sys.executable, str(BUILDERS / f"{script}.py"), "--scenes", scenes, "--llm", "toy-model"]
    command += ["--base-url", url, "--out", str(out), *map(str, more)]
    environment = {**os.environ, "OPENAI_API_KEY": "local", "COLUMNS": "150"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Wait for the end; gives what was said on stdout and stderr."""
    told, said = child.communicate(timeout=200)
    assert child.returncode == code, said[-3000:]
    assert "Traceback" not in said
    return told, said


def until(child: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Let the builder work until something is so."""
    while not reached():
        assert child.poll() is None, child.stderr.read()
        os.sched_yield()


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=60)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the dataset, byte for byte; the state folder is left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".build" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def asked_of(endpoint: Endpoint, start: str) -> list[str]:
    """The prompts that were sent and hold this text, once each."""
    return [text for text in dict.fromkeys(text for _, text in endpoint.arrivals) if start in text]
