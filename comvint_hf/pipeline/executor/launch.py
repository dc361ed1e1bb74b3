"""Run a callable in many tasks, wherever `executor` says.

datatrove's completion markers are not used: they count tasks, and would find the wrong ones done where the same work is run
again in another number of tasks. The work itself knows what is done.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import InputError, first_line
from comvint_hf.pipeline.executor.settings import read_settings

if TYPE_CHECKING:
    from datatrove.executor import SlurmPipelineExecutor

SECONDS_TO_ANSWER = 10.0
"""So long a cluster's head may take to accept a connection."""
Work = Callable[[int, int], None]
"""What a task does: it is told its number, from 0, and how many tasks there are. It must be picklable."""


def run(
    executor: str, work: Work, tasks: int, logs: Path, settings: Iterable[str] = (), more: Mapping[str, Any] | None = None
) -> dict[int, int]:
    """Run `work` in so many tasks on this machine, a Ray cluster or Hugging Face Jobs, and wait for their ends.

    `settings` ("name=value") and `more` are for datatrove's executor. Gives the exit codes of local tasks by number; what
    the tasks of other executors came to, they must tell themselves. Raises `InputError` for a wrong setting and for a
    library or cluster that is not there, and `KeyboardInterrupt` after Ctrl-C.
    """
    kind = _class_of(executor)
    given = {"logging_dir": str(logs), **(more or {}), **read_settings(kind, settings, executor)}
    if executor == "ray":
        _join_cluster()
    started = kind(pipeline=[_step_of(work)], tasks=tasks, skip_completed=False, **given)
    started.run()
    return getattr(started, "ended", {})


def submit(work: Work, after: Callable[[], None], tasks: int, folder: Path, settings: Iterable[str] = ()) -> str:
    """Give the tasks to Slurm, and `after` to a job that runs when all of them have succeeded; say what was done.

    Every node must see `folder`, where the scripts are written, and the Python that runs here. Where there is no sbatch, the
    answer says how to submit them.
    """
    kind = _class_of("slurm")
    given = {"qos": None, "env_command": f'export PATH="{Path(sys.executable).parent}:$PATH"'}
    given |= read_settings(kind, settings, "slurm")
    name = given.pop("job_name", "comvint")
    alone = {**given, "workers": -1, "tasks_per_job": 1, "depends_job_id": None, "job_name": f"{name}-finish"}
    first = kind([_step_of(work)], tasks, logging_dir=str(folder / "tasks"), skip_completed=False, job_name=name, **given)
    finish = _step_of(functools.partial(_once, after))
    last = kind([finish], 1, logging_dir=str(folder / "finish"), skip_completed=False, **alone)
    scripts = [folder / part / "launch_script.slurm" for part in ("tasks", "finish")]
    if not _launched(first):
        _launched(last)
        return (
            f"There is no sbatch here, so nothing was submitted. Run `sbatch {scripts[0]}`, then, with the job's number, "
            f"`sbatch --dependency=afterok:NUMBER {scripts[1]}`."
        )
    last.depends_job_id = first.job_id
    _launched(last)
    return f"Slurm has the {tasks:,} tasks as job {first.job_id}; job {last.job_id} finishes the dataset after them. The logs: {folder}."


def _launched(executor: SlurmPipelineExecutor) -> bool:
    """Write an executor's script and submit it; `False` where there is no sbatch to submit it to."""
    try:
        executor.launch_job()
    except FileNotFoundError:
        return False
    except subprocess.CalledProcessError as error:
        raise InputError(f"sbatch refused the job (code {error.returncode}); it has said why above.") from error
    return True


def _step_of(work: Work) -> Callable[[Any, int, int], None]:
    return functools.partial(_step, work)


def _step(work: Work, _: Any, rank: int, tasks: int) -> None:
    """A step of a datatrove pipeline."""
    _stop_with_parent()
    work(rank, tasks)


def _once(after: Callable[[], None], *_: int) -> None:
    after()


def _stop_with_parent() -> None:
    """Let this process stop, as by SIGTERM, when the process that started it is gone, however that was killed."""
    from multiprocess import parent_process

    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _join_cluster() -> None:
    """Connect to the Ray cluster of RAY_ADDRESS or of this machine; a cluster of this machine alone where there is none."""
    import ray

    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal() and "/" not in host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The Ray cluster {address} cannot be reached ({first_line(error)}): look at RAY_ADDRESS and `ray status`."
        ) from error


def _class_of(executor: str) -> type:
    """The class of an executor. Raises `InputError` where its library is not installed."""
    try:
        from datatrove.utils.logging import logger

        if executor == "ray":
            import ray  # noqa: F401
        from comvint_hf.pipeline.executor import datatrove_executors
    except ImportError as error:
        library = (error.name or "datatrove").split(".")[0]
        raise InputError(
            f"--executor {executor} and --tasks need {library}, which is not installed: pip install '.[scale]' in a clone."
        ) from error
    if executor != "jobs":  # whose log is all that names the Jobs
        logger.disable("datatrove")
    return datatrove_executors.CLASSES[executor]
