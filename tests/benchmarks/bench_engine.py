"""Measure the LLM engine against a bare AsyncOpenAI loop, its cache, its faults and its kills; prints one table.

    python tests/benchmarks/bench_engine.py            all, about ten minutes on two quiet cores
    python tests/benchmarks/bench_engine.py throughput cached written faults poison kills memory

The server, the bare client and ours each run in a process of their own; bare and ours take turns on the same server, and
ratios are of medians. CPU is user plus system time of the client alone, the cost of starting Python left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from _endpoint import TESTS, log, server

sys.path.insert(0, str(TESTS))

WORDS = 300
CONCURRENCY = 64
MEGABYTES = 1.048576
"""In a MiB."""


def client(kind: str, url: str, count: int, cache: Path | str = "-") -> dict[str, Any]:
    """Run a client to its end; gives what it measured of itself."""
    command = [sys.executable, __file__, "--client", kind, url, str(count), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if not done.stdout.strip():
        raise SystemExit(done.stderr)
    return {**json.loads(done.stdout.splitlines()[-1]), "exit": done.returncode, "errors": done.stderr.strip()}


async def ask_bare(url: str, count: int) -> int:
    """The loop anybody would write first: a client, a schema, a fixed number of workers."""
    from endpoint.asking import QA, toy_prompt
    from openai import AsyncOpenAI

    from comvint_hf.generation.client.reply_parsing import build_schema

    numbers, form = iter(range(count)), build_schema(QA)
    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as bare:

        async def worker() -> None:
            for number in numbers:
                text = f"{toy_prompt(number, WORDS).text}\n\n{form.instruction}"
                wanted = form.response_format("json_schema")
                reply = await bare.chat.completions.create(
                    model="toy-model", messages=[{"role": "user", "content": text}], response_format=wanted
                )
                QA.model_validate_json(reply.choices[0].message.content)

        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    return 0


async def ask_ours(url: str, count: int, cache: str) -> int:
    """The same questions through the engine, with twice as many under way as may be sent; gives the failures."""
    from endpoint.asking import QA, toy_prompt

    from comvint_hf.errors import ReplyError
    from comvint_hf.generation.client.openai_llm import OpenAILLM

    llm = OpenAILLM("toy-model", base_url=url, cache=cache, concurrency=CONCURRENCY)
    numbers, failed = iter(range(count)), 0

    async def worker() -> None:
        nonlocal failed
        for number in numbers:
            try:
                await llm.ask(toy_prompt(number, WORDS), QA)
            except ReplyError as error:
                failed += 1
                print(error, file=sys.stderr)
            if number % 10_000 == 9_999:
                print(f"{number + 1} {memory():.0f} MiB", file=sys.stderr)

    await asyncio.gather(*(worker() for _ in range(2 * CONCURRENCY)))
    await llm.close()
    llm.cache.close()
    return failed


def memory() -> float:
    """Peak resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_client(kind: str, url: str, count: int, cache: str) -> None:
    import openai  # noqa: F401 - imported before the clock starts

    wall, cpu = time.perf_counter(), time.process_time()
    failed = asyncio.run(ask_bare(url, count) if kind == "bare" else ask_ours(url, count, cache))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"rate": count / wall, "wall": wall, "cpu_ms": cpu / count * 1000, "mib": memory(), "failed": failed}))
    sys.exit(1 if failed else 0)


def row(what: str, wanted: str, measured: str) -> None:
    print(f"| {what} | {wanted} | {measured} |", flush=True)


def throughput(folder: Path) -> None:
    for latency, count, wanted in (("0.05", 5000, 0.85), ("0.5", 1500, 0.97)):
        bare, ours = [], []
        with server("--latency", latency) as url:
            client("bare", url, 200)
            for turn in range(5):
                bare.append(client("bare", url, count))
                ours.append(client("ours", url, count, folder / f"{latency}-{turn}.sqlite"))
        rates, cpus = ([statistics.median(run[key] for run in runs) for runs in (bare, ours)] for key in ("rate", "cpu_ms"))
        row(f"requests/s, {latency} s", f">= {wanted}", f"{rates[1] / rates[0]:.2f} ({rates[0]:.0f} bare, {rates[1]:.0f} ours)")
        row(f"CPU ms above bare, {latency} s", "<= 0.25", f"{cpus[1] - cpus[0]:+.3f} ({cpus[0]:.3f} bare, {cpus[1]:.3f} ours)")
        peak, plain = (max(run["mib"] for run in runs) * MEGABYTES for runs in (ours, bare))
        row(f"peak MB, {count:,} prompts", "<= 120", f"{peak:.0f} ({plain:.0f} bare)")


