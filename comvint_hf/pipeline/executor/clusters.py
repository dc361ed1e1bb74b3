"""datatrove's executors, changed where this package needs it. Importing this module imports datatrove."""

from __future__ import annotations

import logging
import os
import socket

from datatrove.executor import RayPipelineExecutor, SlurmPipelineExecutor

from comvint_hf.errors import InputError, first_line

CONNECT_TIMEOUT = 10.0
"""Seconds within which a Ray head must accept a connection; Ray itself would try for minutes."""


class RayExecutor(RayPipelineExecutor):
    """datatrove's Ray executor, which connects to the cluster first."""

    def run(self) -> None:
        """Connect to the cluster of RAY_ADDRESS or of this machine, or start one here; then run the workers."""
        import ray

        address = os.environ.get("RAY_ADDRESS", "")
        host, _, port = address.rpartition(":")
        try:
            if port.isdecimal() and "/" not in host:
                socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
            if not ray.is_initialized():
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"The Ray cluster {address} cannot be reached ({first_line(error)}): check RAY_ADDRESS and `ray status`."
            ) from error
        super().run()


class SlurmExecutor(SlurmPipelineExecutor):
    """datatrove's Slurm executor without the extra job that adds up datatrove's own statistics."""

    def launch_merge_stats(self) -> None:
        """Launch nothing."""
