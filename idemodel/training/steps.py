"""The steps of one process: crops drawn on the host, cut where the networks are, learned from, as one graph there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        self._phase: tuple[bool, Repeated] | None = None

    def take(self, seed: int, number: int, size: int, part: slice = slice(None)) -> Mapping[str, Tensor]:
        """Take the step of this number with its ``part`` of ``size`` crops; gives what :meth:`Trainer.step` gives."""
        given = self._given(seed, number, size, part)
        if self._graphs is None:
            return self._trainer.step(self._batch(given), number, self._synchronise)
        self._trainer.aim(number)
        return self._recorded(self._trainer.judges(number), self._graphs)(*given)

    def _given(self, seed: int, number: int, size: int, part: slice) -> tuple[Tensor, ...]:
        """What is sent to the device: numbers of crops, or crops."""
        if self._resident is not None:
            return (as_numbers(self._pairs.draws(seed, number, size, part)),)
        batch = self._pairs.batch(seed, number, size, part)
        return batch.inputs, batch.truth

    def _batch(self, given: Sequence[Tensor]) -> Batch:
        here = [one.to(self._trainer.device) for one in given]
        return self._resident.cut(*here) if self._resident is not None else Batch(*here)

    def _recorded(self, judging: bool, graphs: Graphs) -> Repeated:
        """What takes a step of a phase; the recorded one of the phase before is given back to the device."""
        if self._phase is None or self._phase[0] != judging:
            self._phase = None
            self._phase = judging, Repeated(partial(self._launched, judging), graphs, _WARM, self._told)
        return self._phase[1]

    def _launched(self, judging: bool, *given: Tensor) -> dict[str, Tensor]:
        """The step but for what :meth:`Trainer.aim` sets: what is recorded."""
        return self._trainer.take(self._batch(given), judging, self._synchronise)
