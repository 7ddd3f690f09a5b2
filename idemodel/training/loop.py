"""A training run from its files to a generator: the steps, one after another, and where they stop; writes nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from idemodel.generator.graphs import graphs_on
from idemodel.generator.precision import float32_products
from idemodel.generator.threads import torch_threads_kept
from idemodel.training.material import Material, needed_perceptual, prepared_material
from idemodel.training.parallel import Group, joined_group
from idemodel.training.recorder import Recorder
from idemodel.training.resident import resident_pairs, room_on
from idemodel.training.run import Run, Trained
from idemodel.training.run_folder import RunFolder, Standing
from idemodel.training.steps import Steps
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
        stack.enter_context(float32_products(device, run.recipe.precision == "tf32"))
        return _Loop(run, group, _steps(run, group, material, trainer), recorder).go_on(standing.step)


def _steps(run: Run, group: Group, material: Material, trainer: Trainer) -> Steps:
    """The steps of this process; several processes talk within a step, which is then not recorded."""
    device, pairs, told = run.execution.device, material.learned, run.observer.note
    on_a_cpu = torch.device(device).type == "cpu"
    resident = resident_pairs(pairs, device, room_on(device))
    if resident is None and not on_a_cpu:
        told("the pairs take more than a quarter of the device's free memory: their crops are cut on the host")
    if on_a_cpu and run.recipe.precision == "tf32":
        told("a CPU knows no tf32: its products are of float32")
    alone = group.size == 1
    graphs = graphs_on(device) if alone and run.execution.graphs else None
    return Steps(pairs, trainer, resident, graphs, None if alone else group.average_gradients, told)


@dataclass(frozen=True)
class _Loop:
    """The steps of one process of a run, and what ends them."""

    run: Run
    group: Group
    steps: Steps
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
        seed, part = self.run.execution.seed, self.group.part(own)
        losses = self.group.average(self.steps.take(seed, number, own * processes, part))
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
