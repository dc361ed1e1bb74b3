"""Ask the same questions through other synthetic-data frameworks, on the same local endpoint: speed, kills, faults, poison.

    python tests/benchmarks/compare_frameworks.py --set-up FOLDER      make an environment for each under FOLDER (pip; 3 GB)
    python tests/benchmarks/compare_frameworks.py FOLDER [--count 5000] [--quick] [bare comvint curator ...]

Prints one table. Time and CPU are those of a framework's processes from start to end, less those of a run of one prompt, so
the start of Python and its imports does not count; the best of runs that take turns on one server. Memory is the peak of the
largest process. "Asked twice" are replies that were paid for again after a `kill -9`, the mean of three on the way; "with the
endpoint" how many requests it had not answered yet when the process stopped, which nobody can save. A reply that is kept and is
no question with its answer is bad. A run that is not over after `--limit` seconds hangs, and is ended.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

from _endpoint import TESTS, log, server
from _frameworks import DOLLARS, FRAMEWORKS

FEWER = 1000
NEEDS = {
    "bare": ["openai"],
    "comvint": [str(TESTS.parent) + "[build]"],
    "curator": ["bespokelabs-curator"],
    "data_designer": ["data-designer"],
    "datatrove": ["datatrove[io]", "aiofiles", "aiosqlite", "httpx", "openai"],
    "distilabel": ["distilabel[openai]", "requests", "beautifulsoup4"],
}
KILLED_AT = (0.25, 0.5, 0.75)
"""Shares of the prompts paid for, in all runs so far, when a run is killed."""
KEEPS_A_BUDGET = ("comvint",)
"""Frameworks that have a setting for the most that may be spent."""
COLUMNS = (
    "version",
    "requests/s",
    "CPU ms each",
    "peak MiB",
    "asked twice a kill (with the endpoint)",
    "20 % faults, of 1,000",
    "one of 1,000 never succeeds",
    "stops at a spend",
)


@dataclass(frozen=True)
class Ran:
    """What came of one run: seconds of wall and CPU, the largest process in MiB, how it ended, what it made."""

    wall: float
    cpu: float
    mib: float
    exit: int
    good: int = 0
    bad: int = 0
    version: str = ""

    def outcome(self, of: int) -> str:
        lost = of - self.good - self.bad
        parts = [f"{self.good:,} good"] + [f"{self.bad:,} bad kept"] * bool(self.bad) + [f"{lost:,} lost"] * bool(lost)
        return ", ".join(parts) + {0: "", -signal.SIGKILL: "; hangs"}.get(self.exit, f"; exit {self.exit}")


@dataclass(frozen=True)
class Client:
    """A framework in its environment; the files of its runs lie under `folder`."""

    name: str
    python: Path
    folder: Path
    limit: float

    def start(self, url: str, count: int, what: str, *more: Any) -> subprocess.Popen:
        """Start a run; a second one of the same `what` finds the files of the first."""
        place = self.folder / what
        place.mkdir(parents=True, exist_ok=True)
        command = [self.python, TESTS / "benchmarks" / "_frameworks.py", self.name, url, str(count), place, *map(str, more)]
        with (place / "output.txt").open("a") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd=place)

    def run(self, url: str, count: int, what: str, *more: Any) -> Ran:
        """Run to the end, or to the limit."""
        began, process = time.monotonic(), self.start(url, count, what, *more)
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > self.limit:
                kill(process)
            time.sleep(0.02)
        wall, used, made = time.monotonic() - began, ended[2], self.folder / what / "made.json"
        found = json.loads(made.read_text()) if made.exists() else {}
        return Ran(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(ended[1]), **found)

    @cached_property
    def idle(self) -> Ran:
        """The quicker of two runs of one prompt, after one that reads and compiles what is cold."""
        with server() as url:
            _, *warm = (self.run(url, 1, f"idle-{turn}") for turn in range(3))
        return min(warm, key=lambda ran: ran.wall)


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
    """`kill -9` for a client and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def stop(process: subprocess.Popen) -> None:
    """Have a client and all that it started do nothing more, while it is looked how far they were."""
    kill(process, signal.SIGSTOP)


