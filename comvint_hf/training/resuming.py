"""How a training run stops and goes on: SIGTERM, a full disk, and a run that is resumed although it is finished."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from comvint_hf.errors import ComvintError, InputError, find_disk_error, first_line
from comvint_hf.training.checkpoints import find_damage, find_whole


class ResumableTrainer(Trainer):
    """A `Trainer` that adds no step to a finished run, stops after a step at SIGTERM, and explains a checkpoint it cannot write."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stop = StopCallback()
        self.add_callback(self.stop)
        self.was_finished = False

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # transformers looks at the limit only after a step, so that a finished run would get one more each time.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        with stop_after_step(self.stop, str(self.args.output_dir)):
            result = super().train(resume_from_checkpoint, *args, **kwargs)
            if self.stop.is_asked and self.state.global_step < self.state.max_steps:
                raise KeyboardInterrupt
        self.was_finished = bool(resume_from_checkpoint) and self.state.global_step == self._initial_global_step
        return result

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        folder = Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}")
        try:
            super()._save_checkpoint(*args, **kwargs)
        except Exception as error:
            if find_damage(folder) is None:  # it was written, and something after that failed, such as its upload
                raise
            shutil.rmtree(folder, ignore_errors=True)  # no run could go on from it, and the disk may be full
            if (explained := _find_saving_error(error, folder, folder.parent)) is None:
                raise
            raise explained from error


class StopCallback(TrainerCallback):
    """Stops the training after the step that runs, with a checkpoint, once `is_asked` is set in any process."""

    def __init__(self) -> None:
        self.is_asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # All processes must stop at the same step, or those that go on would wait for the others for ever.
        if args.world_size > 1:
            self.is_asked = _any_process(self.is_asked, args.device)
        if self.is_asked:
            control.should_training_stop = control.should_save = True
            control.should_evaluate = False


def _any_process(asked: bool, device: Any) -> bool:
    import torch
    from accelerate.utils import gather

    return bool(gather(torch.tensor([int(asked)], device=device)).sum())


@contextmanager
def stop_after_step(stop: StopCallback, output_dir: Path | str) -> Iterator[None]:
    """Let a first SIGTERM stop the training after its step, and a second one at once.

    Raises:
        KeyboardInterrupt: After a signal, with a sentence that says how to go on.
    """

    def handle(number: int, frame: Any) -> None:
        if os.getpid() != owner:  # a worker that was forked: it ends as it would have
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif stop.is_asked:
            raise KeyboardInterrupt
        stop.is_asked = True

    owner, before = os.getpid(), None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(describe_resuming(output_dir)) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def describe_resuming(output_dir: Path | str) -> str:
    """Say how a run that was stopped goes on."""
    if checkpoint := find_whole(output_dir):
        return f"To continue from {checkpoint.name}, run the same command with --resume_from_checkpoint true."
    return "No checkpoint was saved yet, so the same command starts from the beginning."


@contextmanager
def explain_saving_error(folder: Path | str) -> Iterator[None]:
    """Say what to do where a file of a run's folder cannot be written. Raises `InputError`."""
    try:
        yield
    except ComvintError:
        raise
    except Exception as error:
        if (explained := _find_saving_error(error, folder, folder)) is None:
            raise
        raise explained from error


def _find_saving_error(error: Exception, folder: Path | str, output_dir: Path | str) -> InputError | None:
    refusal = find_disk_error(error)
    if refusal is None and not isinstance(error, OSError):
        return None
    found = refusal or f"{first_line(error).rstrip('.')}."
    return InputError(f"{folder} cannot be written. {found} {describe_resuming(output_dir)}")
