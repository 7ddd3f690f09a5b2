"""Weights files of any network, read safely into networks built without memory; knows no particular network.

The way from a file to a network: :func:`without_memory` builds it, :func:`shapes_of` says which tensors it needs,
:func:`take` picks and checks them among those of :func:`read_weights`, :func:`filled` hands them over.
"""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from idekernels.errors import InputError
from idekernels.files.regular import regular_file
from idemodel.files.pickles import check_pickles
from idemodel.files.shapes import shape_text

if TYPE_CHECKING:
    import torch
    from torch import nn

    _Network = TypeVar("_Network", bound=nn.Module)

LARGEST = 2**31  # bytes of a file; VGG19, the largest that is wanted, has 0.6 * 10^9
LARGEST_HEADER = 2**24  # bytes of a safetensors file's JSON

_DAMAGE = (  # what torch.load raises on a file that is none of its own, or was cut or altered
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def without_memory(build: Callable[[], _Network]) -> _Network:
    """The network that ``build`` makes, on torch's device "meta": shapes and names, but no weights yet."""
    import torch

    with torch.device("meta"):
        return build()


def shapes_of(network: nn.Module, prefix: str = "") -> dict[str, torch.Size]:
    """Names, after a prefix, and shapes of the tensors that a network needs from a file.

    Those in floating point: counters, such as how many batches a batch normalisation saw, change no output.
    """
    tensors = network.state_dict().items()
    return {prefix + name: value.shape for name, value in tensors if value.is_floating_point()}


def filled(network: _Network, tensors: Mapping[str, torch.Tensor], prefix: str = "") -> _Network:
    """A network of :func:`without_memory` with weights, in evaluation mode, on the CPU.

    Parameters
    ----------
    network
        Is filled in place and given back.
    tensors
        What :func:`take` gave for :func:`shapes_of`, float32; further names do no harm. Copied, as a safetensors
        file's tensors lie in the file itself.
    prefix
        The same as of :func:`shapes_of`.

    Raises
    ------
    KeyError
        A name is missing.
    """
    import torch

    own = {
        name: tensors[prefix + name].clone(memory_format=torch.contiguous_format)
        if value.is_floating_point()
        else torch.zeros(value.shape, dtype=value.dtype)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(own, assign=True)
    return network.eval()


def read_weights(path: Path, wanted: str) -> dict[str, torch.Tensor]:
    """Read the tensors of a ``.safetensors``, ``.pth`` or ``.pt`` file on the CPU, as they are; :func:`take` some.

    Parameters
    ----------
    path
        The file.
    wanted
        What should be in it, for the message.

    Raises
    ------
    InputError
        No such file, too large, not readable as tensors, or not a flat mapping of names to tensors.
    """
    import torch

    if path.suffix == ".safetensors":
        with open_tensors(path, wanted) as file:
            names = file.keys()  # what is opened is no mapping
            return {name: file.get_tensor(name) for name in names}
    tensors = read_pickle(path, wanted)
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise InputError(f"{path}: holds no plain mapping of names to tensors; wanted is {wanted}")
    return tensors


@contextmanager
def open_tensors(path: Path, wanted: str) -> Iterator[Any]:
    """A safetensors file as ``safe_open`` gives it, its tensors not yet read; errors of reading them are told, too.

    Raises
    ------
    InputError
        No such file, too large, a header that is, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    size = regular_file(path, wanted, LARGEST)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if size < 8 or header > min(size - 8, LARGEST_HEADER):
        raise InputError(f"{path}: not a readable safetensors file; wanted is {wanted}")
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file; wanted is {wanted}") from error


def read_pickle(path: Path, wanted: str) -> Any:
    """What ``torch.save`` wrote to ``path``: tensors in plain containers on the CPU, no code run.

    Raises
    ------
    InputError
        No such file, too large, truncated, or with anything else in it.
    """
    import torch

    regular_file(path, wanted, LARGEST)
    content = path.read_bytes()  # so that an OSError below is the content's, not the disk's
    try:
        check_pickles(content)
        with warnings.catch_warnings():  # of foreign pickles and TorchScript, said better below
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable weights file; wanted is {wanted}") from error


def take(
    tensors: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size], path: Path, wanted: str
) -> dict[str, torch.Tensor]:
    """The tensors called as in ``shapes``, in float32; further names do no harm.

    Raises
    ------
    InputError
        A name is missing, has another shape or holds something other than finite numbers; the first is named. Or all
        together would hold more than the file, as views that repeat a few numbers do.
    """
    import torch

    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{path}: has no {name}; wanted is {wanted}")
        if tensors[name].shape != shape:
            given, expected = shape_text(tensors[name].shape), shape_text(shape)
            raise InputError(f"{path}: {name} is {given} where {expected} is expected; wanted is {wanted}")
    if sum(tensors[name].nbytes for name in shapes) > path.stat().st_size:
        raise InputError(f"{path}: its tensors claim more numbers than the file holds; wanted is {wanted}")
    for name in shapes:
        if not tensors[name].is_floating_point() or not bool(torch.isfinite(tensors[name].float()).all()):
            raise InputError(f"{path}: {name} holds something other than finite numbers; wanted is {wanted}")
    return {name: tensors[name].float() for name in shapes}
