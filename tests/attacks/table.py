"""The table of the attack: random kills, hostile endpoints, batch lines, files, Hub faults and Space requests, and their outcomes.

python tests/attacks/table.py            every kind; takes about an hour on two cores
python tests/attacks/table.py "Hub faults" "Space requests"
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from outcome import Outcome, Tally, format_table

TESTS = Path(__file__).parents[1]


class Kind(NamedTuple):
    """A kind of attack: how many tries it has at least, and the tests that make them."""

    least: int
    tests: tuple[str, ...]


CLIENT, KILLS = "generation/client", "attacks/test_kills.py"
KINDS = {
    "kill -9 of a build": Kind(22, (f"{KILLS}::test_a_killed_build_goes_on_to_the_same_bytes[build]",)),
    "kill -9 of a build's main process, with workers": Kind(
        22, (f"{KILLS}::test_a_killed_build_goes_on_to_the_same_bytes[workers]",)
    ),
    "kill -9 of a mix": Kind(16, (f"{KILLS}::test_a_killed_mix_leaves_the_old_one_or_the_new_one",)),
    "kill -9 of a push": Kind(16, (f"{KILLS}::test_a_killed_push_leaves_the_old_version_or_the_new_one",)),
    "kill -9 of a training run": Kind(6, (f"{KILLS}::test_a_killed_training_goes_on_to_the_same_weights",)),
    "hostile endpoints": Kind(45, (f"{CLIENT}/test_hostile_endpoint.py::test_a_spoilt_answer_costs_only_its_own_prompt",)),
    "batch lines": Kind(7, (f"{CLIENT}/test_hostile_batch.py", "-k", "spoilt_line or always_spoilt")),
    "LLaVA files": Kind(38, ("dataset/test_hostile_llava.py::test_a_hostile_file_ends_in_rows_or_a_sentence",)),
    "annotation files": Kind(36, ("sources/test_hostile_annotations.py::test_a_hostile_file_ends_in_scenes_or_a_sentence",)),
    "Hub faults": Kind(72, ("hub/test_fault_matrix.py", "-k", "every_fault and lasting")),
    "Space requests": Kind(30, ("space/test_attacks.py::test_an_attack_comes_to_nothing",)),
}


def run(name: str, kind: Kind) -> Tally:
    """Run the tests of a kind."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        environment = os.environ | {"ATTACK_REPORT": str(report), "PYTHONPATH": _python_path()}
        command = [sys.executable, "-m", "pytest", *kind.tests, "-m", "", "-q", "-p", "attacks.plugin", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, check=False)
        if not report.exists():
            sys.exit(f"The tests of {name!r} did not run: {(done.stdout + done.stderr)[-1000:]}")
        tally = Tally(name, kind.least)
        for test in json.loads(report.read_text()):
            tally.add(read_outcomes(test))
    return tally


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))


def read_outcomes(test: dict) -> list[Outcome]:
    """The outcomes of a test: those that it tells, or one by its failure."""
    if test["outcomes"]:
        return [Outcome(**outcome) for outcome in test["outcomes"]]
    failure = test["failure"]
    if not failure:
        return [Outcome(test["name"])]
    hung, traceback = "it hangs" in failure or "Timeout" in failure, "Traceback (most recent call last)" in failure
    note = "" if hung or traceback else failure.splitlines()[-1][:300]
    return [Outcome(test["name"], hung=int(hung), tracebacks=int(traceback), note=note)]


def main() -> None:
    """Attack, print the table, and end with 1 if anything was not as it must be."""
    wanted = sys.argv[1:] or list(KINDS)
    tallies = []
    for name in wanted:
        tallies.append(run(name, KINDS[name]))
        for outcome in tallies[-1].outcomes:
            if not outcome.is_clean:
                print(outcome, file=sys.stderr)
    print(format_table(tallies))
    few = [tally.kind for tally in tallies if len(tally.outcomes) < tally.least]
    if few:
        print(f"Too few tries of: {', '.join(few)}.", file=sys.stderr)
    sys.exit(bool(few) or any(not outcome.is_clean for tally in tallies for outcome in tally.outcomes))


if __name__ == "__main__":
    main()
