"""What a training run writes down and tells: log, TensorBoard events, checkpoints, scores, the best; takes no steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from idekernels.errors import InputError
from idemodel.files.images import write_image
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.hand import hand_of
from idemodel.training import validation
from idemodel.training.events import Events
from idemodel.training.material import Material
from idemodel.training.run import Run, Trained
from idemodel.training.run_folder import RunFolder, Standing
from idemodel.training.trainer import Trainer

LOG_EVERY = 10  # steps


class Recorder:
    """The records of one run; in further processes (``writes`` is false) it writes and tells nothing.

    Parameters
    ----------
    run, folder, material, trainer
        Of the run; the trainer's state is what is saved.
    standing : Standing
        How far the run is already.
    writes : bool
        Whether this is the first process.
    """

    def __init__(
        self, run: Run, folder: RunFolder, material: Material, trainer: Trainer, standing: Standing, writes: bool
    ) -> None:
        self.recipe, self.observer, self.folder = run.recipe, run.observer, folder
        self.material, self.trainer, self.writes = material, trainer, writes
        self._best, self._best_step = standing.best, standing.best_step
        self._saved = standing.step or None  # the step of the last good checkpoint
        self._events: Events | None = None

    def begin(self, step: int) -> None:
        """Drop records of steps that will be taken again; at step 0, record what the coarse sketches score."""
        if not self.writes:
            return
        self.folder.forget_after(step if step else -1)  # -1: the score at step 0 is recorded again as well
        self._events = Events(self.folder.path / "tensorboard", step)
        if not self._events.written:
            self.observer.note("no TensorBoard events: pip install 'idesketch[tensorboard]' for them")
        if not step and self.material.aside:
            scores = validation.scores([one.coarse for one in self.material.aside], self.material.aside)
            self.folder.append({"step": 0, "scores": scores})
            self.observer.validated(0, scores)

    def losses(self, step: int, losses: Mapping[str, float], seconds: float) -> None:
        """Record the losses of a step, counted from 1, that took so many seconds.

        Raises
        ------
        InputError
            One is no finite number; in every process.
        OSError
            The disk is full.
        """
        bad = ", ".join(name for name, value in losses.items() if not math.isfinite(value))
        if bad:
            raise InputError(f"{self.folder.path}: {bad} is no longer a number at step {step}; {self._remedy()}")
        if not self.writes:
            return
        self.observer.stepped(step, self.recipe.steps, losses)
        if step % LOG_EVERY == 0 and self._events:
            self.folder.append({"step": step, "losses": losses, "seconds": round(seconds, 4)})
            self._events.scalars("loss", losses, step)

    def checkpoint(self, step: int, stopped: bool) -> None:
        """Validate and save where it is due after a step: by the recipe, at the end, or as the run was stopped.

        Raises
        ------
        InputError
            Weights or scores are no finite numbers; nothing of that is saved.
        OSError
            The disk is full; the last checkpoint is whole.
        """
        if not self.writes:
            return
        last = step == self.recipe.steps
        if self.material.aside and (step % self.recipe.validate_every == 0 or last):
            self._validate(step)
        if step % self.recipe.save_every == 0 or last or stopped:
            self._save(step)

    def close(self) -> None:
        """Write events that are waiting."""
        if self._events:
            self._events.close()

    def result(self, steps: int) -> Trained:
        """What the run gave after so many steps in all."""
        best = self.folder.best if self._best_step is not None else self.folder.last
        return Trained(steps, self._best, self._best_step, best, self.folder.last)

    def _save(self, step: int) -> None:
        if not self.trainer.finite():
            raise InputError(f"{self.folder.path}: weights are no longer numbers after step {step}; {self._remedy()}")
        standing = Standing(step, self._best, self._best_step, self.trainer.state())
        direction, intra = self.material.direction, self.material.intra
        self.folder.save(standing, self.trainer.best_generator, self.recipe.as_dict(), direction, intra)
        self._saved = step

    def _validate(self, step: int) -> None:
        """Score the pairs kept aside; the generator is kept where it is the best so far."""
        generator, aside = self.trainer.best_generator, self.material.aside
        hand = hand_of(self.recipe.as_dict(), self.material.direction)
        fine = [validation.sketched(generator, one, self.trainer.device, hand) for one in aside]
        scores = validation.scores(fine, aside)
        if not math.isfinite(scores["mean"]):
            raise InputError(f"{self.folder.path}: scores are no longer numbers at step {step}; {self._remedy()}")
        if self._best is None or scores["mean"] > self._best:
            recipe, direction, intra = self.recipe.as_dict(), self.material.direction, self.material.intra
            save_generator(self.folder.best, generator, recipe=recipe, direction=direction, intra=intra)
            self._best, self._best_step = scores["mean"], step
        self.folder.append({"step": step, "scores": scores})
        self._show(step, fine, scores)
        self.observer.validated(step, scores)

    def _show(self, step: int, fine: Sequence[validation.Image], scores: Mapping[str, float]) -> None:
        """The sample sheet as a file, and with the scores as TensorBoard events."""
        sheet = validation.sample_sheet(step, fine, self.material.aside)
        samples = self.folder.path / "samples"
        samples.mkdir(exist_ok=True)
        write_image(samples / f"step-{step:07d}.png", sheet)
        if self._events:
            self._events.scalars("score", scores, step)
            self._events.image("samples", sheet, step)

    def _remedy(self) -> str:
        if self._saved is None:
            return "nothing was saved yet; start anew with a lower rate"
        return f"the last good checkpoint is {self.folder.last} (step {self._saved}); start anew with a lower rate"
