"""The steps of one process: crops drawn on the host, cut where the networks are, learned from, as one graph there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from idemodel.generator.graphs import Graphs, Repeated
from idemodel.training.crops import Batch, TrainingPairs
from idemodel.training.resident import ResidentPairs, as_numbers
from idemodel.training.trainer import Synchronise, Trainer

_WARM = 3  # steps of each phase that are launched singly, before one is recorded


class Steps:
    """A trainer's steps on the pairs of a run.

    Parameters
    ----------
    pairs : TrainingPairs
    trainer : Trainer
    resident : ResidentPairs, optional
        The pairs on the trainer's device: a step sends a few numbers there. Without them its crops are sent.
    graphs : Graphs, optional
        What records the step, once for each phase of the recipe; the trainer must be ``recordable``.
    synchronise : callable, optional
        Averages gradients over processes, see :meth:`Trainer.take`.
    told : callable
        Is given a line where a step cannot be recorded.
    """

    def __init__(
        self,
        pairs: TrainingPairs,
        trainer: Trainer,
        resident: ResidentPairs | None = None,
        graphs: Graphs | None = None,
        synchronise: Synchronise | None = None,
        told: Callable[[str], None] = lambda text: None,
    ) -> None:
        if graphs is not None and not trainer.recordable:
            raise ValueError("a step can be recorded only where the trainer is recordable")
        self._pairs, self._trainer, self._resident = pairs, trainer, resident
        self._graphs, self._synchronise, self._told = graphs, synchronise, told
        self._phase: tuple[bool, Callable[..., Mapping[str, Tensor]]] | None = None

    def take(self, seed: int, number: int, size: int, part: slice = slice(None)) -> Mapping[str, Tensor]:
        """Take the step of this number with its ``part`` of ``size`` crops; gives what :meth:`Trainer.step` gives."""
        self._trainer.aim(number)
        if self._resident is not None:
            given: tuple[Tensor, ...] = (as_numbers(self._pairs.draws(seed, number, size, part)),)
        else:
            batch = self._pairs.batch(seed, number, size, part)
            given = (batch.inputs, batch.truth)
        return self._work(self._trainer.judges(number))(*given)

    def _work(self, judging: bool) -> Callable[..., Mapping[str, Tensor]]:
        """What takes a step of a phase; the recorded one of the phase before is given back to the device."""
        if self._phase is None or self._phase[0] != judging:
            self._phase = None
            step = partial(self._launched, judging)
            self._phase = judging, Repeated(step, self._graphs, _WARM, self._told) if self._graphs else step
        return self._phase[1]

    def _launched(self, judging: bool, *given: Tensor) -> dict[str, Tensor]:
        """The step launched singly, and what is recorded of it."""
        here = [one.to(self._trainer.device) for one in given]
        batch = self._resident.cut(*here) if self._resident is not None else Batch(*here)
        return self._trainer.take(batch, judging, self._synchronise)
