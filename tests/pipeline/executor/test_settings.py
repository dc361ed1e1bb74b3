"""The settings of executors, as the command line gives them."""

from __future__ import annotations

import pytest

from comvint_hf.errors import InputError
from comvint_hf.pipeline.executor.config import read_settings


class Executor:
    def __init__(
        self, pipeline: list, tasks: int, time: str, partition: str, mem: float = 2, cpus: int = 1, timeout: int | str | None = None,
        wait: bool = False, sbatch_args: dict | None = None, dependencies: list[str] | None = None, tag=None,
    ) -> None: ...  # fmt: skip


GIVEN = ("time=1:00:00", "partition=cpu")


def test_numbers_texts_lists_and_tables() -> None:
    given = (*GIVEN, "mem=0.5", "cpus=4", "timeout=2h", "wait=true", "sbatch_args=account=me", "sbatch_args=x=y=z")
    given += ("dependencies=a>=1,<2", "dependencies=b @ git+URL", "tag=7")
    assert read_settings(Executor, given, "slurm") == {
        "time": "1:00:00", "partition": "cpu", "mem": 0.5, "cpus": 4, "timeout": "2h", "wait": True, "tag": "7",
        "sbatch_args": {"account": "me", "x": "y=z"}, "dependencies": ["a>=1,<2", "b @ git+URL"],
    }  # fmt: skip


@pytest.mark.parametrize("setting", ["speed=9", "mem", "tasks=3", "pipeline=x"])
def test_a_setting_that_is_none_is_named_with_those_that_are(setting) -> None:
    with pytest.raises(
        InputError, match=f"--executor-set {setting}: expected NAME=VALUE, where the names of slurm are cpus, dep"
    ):
        read_settings(Executor, (*GIVEN, setting), "slurm")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"--executor slurm needs --executor-set partition=\.\.\."):
        read_settings(Executor, GIVEN[:1], "slurm")
