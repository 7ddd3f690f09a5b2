"""The run folder: everything that a training run knows, written so that a killed run loses nothing but time."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from idekernels.atomic import replace_when_done
from idekernels.errors import InputError
from idemodel.checkpoint import save_generator
from idemodel.network import MLANet

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

VERSION = 1
_KEY = "idesketch"  # of the safetensors metadata
_FORMAT = "idesketch training run"


@dataclass(frozen=True)
class Standing:
    """How far a run is: steps done, the best validation score and its step, and all tensors of the trainer."""

    step: int
    best: float | None
    best_step: int | None
    tensors: Mapping[str, Tensor] = field(repr=False)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    ``run.json`` recipe, seed, versions, hashes; ``state.safetensors`` what a resumed run needs; ``last.safetensors``
    and ``best.safetensors`` generators; ``log.jsonl`` losses and scores; ``samples/``, ``coarse/``, ``tensorboard/``.
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

    def describe(self, content: Mapping[str, Any]) -> None:
        """Write ``run.json``, with the versions that run."""
        text = json.dumps({"format": _FORMAT, "version": VERSION, **content, **_versions()}, indent=2)
        with replace_when_done(self.description) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def read_description(self) -> dict[str, Any]:
        """What ``run.json`` says; InputError where it is missing or damaged."""
        try:
            content = json.loads(self.description.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{self.path}: holds no training run; start it without --resume") from None
        except (ValueError, RecursionError):
            raise InputError(f"{self.description}: is damaged; start the run anew in another folder") from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise InputError(f"{self.description}: does not describe a training run; choose another folder")
        if content.get("version") != VERSION:
            raise InputError(
                f"{self.description}: is of version {content.get('version')}, this idesketch reads {VERSION}"
            )
        return content

    def save(self, standing: Standing, generator: MLANet, recipe: Mapping[str, Any], direction: str) -> None:
        """Write the latest generator and the state; whole files or the old ones. OSError on a full disk."""
        header = {"version": VERSION, "step": standing.step, "best": standing.best, "best_step": standing.best_step}
        content = save(dict(standing.tensors), metadata={_KEY: json.dumps(header)})
        save_generator(self.last, generator, recipe=recipe, direction=direction)
        with replace_when_done(self.state) as partial:
            partial.write_bytes(content)

    def read_state(self) -> Standing:
        """The state as saved last; step 0 without tensors where none was; InputError where it is damaged."""
        if not self.state.exists():
            return Standing(0, None, None, {})
        try:
            with safe_open(self.state, framework="pt", device="cpu") as file:
                header = json.loads((file.metadata() or {})[_KEY])
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            return Standing(int(header["step"]), header["best"], header["best_step"], tensors)
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{self.state}: is damaged ({error}); start the run anew in another folder") from None

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
        kept = [line for line in self.log.read_text(encoding="utf-8").splitlines() if _until(line, step)]
        with replace_when_done(self.log) as partial:
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _until(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False


def _versions() -> dict[str, Any]:
    packages = ("idesketch", "torch", "numpy", "numba", "safetensors")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
    }
