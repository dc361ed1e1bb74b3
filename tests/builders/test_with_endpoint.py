"""The builders against a local OpenAI-compatible endpoint: paid once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from endpoint.answers import Rehearsed
from endpoint.server import Endpoint, serve

from comvint_hf import AnnotationLLM, LLMs, load_scenes
from comvint_hf.synthesis.recipes import svit

BUILDERS = Path(__file__).parents[2] / "builders"
SCENES = 24


@pytest.fixture(scope="module")
def rehearsed() -> Rehearsed:
    """What the annotations answer to every prompt of the run."""
    heard = Rehearsed()
    llms = LLMs.one(heard.listen(AnnotationLLM()))

    async def run() -> None:
        for scene in load_scenes(f"shapes:{SCENES}"):
            await svit().run(scene, llms)

    asyncio.run(run())
    return heard


def start(url: str, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(BUILDERS / "svit.py"), "--scenes", f"shapes:{SCENES}", "--llm", "toy-model"]
    command += ["--base-url", url, "--out", str(out), "--shard-scenes", "5", *more]
    environment = {**os.environ, "OPENAI_API_KEY": "local", "COLUMNS": "150"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> str:
    told, said = child.communicate(timeout=120)
    assert child.returncode == 0, said[-3000:]
    return told


def parquet(folder: Path) -> dict[str, list[dict]]:
    return {str(path.relative_to(folder)): pq.read_table(path).to_pylist() for path in sorted(folder.rglob("*.parquet"))}


@pytest.fixture(scope="module")
def whole(rehearsed, tmp_path_factory) -> tuple[Path, int]:
    """An uninterrupted run: its dataset and how many replies it paid for."""
    out, endpoint = tmp_path_factory.mktemp("whole") / "set", Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        assert "requests" in finish(start(url, out)).splitlines()[-1]
    return out, endpoint.paid.total()


def test_a_model_behind_an_endpoint_fills_rows_under_its_name(whole) -> None:
    out, paid = whole
    rows = [row for rows in parquet(out).values() for row in rows]
    assert len({row["image_id"] for row in rows}) == SCENES and {row["generator"] for row in rows} == {"toy-model"}
    assert paid >= 4 * SCENES
    assert "written by | toy-model" in (out / "README.md").read_text()


def test_killed_and_run_again_nothing_is_paid_twice_and_the_bytes_are_the_same(rehearsed, whole, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.02)
    with serve(endpoint) as url:
        for stop in (10, 35, 60):
            child = start(url, tmp_path / "set", "--concurrency", "4")
            while endpoint.paid.total() < stop:
                assert child.poll() is None, child.stderr.read()
                os.sched_yield()
            child.send_signal(signal.SIGKILL)
            child.communicate(timeout=60)
        finish(start(url, tmp_path / "set", "--concurrency", "4"))
    in_the_air = 3 * 4
    assert endpoint.paid.total() <= whole[1] + in_the_air, "only what was in the air when the process died is paid again"
    for name in ("README.md", "build.json", "stats.json"):
        assert (tmp_path / "set" / name).read_bytes() == (whole[0] / name).read_bytes(), name
    assert parquet(tmp_path / "set") == parquet(whole[0])


def test_a_batch_run_gives_the_same_rows_for_as_many_requests(rehearsed, whole, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        finish(start(url, tmp_path / "set", "--batch", "--poll", "0.05"))
    assert endpoint.batches and endpoint.paid.total() == whole[1]
    assert parquet(tmp_path / "set") == parquet(whole[0])


def test_the_budget_stops_the_run_and_more_money_goes_on(rehearsed, whole, tmp_path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["toy-model"]\ninput = 100\noutput = 200\n')
    endpoint = Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        poor = start(url, tmp_path / "set", "--budget", "5", "--prices", str(prices), "--concurrency", "1")
        _, said = poor.communicate(timeout=120)
        assert poor.returncode == 1 and "budget" in said.lower() and "Traceback" not in said
        assert endpoint.paid.total() < whole[1] and not (tmp_path / "set" / "README.md").exists()
        finish(start(url, tmp_path / "set", "--budget", "500", "--prices", str(prices)))
    assert endpoint.paid.total() == whole[1]
    assert parquet(tmp_path / "set") == parquet(whole[0])