def speed(clients: list[Client], count: int, turns: int) -> dict[str, list[str]]:
    """The columns of `best` by framework, from runs that take turns on one server."""
    runs: dict[str, list[Ran]] = {client.name: [] for client in clients}
    with server("--latency", "0.05") as url:
        for turn, client in product(range(turns), clients):
            runs[client.name].append(client.run(url, count, f"speed-{turn}"))
    return {client.name: best(runs[client.name], client.idle, count) for client in clients}


def best(runs: list[Ran], idle: Ran, count: int) -> list[str]:
    """Version, requests a second, CPU a request and peak memory: the best run's, as other work can only slow a run down."""
    wall, cpu = (min(getattr(ran, name) for ran in runs) - getattr(idle, name) for name in ("wall", "cpu"))
    short = [ran.outcome(count) for ran in runs if ran.good < count]
    rate = f"{count / wall:.0f}" + f" ({'; '.join(short)})" * bool(short)
    return [runs[0].version, rate, f"{cpu / count * 1000:.2f}", f"{max(ran.mib for ran in runs):.0f}"]


def killed(count: int, client: Client) -> str:
    """Replies paid for again after kills on the way, and what the run after the last one made."""
    with server("--latency", "0.05") as url:
        waiting = []
        for share in KILLED_AT:
            process, over = client.start(url, count, "kill"), time.monotonic() + client.limit
            while process.poll() is None and time.monotonic() < over and log(url)["paid"] < share * count:
                time.sleep(0.02)
            stop(process)
            waiting.append(log(url)["under_way"])
            kill(process)
            process.wait()
            if time.monotonic() > over:
                break
        again = client.run(url, count, "kill")
        repeated = log(url)["repeated"] / len(KILLED_AT)
        return f"{repeated:,.0f} ({', '.join(map(str, waiting))}; {again.outcome(count)})"


def faulty(client: Client) -> str:
    """What is made of answers of which one in five is spoilt at first, and in how many seconds."""
    with server("--latency", "0.05", "--faults", "0.2") as url:
        ran = client.run(url, FEWER, "faults")
    return f"{ran.outcome(FEWER)}; {ran.wall - client.idle.wall:.1f} s"


def poisoned(client: Client) -> str:
    """What is made when one prompt is never answered well."""
    with server("--latency", "0.05", "--never", "number 500 ") as url:
        return client.run(url, FEWER, "poison").outcome(FEWER)


def within_a_budget(client: Client) -> str:
    """What the endpoint billed when half of what all would cost might be spent."""
    if client.name not in KEEPS_A_BUDGET:
        return "no setting"
    with server("--latency", "0.05") as url:
        client.run(url, FEWER, "spend")
        budget = billed(url) / 2
    with server("--latency", "0.05") as url:
        ran = client.run(url, FEWER, "budget", budget)
        return f"${billed(url):.3f} of ${budget:.3f}, exit {ran.exit}"


def billed(url: str) -> float:
    """Dollars for all tokens that the endpoint counted."""
    return sum(log(url)["tokens"].values()) * DOLLARS / 1_000_000


def set_up(folder: Path) -> None:
    """Make an environment for each framework."""
    for name, packages in NEEDS.items():
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([folder / name / "bin" / "pip", "install", "-q", *packages], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where the environments are")
    parser.add_argument("names", nargs="*", default=list(FRAMEWORKS), help=", ".join(FRAMEWORKS))
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=3, help="runs of each for speed, CPU and memory")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds a run may take")
    parser.add_argument("--quick", action="store_true", help="speed, CPU, memory and kills only")
    parser.add_argument("--set-up", type=Path, metavar="FOLDER")
    asked = parser.parse_intermixed_args()
    if asked.set_up:
        set_up(asked.set_up)
        return
    kills = partial(killed, asked.count)
    measures = (kills,) if asked.quick else (kills, faulty, poisoned, within_a_budget)
    columns = COLUMNS[: 4 + len(measures)]
    print("| | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pythons = {name: (asked.folder / name / "bin" / "python").absolute() for name in asked.names}
        clients = [Client(name, python, Path(folder, name), asked.limit) for name, python in pythons.items()]
        speeds = speed(clients, asked.count, asked.turns)
        for client in clients:
            rest = [measure(client) for measure in measures]
            print(f"| {client.name} | " + " | ".join((*speeds[client.name], *rest)) + " |", flush=True)


if __name__ == "__main__":
    main()