def cached(folder: Path) -> None:
    with server() as url:
        client("ours", url, 10_000, folder / "cached.sqlite")
        before = log(url)["requests"]
        again = [client("ours", url, 10_000, folder / "cached.sqlite") for _ in range(3)]
        row("re-run of 10,000: requests", "0", str(log(url)["requests"] - before))
    row("re-run of 10,000: replies/s", ">= 15,000", f"{statistics.median(run['rate'] for run in again):,.0f}")


def written(folder: Path) -> None:
    """How long a reply is in hand and not yet on the disk, while other tasks keep the process busy."""
    from comvint_hf.generation.client.cache import Cache, RawReply

    cache, waits, paid = Cache(folder / "written.sqlite"), [], RawReply("x" * 600, "stop", "json_schema", 400, 100, 0.01)

    async def worker(first: int) -> None:
        for number in range(first, 5000, CONCURRENCY):
            began = time.perf_counter()
            await cache.add_reply(number.to_bytes(16, "big"), 0, paid, "toy-model", "toy/question")
            waits.append(time.perf_counter() - began)
            sum(range(10_000))

    async def work() -> None:
        await asyncio.gather(*map(worker, range(CONCURRENCY)))

    asyncio.run(work())
    cache.close()
    median, late = (statistics.quantiles(waits, n=100)[at] * 1000 for at in (49, 98))
    row("ms from a reply to the disk: median, 99 of 100", "", f"{median:.2f}, {late:.2f}")


def faults(folder: Path) -> None:
    clean, spoilt = [], []
    for turn in range(5):
        with server("--latency", "0.05") as url:
            clean.append(client("ours", url, 1000, folder / f"clean-{turn}.sqlite")["wall"])
        with server("--latency", "0.05", "--faults", "0.2") as url:
            spoilt.append(client("ours", url, 1000, folder / f"faults-{turn}.sqlite"))
            happened = log(url)["statuses"]
    good, kinds = 1000 - max(run["failed"] for run in spoilt), ", ".join(f"{count} {kind}" for kind, count in happened.items())
    row("20 % faults: good of 1,000", "1,000", f"{good:,} ({kinds})")
    walls = statistics.median(clean), statistics.median(run["wall"] for run in spoilt)
    row("20 % faults: wall against clean", "<= 2", f"{walls[1] / walls[0]:.2f} ({walls[0]:.1f} s, {walls[1]:.1f} s)")


def poison(folder: Path) -> None:
    with server("--latency", "0.05", "--never", "number 500 ") as url:
        run = client("ours", url, 1000, folder / "poison.sqlite")
    row(
        "one of 1,000 never succeeds",
        "999, 1 named, exit 1",
        f"{1000 - run['failed']}, {run['errors'].count('no usable reply')} named, exit {run['exit']}",
    )


def kept(cache: Path) -> int:
    """Replies in a cache file."""
    with closing(sqlite3.connect(cache)) as connection:
        return connection.execute("SELECT count(*) FROM replies").fetchone()[0]


def kills(folder: Path) -> None:
    draw, count, lost, cache = random.Random(0), 4000, [], folder / "kills.sqlite"
    with server("--latency", "0.05") as url:
        command = [sys.executable, __file__, "--client", "ours", url, str(count), str(cache)]
        while len(lost) < 20:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            deadline, begun = draw.uniform(0.05, 0.5), log(url)["paid"]
            while process.poll() is None and log(url)["paid"] == begun:
                time.sleep(0.01)
            time.sleep(deadline)
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            lost.append(log(url)["prompts"] - kept(cache))
        last = client("ours", url, count, cache)
        repeated = log(url)["repeated"]
    row(
        f"{len(lost)} kills of {count:,} prompts: paid requests lost",
        f"<= {CONCURRENCY} each",
        f"{min(lost)} to {max(lost)} each; {repeated} repeated in all; {count - last['failed']:,} good, exit {last['exit']}",
    )


def memory_of_many(folder: Path) -> None:
    with server() as url:
        run = client("ours", url, 100_000, folder / "many.sqlite")
    row(
        "peak MiB at 10,000 ... 100,000 requests",
        "flat, <= 400",
        ", ".join(line.split()[1] for line in run["errors"].splitlines()),
    )


MEASURES = {
    "throughput": throughput,
    "cached": cached,
    "written": written,
    "faults": faults,
    "poison": poison,
    "kills": kills,
    "memory": memory_of_many,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", default=list(MEASURES), help=", ".join(MEASURES))
    parser.add_argument("--client", nargs=4, metavar=("KIND", "URL", "COUNT", "CACHE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client:
        kind, url, count, cache = asked.client
        run_client(kind, url, int(count), cache)
    print("| | wanted | measured |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for measure in asked.measures:
            MEASURES[measure](Path(folder))


if __name__ == "__main__":
    main()
