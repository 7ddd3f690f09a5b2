"""Which torch device a name stands for, never replaced by another, and torch's threads kept as the user set them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from idekernels.errors import InputError


def torch_device(name: str) -> str:
    """The device that ``auto`` (CUDA where torch sees it, else the CPU), ``cpu``, ``cuda`` or ``cuda:1`` stands for.

    Raises
    ------
    InputError
        There is no such device here.
    """
    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"no torch device is called {name!r}; auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"the torch device {name!r} is not supported; auto, cpu or cuda")
    if device.type == "cuda" and not there:
        raise InputError(f"torch sees no CUDA device for {name!r}; take cpu, or install torch for CUDA and a driver")
    return str(device)


@contextlib.contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Give torch back its number of threads after stage 1.

    Numba's threads start with the first kernel and share OpenMP's library with torch, whose number of threads they
    reset to that of the cores; results of torch depend on it in their last digits.
    """
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
