"""Commands in parallel, with logs, the time left, and one sentence for a failure."""

import sys
import threading
from functools import partial

import pytest
from complication import jobs

from comvint_hf.errors import InputError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_leaves_all_that_it_prints_in_its_log(tmp_path) -> None:
    log = tmp_path / "new" / "one.log"
    code = "import os, sys; print('out', os.environ['OMP_NUM_THREADS']); print('err', file=sys.stderr)"
    jobs.run_command(python(code), log, "one", threads=3)
    assert sorted(log.read_text().splitlines()) == ["err", "out 3"]


def test_lines_that_tell_the_time_left_are_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "LINE_INTERVAL", -1)
    said: list[str] = []
    jobs.run_command(python("print('hello'); print('step 1 of 2, 3 min left')"), tmp_path / "log", "one", said.append)
    assert said == ["  one: step 1 of 2, 3 min left"]


def test_a_failure_names_the_log_and_its_last_line(tmp_path) -> None:
    with pytest.raises(InputError, match=r"^one failed with exit status 4; the last line of .*log is: no disk left$"):
        jobs.run_command(
            python("import sys; print('begun'); print('no disk left'); sys.exit(4)"), tmp_path / "log", "one", [].append
        )


def test_an_exit_status_that_is_expected_is_no_failure(tmp_path) -> None:
    jobs.run_command(python("import sys; sys.exit(3)"), tmp_path / "log", "one", ok_codes=(0, 3))


def test_as_many_run_beside_each_other_as_told() -> None:
    both = threading.Barrier(2, timeout=100)
    said: list[str] = []
    jobs.run_jobs("things", {"a": both.wait, "b": both.wait}, workers=2, echo=said.append)
    assert [line.split(" done")[0] for line in said] == ["things: 1 of 2", "things: 2 of 2"]
    assert said[1].endswith("0:00:00 left")


def test_the_first_failure_stops_those_that_have_not_begun() -> None:
    done: list[str] = []

    def fail() -> None:
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        jobs.run_jobs("things", {"a": partial(done.append, "a"), "b": fail, "c": partial(done.append, "c")})
    assert done == ["a"]
