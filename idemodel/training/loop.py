"""A training run from pairs and bank to a generator: coarse sketches, steps, validation, files, and where it stops."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import open_bank, prepare
from idekernels.errors import InputError
from idekernels.warm import warm_up
from idemodel.files.images import write_image
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.inputs import guide_channels
from idemodel.generator.network import MLAConfig
from idemodel.generator.threads import torch_threads_kept
from idemodel.training import validation
from idemodel.training.data import (
    Faces,
    TrainingPairs,
    bank_digest,
    cached_coarse_sketches,
    coarse_cache_key,
    read_faces,
    split_pairs,
)
from idemodel.training.events import Events
from idemodel.training.losses import WANTED as VGG19_WANTED
from idemodel.training.losses import PerceptualLoss, load_perceptual
from idemodel.training.parallel import Group, joined_group
from idemodel.training.recipe import Recipe
from idemodel.training.run_folder import RunFolder, Standing
from idemodel.training.trainer import Trainer

LOG_EVERY = 10  # steps


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM came; the run is saved and can be resumed. The message says where and how."""


@dataclass(frozen=True)
class Watch:
    """Who is told what happens; each does nothing by default.

    coarse(done, total) coarse sketches made; stepped(step, total, losses); validated(step, scores); note(text).
    """

    coarse: Callable[[int, int], None] = lambda done, total: None
    stepped: Callable[[int, int, Mapping[str, float]], None] = lambda step, total, losses: None
    validated: Callable[[int, Mapping[str, float]], None] = lambda step, scores: None
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Run:
    """One training run.

    Parameters
    ----------
    pairs : Path
        Pairs folder; images of the bank's size.
    banks : tuple of Path
        One bank, or several as one.
    folder : Path
        Run folder, made where it is missing.
    recipe : Recipe
    seed : int
        Decides first weights and crops: equal runs give equal weights on one machine with equally many threads.
    resume : bool
        Go on with the run in ``folder``.
    vgg19 : Path, optional
        Weights for the perceptual loss.
    backend, memory : str, int, optional
        Of stage 1, see :func:`idekernels.prepare`.
    device : str
        Of torch.
    direction : str, optional
        Refuse a bank of another one; by default the bank decides.
    """

    pairs: Path
    banks: tuple[Path, ...]
    folder: Path
    recipe: Recipe
    seed: int = 0
    resume: bool = False
    vgg19: Path | None = None
    backend: str = "auto"
    memory: int | None = None
    device: str = "cpu"
    direction: str | None = None
    watch: Watch = field(default_factory=Watch, repr=False)


