"""Weights files of the metrics that need a network: read safely, never unpickled, one clear error."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idekernels.errors import InputError
from idemodel.metrics.arguments import shape_text

if TYPE_CHECKING:
    import torch


_DAMAGE = (  # what torch.load raises on a file that is none of its own, or was cut or altered
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    AssertionError, struct.error,
)  # fmt: skip


def read_weights(path: Path, wanted: str) -> dict[str, torch.Tensor]:
    """Read the tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file as float32 on the CPU.

    Parameters
    ----------
    path
        The file.
    wanted
        What should be in it, for the message.

    Raises
    ------
    InputError
        No such file, not readable as tensors, or not a flat mapping of names to tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else read_pickle(path, wanted)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; wanted is {wanted}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; wanted is {wanted}") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable weights file; wanted is {wanted}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise InputError(f"{path}: holds no plain mapping of names to tensors; wanted is {wanted}")
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def read_pickle(path: Path, wanted: str) -> Any:
    """What ``torch.save`` wrote to ``path``: tensors in plain containers on the CPU, no code run.

    Raises
    ------
    InputError
        No such file, truncated, or with anything else in it.
    """
    import torch

    try:
        stored = io.BytesIO(path.read_bytes())  # so that an OSError below is the content's, not the disk's
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; wanted is {wanted}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; wanted is {wanted}") from None
    try:
        with warnings.catch_warnings():  # of foreign pickles and TorchScript, said better below
            warnings.simplefilter("ignore")
            return torch.load(stored, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable weights file; wanted is {wanted}") from error


def take(tensors: dict[str, torch.Tensor], shapes: dict[str, torch.Size], path: Path, wanted: str) -> None:
    """Check that ``tensors`` holds every name of ``shapes`` with its shape, in memory; further names do no harm.

    Raises
    ------
    InputError
        A name is missing, has another shape, or is no dense tensor with values; the first is named.
    """
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{path}: has no {name}; wanted is {wanted}")
        if not _is_dense(tensors[name]):
            raise InputError(f"{path}: {name} is no dense tensor of numbers; wanted is {wanted}")
        if tensors[name].shape != shape:
            given, expected = shape_text(tensors[name].shape), shape_text(shape)
            raise InputError(f"{path}: {name} is {given} where {expected} is expected; wanted is {wanted}")


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether it has a value for every index in memory: not sparse, quantised, nested or on the meta device."""
    strided = str(tensor.layout) == "torch.strided" and not tensor.is_nested
    return strided and not tensor.is_quantized and tensor.device.type == "cpu"
