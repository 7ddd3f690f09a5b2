"""The settings, the callbacks and the result of a training run, as dataclasses; loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from idemodel.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingData:
    """The files that a run learns from.

    Parameters
    ----------
    pairs : Path
        Pairs folder; images of the bank's size.
    banks : tuple of Path
        One bank, or several as one.
    direction : str, optional
        Of :data:`idekernels.bank.DIRECTIONS`; a bank of another one is refused. By default the bank decides.
    vgg19 : Path, optional
        Weights for the perceptual loss, see :func:`idemodel.training.losses.load_perceptual`.
    """

    pairs: Path
    banks: tuple[Path, ...]
    direction: str | None = None
    vgg19: Path | None = None


@dataclass(frozen=True)
class Execution:
    """Where and how a run is carried out.

    Parameters
    ----------
    backend : str
        Of stage 1, see :func:`idekernels.prepare`.
    memory : int, optional
        Bytes of a bank past which stage 1 streams it, see :func:`idekernels.prepare`.
    device : str
        Of torch, for the networks.
    seed : int
        Decides first weights and crops: equal runs give equal weights on one machine with equally many threads.
    resume : bool
        Go on with the run in the run's folder.
    graphs : bool
        Record a step as one CUDA graph, where the device has them and one process trains.
    """

    backend: str = "auto"
    memory: int | None = None
    device: str = "cpu"
    seed: int = 0
    resume: bool = False
    graphs: bool = True


@dataclass(frozen=True)
class Observer:
    """Functions that are told what happens in the first process; each does nothing by default.

    Parameters
    ----------
    coarse : callable
        (done, total), after coarse sketches were made.
    stepped : callable
        (step, total, losses by name), after every step, counted from 1.
    validated : callable
        (step, scores by name), step 0 for the coarse sketches themselves.
    note : callable
        (text), a line for the user.
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
    data : TrainingData
    folder : Path
        Run folder, made where it is missing; see :class:`idemodel.training.run_folder.RunFolder`.
    recipe : Recipe
    execution : Execution
    observer : Observer
    """

    data: TrainingData
    folder: Path
    recipe: Recipe
    execution: Execution = field(default_factory=Execution)
    observer: Observer = field(default_factory=Observer, repr=False)


@dataclass(frozen=True)
class Trained:
    """What a run gave: steps taken in all, the best score (None without validation) and its step, the model files."""

    steps: int
    best: float | None
    best_step: int | None
    best_file: Path
    last_file: Path
