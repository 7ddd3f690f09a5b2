"""The run folder: the files of a training run, each written whole, so that a killed run loses nothing but time."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from idekernels import arguments
from idekernels.errors import InputError, in_short
from idekernels.files.atomic import replace_when_done
from idekernels.files.regular import regular_file
from idemodel.files.weights import open_tensors
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.network import MLANet
from idemodel.training.recipe import Recipe
from idemodel.training.trainer import Trainer

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

VERSION = 1
LARGEST_SEED = 2**63 - 1  # that torch takes
_KEY = "idesketch"  # of the safetensors metadata
_FORMAT = "idesketch training run"
_STATE = "what a training run saved; start the run anew in another folder"
_LARGEST_LOG = 2**28  # bytes; a run of 300,000 steps writes a fortieth of that
_LARGEST = 2**20  # bytes of run.json, of a line of the log, characters of the state's header


@dataclass(frozen=True)
class Standing:
    """How far a run is: steps done, the best validation score and its step, and the trainer's tensors by name.

    ``best`` and ``best_step`` are None before the first validation; ``tensors`` is empty before the first step.
    """

    step: int
    best: float | None
    best_step: int | None
    tensors: Mapping[str, Tensor] = field(repr=False)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    ``run.json`` recipe, seed, versions, hashes; ``state.safetensors`` what a resumed run needs; ``last.safetensors``
    and ``best.safetensors`` generators; ``intra-HASH.h5`` the intra-domain bank that some need beside them;
    ``log.jsonl`` losses and scores; ``samples/``, ``coarse/``, ``tensorboard/``.
    """

    path: Path

    @property
    def state(self) -> Path:
        """What a resumed run needs."""
        return self.path / "state.safetensors"

    @property
    def last(self) -> Path:
        """The latest generator."""
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        """The generator that scored best on the pairs kept aside; the latest where none are."""
        return self.path / "best.safetensors"

    @property
    def description(self) -> Path:
        """Recipe, seed, versions and hashes of the data."""
        return self.path / "run.json"

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.path / "log.jsonl"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, made where it is missing, for this process; InputError if another one trains there."""
        self.path.mkdir(parents=True, exist_ok=True)
        if fcntl is None:
            yield
            return
        with (self.path / ".lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.path}: another process trains in this folder; choose another one") from None
            yield

    def claim(self, content: Mapping[str, Any], *, resume: bool, writes: bool) -> None:
        """Make the folder that of the run so described: ``recipe``, ``seed``, ``processes``, ``data`` and further ones.

        A new run is described in ``run.json``; a resumed one must be the one described there, but for its number of
        steps. ``writes`` is true in the first process alone.

        Raises
        ------
        InputError
            The folder holds another run, or none to resume, or one although this one is new.
        """
        if resume:
            self._check_same(content)
        elif writes and self.state.exists():
            raise InputError(f"{self.path}: holds a run already; go on with --resume, or choose another folder")
        if writes:
            self.describe(content)

    def _check_same(self, content: Mapping[str, Any]) -> None:
        described = self.read_description()
        for name in ("recipe", "seed", "processes", "data"):
            theirs, ours = described.get(name), content[name]
            if name == "recipe":
                theirs, ours = _in_full(theirs), _in_full(ours)
            if name == "recipe" and theirs != ours:
                self._check_precision(theirs, ours)
            if theirs != ours:
                raise InputError(f"{self.path}: its run had another {name}; resume with the same or use another folder")

    def _check_precision(self, theirs: Any, ours: Any) -> None:
        """InputError that says so where two recipes are of different precision."""
        told = [recipe.get("precision") if isinstance(recipe, dict) else None for recipe in (theirs, ours)]
        if None not in told and told[0] != told[1]:
            raise InputError(
                f"{self.path}: its run has the precision {in_short(told[0])}, the recipe now {told[1]}; resume with "
                "the same or use another folder"
            )

    def describe(self, content: Mapping[str, Any]) -> None:
        """Write ``run.json``, with the versions that run."""
        text = json.dumps({"format": _FORMAT, "version": VERSION, **content, **_versions()}, indent=2)
        with replace_when_done(self.description) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def read_description(self) -> dict[str, Any]:
        """What ``run.json`` says; InputError where it is missing or damaged."""
        if not self.description.exists():
            raise InputError(f"{self.path}: holds no training run; start it without --resume")
        regular_file(self.description, "the description of a training run", _LARGEST)
        try:
            content = json.loads(self.description.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            raise InputError(f"{self.description}: is damaged; start the run anew in another folder") from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise InputError(f"{self.description}: does not describe a training run; choose another folder")
        if content.get("version") != VERSION:
            raise InputError(
                f"{self.description}: is of version {in_short(content.get('version'))}, this idesketch reads {VERSION}"
            )
        return content

    def recipe_and_seed(self) -> tuple[Recipe, int]:
        """Recipe and seed of the run; InputError where ``run.json`` is missing or damaged."""
        content = self.read_description()
        try:
            return Recipe.from_dict(content["recipe"]), arguments.whole("seed", content["seed"], 0, LARGEST_SEED)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.description}: recipe or seed cannot be read ({in_short(error)}); start anew in another folder"
            ) from None

    def save(
        self, standing: Standing, generator: MLANet, recipe: Mapping[str, Any], direction: str, intra: str = ""
    ) -> None:
        """Write the latest generator and the state; whole files or the old ones. OSError on a full disk."""
        header = {"version": VERSION, "step": standing.step, "best": standing.best, "best_step": standing.best_step}
        content = save(dict(standing.tensors), metadata={_KEY: json.dumps(header)})
        save_generator(self.last, generator, recipe=recipe, direction=direction, intra=intra)
        with replace_when_done(self.state) as partial:
            partial.write_bytes(content)

    def read_state(self) -> Standing:
        """The state as saved last; step 0 without tensors where none was; InputError where it is damaged."""
        if not self.state.exists():
            return Standing(0, None, None, {})
        with open_tensors(self.state, _STATE) as file:
            header = (file.metadata() or {}).get(_KEY, "")
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        try:
            return _standing(json.loads(header[:_LARGEST]), tensors)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{self.state}: is damaged ({in_short(error)}); wanted is {_STATE}") from None

    def restore(self, trainer: Trainer) -> Standing:
        """Load the last saved state into a trainer; gives the standing without tensors. InputError if it is damaged."""
        standing = self.read_state()
        if standing.tensors:
            try:
                trainer.load_state(standing.tensors)
            except (KeyError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"{self.state}: does not fit the recipe ({in_short(error)}); start anew in another folder"
                ) from None
        return replace(standing, tensors={})

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one line to the log; OSError on a full disk."""
        try:
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.log)) from error

    def forget_after(self, step: int) -> None:
        """Drop log lines of steps that will be taken again, and a last line that a kill cut short."""
        if not self.log.exists():
            return
        regular_file(self.log, "the log of a training run; move it away to go on", _LARGEST_LOG)
        with self.log.open("rb") as old, replace_when_done(self.log) as partial, partial.open("wb") as new:
            while line := old.readline(_LARGEST):
                if _until(line, step):
                    new.write(line.rstrip() + b"\n")


def _in_full(recipe: Any) -> Any:
    """A recipe as this version writes it, but for its number of steps; as it is where it is none."""
    try:
        return {**Recipe.from_dict(recipe).as_dict(), "steps": 0}
    except (TypeError, ValueError):
        return recipe


def _standing(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Standing:
    best, best_step = header["best"], header["best_step"]
    return Standing(
        arguments.whole("step", header["step"], 0),
        None if best is None else arguments.real("best", best, -math.inf),
        None if best_step is None else arguments.whole("best_step", best_step, 0),
        tensors,
    )


def _until(line: bytes, step: int) -> bool:
    try:
        return bool(json.loads(line.decode())["step"] <= step)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _versions() -> dict[str, Any]:
    packages = ("idesketch", "torch", "numpy", "numba", "safetensors")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
    }
