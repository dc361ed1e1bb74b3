"""The executors by name: datatrove's own where it serves, else a small change of it. Importing this imports datatrove."""

from __future__ import annotations

from datatrove.executor import JobsPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor

from comvint_hf.pipeline.executor.local import LocalTasks


class SlurmTasks(SlurmPipelineExecutor):
    """datatrove's Slurm executor without the extra job that adds up datatrove's own statistics."""

    def launch_merge_stats(self) -> None:
        """Launch nothing."""


CLASSES = {"local": LocalTasks, "ray": RayPipelineExecutor, "slurm": SlurmTasks, "jobs": JobsPipelineExecutor}
