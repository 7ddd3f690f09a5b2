"""Which torch device a name stands for; what cannot be had is an error, never replaced by another device."""

from __future__ import annotations

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
