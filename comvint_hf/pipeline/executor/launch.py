"""Run a callable in several workers: processes here, a Ray cluster, Slurm, or Hugging Face Jobs.

datatrove's completion markers are not used: they count tasks, and would skip the wrong ones when the same build is run again
with another number of workers. The callable itself knows what is done, and this module does not know what it does.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import InputError
from comvint_hf.pipeline.executor.config import EXECUTORS, import_library, read_settings

if TYPE_CHECKING:
    from datatrove.executor import SlurmPipelineExecutor

WorkerFunction = Callable[[int, int], None]
"""Takes a worker's rank, from 0, and the number of workers. It must be picklable."""


def run(name: str, worker: WorkerFunction, num_workers: int, logs: Path, settings: Iterable[str] = ()) -> dict[int, int]:
    """Run `worker` in `num_workers` workers of the executor `name` and wait for them.

    Args:
        settings: "name=value" settings of datatrove's executor.

    Returns:
        The exit codes of local workers by rank; those of other executors report for themselves.

    Raises:
        InputError: For a wrong setting, and for a library or cluster that is missing.
        KeyboardInterrupt: After Ctrl-C.
    """
    executor_class, given = _load(name, settings)
    secrets = {key: os.environ[key] for key in EXECUTORS[name].secrets if key in os.environ}
    given = {"logging_dir": str(logs), **({"secrets": secrets} if secrets else {}), **given}
    executor = executor_class(pipeline=[_to_step(worker)], tasks=num_workers, skip_completed=False, **given)
    executor.run()
    return getattr(executor, "exit_codes", {})


def submit(
    name: str, worker: WorkerFunction, finish: Callable[[], None], num_workers: int, folder: Path, settings: Iterable[str] = ()
) -> str:
    """Submit the workers to Slurm, and `finish` as a job that runs when all of them have succeeded.

    Every node must see `folder`, where the scripts are written, and the Python that runs here.

    Returns:
        A sentence with the numbers of the jobs, or with the commands to run where there is no sbatch.
    """
    executor_class, given = _load(name, settings)

    def make(function: WorkerFunction, count: int, part: str, **changed: Any) -> SlurmPipelineExecutor:
        changed = {**given, "logging_dir": str(folder / part), **changed}
        return executor_class(pipeline=[_to_step(function)], tasks=count, skip_completed=False, **changed)

    workers = make(worker, num_workers, "tasks")
    alone = {"workers": -1, "tasks_per_job": 1, "depends_job_id": None, "job_name": f"{given['job_name']}-finish"}
    last = make(functools.partial(_call_once, finish), 1, "finish", **alone)
    scripts = [folder / part / "launch_script.slurm" for part in ("tasks", "finish")]
    if not _submitted(workers):
        _submitted(last)
        run_both = f"Run `sbatch {scripts[0]}`, then, with the job's number, `sbatch --dependency=afterok:NUMBER {scripts[1]}`."
        return f"There is no sbatch here, so nothing was submitted. {run_both}"
    last.depends_job_id = workers.job_id
    _submitted(last)
    jobs = f"Slurm has the {num_workers:,} workers as job {workers.job_id}; job {last.job_id} finishes the dataset after them."
    return f"{jobs} Logs: {folder}."


def _submitted(executor: SlurmPipelineExecutor) -> bool:
    """Write an executor's script and submit it; `False` where there is no sbatch."""
    try:
        executor.launch_job()
    except FileNotFoundError:
        return False
    except subprocess.CalledProcessError as error:
        raise InputError(f"sbatch refused the job (code {error.returncode}); its reason is printed above.") from error
    return True


def _to_step(worker: WorkerFunction) -> Callable[[Any, int, int], None]:
    return functools.partial(_run_step, worker)


def _run_step(worker: WorkerFunction, _: Any, rank: int, num_workers: int) -> None:
    """A step of a datatrove pipeline."""
    _stop_with_parent()
    worker(rank, num_workers)


def _call_once(finish: Callable[[], None], *_: int) -> None:
    finish()


def _stop_with_parent() -> None:
    """Send SIGTERM to this process when the process that started it is gone, however that was killed."""
    from multiprocess import parent_process

    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


def _load(name: str, settings: Iterable[str]) -> tuple[Any, dict[str, Any]]:
    """Import an executor's class and read its settings."""
    executor = EXECUTORS[name]
    module, _, class_name = executor.path.partition(":")
    logger = import_library("datatrove.utils.logging").logger
    import_library(executor.requires)
    executor_class = getattr(import_library(module), class_name)
    # It would log each worker's start and end over the progress bar.
    if not executor.logs:
        logger.disable("datatrove")
    return executor_class, {**executor.defaults, **read_settings(executor_class, settings, name)}
