"""The model's server of a run (`--serve`): started before the first request, ended with the run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from comvint_hf.dataset.shards import STATE
from comvint_hf.errors import EndpointError, InputError
from comvint_hf.generation.client.serve import ModelServer, parse_command
from comvint_hf.pipeline.options import ANNOTATIONS, BuildOptions, OptionsError

NOWHERE = "http://127.0.0.1:9/v1"
"""The address where each worker has a server of its own, and this process asks nobody."""


@contextmanager
def serve_model(options: BuildOptions, log_name: str = "server") -> Iterator[BuildOptions]:
    """Run the server of the options, and give options with its address. Without one, the options are given as they are.

    SIGTERM becomes `KeyboardInterrupt`, also while the server starts.

    Raises:
        OptionsError: For a command that cannot be used.
        EndpointError: When the server does not start, and when it was given up.
    """
    if options.serve is None:
        yield options
        return
    settings = options.llm_settings
    model = options.llm if options.llm != ANNOTATIONS else options.judge or ""
    try:
        command = parse_command(options.serve, model, settings.base_url)
    except InputError as error:
        raise OptionsError(str(error)) from error
    server = ModelServer(
        command, options.out / STATE / f"{log_name}.log", timeout=options.serve_timeout, on_failure=_stop_this_process
    )
    patience = settings.patience + options.serve_timeout  # a restart is no silence
    served = replace(settings, base_url=server.base_url, patience=patience, supervised=True)
    with _sigterm_as_interrupt(), _naming_failures(server), server:
        yield replace(options, serve=None, llm_settings=served)


@contextmanager
def _naming_failures(server: ModelServer) -> Iterator[None]:
    """Say why the server was given up, where that stopped the run, and name its log in errors of the endpoint."""
    try:
        yield
    except KeyboardInterrupt:
        if server.failure is None:
            raise
        raise server.failure from None
    except EndpointError as error:
        if server.failure is None and str(server.log) in str(error):
            raise
        raise (server.failure or EndpointError(f"{error} The log of the server is {server.log}.")) from error


def without_server(options: BuildOptions) -> BuildOptions:
    """The options of a process that asks nobody, as its workers have servers of their own."""
    return (
        replace(options, serve=None, llm_settings=replace(options.llm_settings, base_url=NOWHERE)) if options.serve else options
    )


def _stop_this_process() -> None:
    """Stop the build as SIGTERM does: what is finished is kept."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