@dataclass(frozen=True)
class Trained:
    """What a run gave: steps taken in all, the best score (None without validation) and its step, the model files."""

    steps: int
    best: float | None
    best_step: int | None
    best_file: Path
    last_file: Path


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
        SIGINT or SIGTERM; everything is saved.
    OSError
        The disk is full or read-only; the last checkpoint is whole.
    """
    perceptual = _perceptual(run)
    with joined_group(run.device) as group, contextlib.ExitStack() as stack:
        folder = RunFolder(run.folder)
        if group.first:
            stack.enter_context(folder.locked())
        with torch_threads_kept():
            data = _prepare_data(run, folder, group, {"vgg19": perceptual.digest} if perceptual else {})
        trainer = Trainer(run.recipe, data.network, run.seed, perceptual, run.device)
        standing = _resumed(run, folder, trainer)
        group.wait()
        return _Loop(run, folder, group, data, trainer).go_on(standing)


@dataclass(frozen=True)
class _Data:
    """Pairs to learn from and pairs to validate on, and the size of the generator that fits them."""

    learned: TrainingPairs
    kept_aside: tuple[validation.Aside, ...]
    network: MLAConfig
    direction: str


def _perceptual(run: Run) -> PerceptualLoss | None:
    if not run.recipe.losses.perceptual:
        return None
    if run.vgg19 is None:
        raise InputError(
            f"the recipe {run.recipe.name!r} has a perceptual loss: give the weights with --vgg19 FILE, {VGG19_WANTED}"
        )
    return load_perceptual(run.vgg19)


def _prepare_data(run: Run, folder: RunFolder, group: Group, hashes: Mapping[str, str]) -> _Data:
    recipe = run.recipe
    with open_bank(*run.banks, direction=run.direction) as bank:
        faces = read_faces(run.pairs, bank)
        channels = recipe.channels or bank.channels
        if bank.channels not in (1, channels):
            raise InputError(f"{run.banks[0]}: has {bank.channels} target channels, the recipe {channels}")
        network = MLAConfig(channels, recipe.features, recipe.modules, 2, guide_channels(recipe.inputs, channels))
        bank_hash = bank_digest(bank)
        cache = folder.path / "coarse" / coarse_cache_key(faces, bank_hash, recipe.coarse)[:16]
        _check_fits(run, folder, {"bank": bank_hash, "pairs": faces.digest, **hashes}, group)
        if group.first:
            warm_up(recipe.coarse, run.backend, bank)
            cached_coarse_sketches(
                faces, prepare(bank, run.backend, run.memory), recipe.coarse, cache, run.watch.coarse
            )
        group.wait()
        coarse = cached_coarse_sketches(faces, prepare(bank, run.backend, 0), recipe.coarse, cache)
    aside, learned = split_pairs(len(faces.names), recipe.validation, run.seed)
    kept_aside = tuple(validation.kept_aside(faces, coarse, number, network) for number in aside)
    some = Faces(tuple(faces.names[i] for i in learned), faces.source[learned], faces.target[learned])
    pairs = TrainingPairs(some, [coarse[i] for i in learned], recipe, network)
    return _Data(pairs, kept_aside, network, bank.direction)


def _check_fits(run: Run, folder: RunFolder, hashes: Mapping[str, str], group: Group) -> None:
    """A new run describes itself; a resumed one must be the run that is described, but for its number of steps."""
    own = {
        "recipe": run.recipe.as_dict(),
        "seed": run.seed,
        "processes": group.size,
        "device": run.device,
        "data": dict(hashes),
        "paths": {"pairs": str(run.pairs), "banks": [str(bank) for bank in run.banks]},
    }
    if run.resume:
        described = folder.read_description()
        for name in ("recipe", "seed", "processes", "data"):
            theirs, ours = described.get(name), own[name]
            if name == "recipe":
                theirs, ours = ({**value, "steps": 0} if isinstance(value, dict) else value for value in (theirs, ours))
            if theirs != ours:
                raise InputError(
                    f"{folder.path}: its run had another {name}; resume with the same or use another folder"
                )
    elif group.first and folder.state.exists():
        raise InputError(f"{folder.path}: holds a run already; go on with --resume, or choose another folder")
    if group.first:
        folder.describe(own)


def _resumed(run: Run, folder: RunFolder, trainer: Trainer) -> Standing:
    return folder.restore(trainer) if run.resume else Standing(0, None, None, {})


class _Loop:
    """Steps, and what happens between them."""

    def __init__(self, run: Run, folder: RunFolder, group: Group, data: _Data, trainer: Trainer) -> None:
        self.run, self.folder, self.group, self.data, self.trainer = run, folder, group, data, trainer
        self.recipe = run.recipe
        self.best: float | None = None
        self.best_step: int | None = None
        self.saved: int | None = None
        self.events: Events | None = None

    def go_on(self, standing: Standing) -> Trained:
        """Take the steps that are left."""
        step, self.best, self.best_step = standing.step, standing.best, standing.best_step
        self.saved = step if self.run.resume and step else None
        if self.group.first:
            self.folder.forget_after(step if step else -1)  # not even what the coarse sketches scored: it comes again
            self.events = Events(self.folder.path / "tensorboard", step)
            if not self.events.written:
                self.run.watch.note("no TensorBoard events: pip install 'idesketch[tensorboard]' for them")
            if not step:
                self._score_coarse()
        try:
            with _signals() as stop:
                while step < self.recipe.steps:
                    self._step(step)
                    step += 1
                    stopped = self.group.any(stop.is_set())
                    self._between(step, stopped)
                    if stopped and step < self.recipe.steps:
                        raise Stopped(f"stopped after step {step}, all saved; go on with --resume")
        finally:
            if self.events:
                self.events.close()
        best = self.folder.best if self.best_step is not None else self.folder.last
        return Trained(step, self.best, self.best_step, best, self.folder.last)

    def _score_coarse(self) -> None:
        """What the generator has to beat, as the score of step 0."""
        if self.data.kept_aside:
            scores = validation.scores([one.coarse for one in self.data.kept_aside], self.data.kept_aside)
            self.folder.append({"step": 0, "scores": scores})
            self.run.watch.validated(0, scores)

    def _step(self, number: int) -> None:
        started = time.perf_counter()
        every = self.recipe.batch * self.group.size
        batch = self.data.learned.batch(self.run.seed, number, every, self.group.part(self.recipe.batch))
        synchronise = self.group.average_gradients if self.group.size > 1 else None
        found = self.trainer.step(batch, number, synchronise)
        losses = self.group.average(found)
        if not all(math.isfinite(value) for value in losses.values()):
            bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value))
            raise InputError(f"{self.folder.path}: {bad} is no longer a number at step {number + 1}; {self._remedy()}")
        if not self.group.first:
            return
        self.run.watch.stepped(number + 1, self.recipe.steps, losses)
        if (number + 1) % LOG_EVERY == 0 and self.events:
            seconds = time.perf_counter() - started
            self.folder.append({"step": number + 1, "losses": losses, "seconds": round(seconds, 4)})
            self.events.scalars("loss", losses, number + 1)

    def _between(self, step: int, stopped: bool) -> None:
        """Validate and save, where it is due."""
        if not self.group.first:
            return
        last = step == self.recipe.steps
        if self.data.kept_aside and (step % self.recipe.validate_every == 0 or last):
            self._validate(step)
        if step % self.recipe.save_every == 0 or last or stopped:
            self._save(step)

    def _save(self, step: int) -> None:
        if not self.trainer.finite():
            raise InputError(f"{self.folder.path}: weights are no longer numbers after step {step}; {self._remedy()}")
        standing = Standing(step, self.best, self.best_step, self.trainer.state())
        self.folder.save(standing, self.trainer.best_generator, self.recipe.as_dict(), self.data.direction)
        self.saved = step

    def _validate(self, step: int) -> None:
        """Score the pairs kept aside; the best generator is kept."""
        generator = self.trainer.best_generator
        fine = [validation.sketched(generator, one, self.trainer.device) for one in self.data.kept_aside]
        scores = validation.scores(fine, self.data.kept_aside)
        if not math.isfinite(scores["mean"]):
            raise InputError(f"{self.folder.path}: scores are no longer numbers at step {step}; {self._remedy()}")
        if self.best is None or scores["mean"] > self.best:
            recipe, direction = self.recipe.as_dict(), self.data.direction
            save_generator(self.folder.best, self.trainer.best_generator, recipe=recipe, direction=direction)
            self.best, self.best_step = scores["mean"], step
        self.folder.append({"step": step, "scores": scores})
        self._show(step, fine, scores)
        self.run.watch.validated(step, scores)

    def _show(self, step: int, fine: list[NDArray[np.uint8]], scores: Mapping[str, float]) -> None:
        sheet = validation.sample_sheet(step, fine, self.data.kept_aside)
        samples = self.folder.path / "samples"
        samples.mkdir(exist_ok=True)
        write_image(samples / f"step-{step:07d}.png", sheet)
        if self.events:
            self.events.scalars("score", scores, step)
            self.events.image("samples", sheet, step)

    def _remedy(self) -> str:
        if self.saved is None:
            return "nothing was saved yet; start anew with a lower rate"
        return f"the last good checkpoint is {self.folder.last} (step {self.saved}); start anew with a lower rate"


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT interrupts at once. Only the main thread may ask for it."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def told(number: int, frame: Any) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
