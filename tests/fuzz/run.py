"""Fuzz every reader of foreign input: `make fuzz`, or `python tests/fuzz/run.py [READER ...]`.

FUZZ_SECONDS (600) is the time of all readers together. A failure is made small by hypothesis and printed; the exit code is then 1.
With `atheris` installed (pip install atheris), half of each reader's time is guided by the coverage of comvint_hf's code.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from hypothesis import HealthCheck, Phase, given, seed, settings

BATCH = 300
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


def run_examples(name: str, count: int, seed_number: int) -> int:
    """Let a reader read so many new inputs, and return how many it was given. Raises what it raised, for the smallest input."""
    from fuzz.readers import READERS, check

    tried = 0

    def attempt(value: object) -> None:
        nonlocal tried
        tried += 1
        check(name, value)

    limits = settings(
        max_examples=count, deadline=None, database=None, phases=PHASES, suppress_health_check=list(HealthCheck), print_blob=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seed(seed_number)(limits(given(READERS[name].inputs)(attempt)))()
    return tried


def fuzz(name: str, seconds: float) -> tuple[int, float, str]:
    """Fuzz a reader; how many inputs it read, in how many seconds, and the failure, if there was one."""
    before, tried, number = time.monotonic(), 0, int.from_bytes(os.urandom(4))
    while time.monotonic() - before < seconds:
        try:
            tried += run_examples(name, BATCH, number)
        except Exception:  # noqa: BLE001
            return tried, time.monotonic() - before, traceback.format_exc()
        number += 1
    return tried, time.monotonic() - before, ""


def fuzz_guided(name: str, seconds: float) -> tuple[int, str]:
    """Fuzz a reader in a process of its own, guided by coverage; how many inputs it read, and the failure, if there was one."""
    command = [
        sys.executable,
        __file__,
        "--guided",
        name,
        f"-max_total_time={max(1, round(seconds))}",
        "-rss_limit_mb=8000",
        "-close_fd_mask=1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds * 3 + 300)
    found = re.search(r"Done (\d+) runs", done.stderr)
    return (int(found[1]) if found else 0), "" if done.returncode == 0 else done.stderr[-3000:]


def run_guided(name: str, arguments: list[str]) -> None:
    """Run atheris in this process; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["comvint_hf"]):
        from fuzz.readers import READERS, check

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(READERS[name].inputs)
    def attempt(value: object) -> None:
        check(name, value)

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    atheris.Setup([sys.argv[0], *arguments], attempt.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main() -> int:
    """Fuzz the named readers, or all, and print how fast each read."""
    from fuzz.readers import READERS

    logging.disable(logging.CRITICAL)  # counted refusals are logged
    names = sys.argv[1:] or list(READERS)
    share = float(os.environ.get("FUZZ_SECONDS", "600")) / len(names)
    is_guided = importlib.util.find_spec("atheris") is not None
    print("hypothesis and atheris" if is_guided else "hypothesis alone: atheris is not installed", flush=True)
    failed = 0
    for name in names:
        tried, seconds, failure = fuzz(name, share / 2 if is_guided else share)
        guided, second_failure = fuzz_guided(name, share / 2) if is_guided and not failure else (0, "")
        spent = seconds + (share / 2 if guided else 0)
        rest = f", {guided:,} of them guided" if is_guided else ""
        state = "FAILED" if failure or second_failure else "clean"
        print(
            f"{name:<24} {tried + guided:>9,} inputs {(tried + guided) / max(spent, 0.001):>9,.0f}/s{rest}: {state}", flush=True
        )
        print(failure + second_failure, end="", flush=True)
        failed += state == "FAILED"
    return int(failed > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guided"]:
        run_guided(sys.argv[2], sys.argv[3:])
    sys.exit(main())
