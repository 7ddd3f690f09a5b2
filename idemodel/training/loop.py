"""A training run from its files to a generator: the steps, one after another, and where they stop; writes nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from idemodel.generator.threads import torch_threads_kept
from idemodel.training.crops import TrainingPairs
from idemodel.training.material import needed_perceptual, prepared_material
from idemodel.training.parallel import Group, joined_group
from idemodel.training.recorder import Recorder
from idemodel.training.run import Run, Trained
from idemodel.training.run_folder import RunFolder, Standing
from idemodel.training.trainer import Trainer


class Stopped(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP came; the run is saved and can be resumed. The message says after which step."""


def train(run: Run) -> Trained:
    """Train a generator as the recipe says, from the start or from where the run in the folder stopped.

    A stopped and resumed run gives the weights of one that never stopped. Under ``torchrun`` every process takes
    ``batch`` crops a step and gradients are averaged.

    Raises
    ------
    InputError
        Images, bank, recipe, weights file or run folder do not fit; or the loss is no longer a number: the message
        names the last good checkpoint.
    Stopped
        SIGINT, SIGTERM or SIGHUP; everything is saved.
    OSError
        The disk is full or read-only; the last checkpoint is whole.
    """
    perceptual = needed_perceptual(run)
    device, seed, resume = run.execution.device, run.execution.seed, run.execution.resume
    with joined_group(device) as group, contextlib.ExitStack() as stack:
        folder = RunFolder(run.folder)
        if group.first:
            stack.enter_context(folder.locked())
        with torch_threads_kept():
            material = prepared_material(run, folder, group, perceptual)
        trainer = Trainer(run.recipe, material.network, seed, perceptual, device)
        standing = folder.restore(trainer) if resume else Standing(0, None, None, {})
        group.wait()
        recorder = Recorder(run, folder, material, trainer, standing, group.first)
        stack.callback(recorder.close)
        return _Loop(run, group, material.learned, trainer, recorder).go_on(standing.step)


@dataclass(frozen=True)
class _Loop:
    """The steps of one process of a run, and what ends them."""

    run: Run
    group: Group
    pairs: TrainingPairs
    trainer: Trainer
    recorder: Recorder

    def go_on(self, step: int) -> Trained:
        """Take the steps that are left after so many; Stopped where a signal comes before the last one."""
        steps = self.run.recipe.steps
        self.recorder.begin(step)
        with _signals() as stop:
            while step < steps:
                self._step(step)
                step += 1
                stopped = self.group.any(stop.is_set())
                self.recorder.checkpoint(step, stopped)
                if stopped and step < steps:
                    raise Stopped(f"stopped after step {step}, all saved; go on with --resume")
        return self.recorder.result(step)

    def _step(self, number: int) -> None:
        """Take the step of this number, counted from 0, with the crops that are this process's."""
        started = time.perf_counter()
        own, processes = self.run.recipe.batch, self.group.size
        batch = self.pairs.batch(self.run.execution.seed, number, own * processes, self.group.part(own))
        synchronise = self.group.average_gradients if processes > 1 else None
        losses = self.group.average(self.trainer.step(batch, number, synchronise))
        self.recorder.losses(number + 1, losses, time.perf_counter() - started)


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second SIGINT interrupts at once.

    A SIGHUP that is ignored, as under nohup, stays ignored.

    Outside the main thread, where Python lets nobody set signal handlers, the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def told(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    before = {number: signal.signal(number, told) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
