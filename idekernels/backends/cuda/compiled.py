"""Numba's kernels for the device kept on disk, so that the next process need not compile them; compiles none itself.

Numba-cuda's own cache does not serve: its key of a kernel made by a factory holds the device functions that the kernel
calls, pickled, which another process need not know again; it does not hold the constants of other files; and two
processes that save at once can give each other's code a wrong key. Here a file holds one kernel, under a digest of all
that its code depends on. What cannot be read, told or written is compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

import idekernels
from idekernels.files.kept import keep, read_kept

FOLDER = "cuda-kernels"  # in the cache folder

_PACKAGES = ("numpy", "numba", "numba-cuda", "llvmlite", "cuda-bindings", "cuda-core")
_PLAIN = (bool, int, float, str, bytes, type(None), np.generic, np.dtype)


def kept_on_disk(compiled: Any, kernel: Callable[..., None]) -> Any:
    """A kernel of ``cuda.jit`` that looks for its code on disk before it compiles, and keeps there what it compiled.

    Parameters
    ----------
    compiled : numba.cuda's dispatcher of ``kernel``
    kernel : function
        One of :mod:`idekernels`, or made by a factory there. What has in its closure anything but numbers, text, types
        and such functions is compiled in every process.
    """
    # a Numba that works otherwise, or a kernel that nothing plain tells from others: compiled as ever
    with contextlib.suppress(ImportError, AttributeError, Untold):
        compiled._cache = _cache_type()(source_of(kernel))
    return compiled


class Untold(Exception):
    """A kernel holds something that has no name by which another process would know it again."""


def source_of(kernel: Any) -> str:
    """What a kernel's code depends on beside its arguments' types and the compiler: SHA-256, as text.

    That is every source file of :mod:`idekernels`, the kernel's place there, and what its closure and those of the
    device functions in it hold.
    """
    digest = hashlib.sha256(_sources())
    for part in _parts(kernel):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[str]:
    function = getattr(value, "py_func", value)  # of a device function
    if isinstance(function, FunctionType):
        code = function.__code__
        yield f"{function.__module__}.{function.__qualname__} {code.co_firstlineno} {code.co_code.hex()}"
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            yield name
            yield from _parts(cell.cell_contents)
        yield from _parts(tuple(sorted(getattr(value, "targetoptions", {}).items(), key=lambda item: item[0])))
    elif isinstance(value, tuple | list):
        yield f"{len(value)}"
        for each in value:
            yield from _parts(each)
    elif isinstance(value, _PLAIN) or type(value).__module__.startswith(("numba.core.types", "numba.cuda.types")):
        yield f"{type(value).__name__} {value!r}"
    else:
        raise Untold(f"{type(value).__name__}")


@cache
def _sources() -> bytes:
    """SHA-256 of the package's source files, read once a process."""
    folder, digest = Path(idekernels.__file__).parent, hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.digest()


@cache
def _versions() -> tuple[str, ...]:
    """Of what takes part in compiling, as far as it is installed as a package."""
    found = {each.metadata["Name"].lower(): each.version for each in importlib.metadata.distributions()}
    return tuple(f"{name} {found.get(name)}" for name in _PACKAGES)


class _OnDisk:
    """What numba-cuda's cache of one kernel does otherwise here: a file for its arguments' types, device and compiler.

    ``dispatcher`` and ``serialize`` are numba-cuda's modules; see :func:`_cache_type`.
    """

    dispatcher: Any
    serialize: Any

    def __init__(self, source: str) -> None:
        self._source = source
        self._enabled = True
        self._launch_config_key = None  # of kernels that are compiled for their launch, as none is here
        self._cache_path = FOLDER

    def _name(self, signature: Any, codegen: Any) -> str:
        told = repr((self._source, str(signature), codegen.magic_tuple(), _versions(), self._launch_config_key))
        return f"{FOLDER}/{hashlib.sha256(told.encode()).hexdigest()}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel for these types; None where none is kept, or it cannot be read."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[misc]
        except Exception:  # what an older or damaged Numba wrote can make pickle raise anything
            return None

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        found = read_kept(self._name(sig, target_context.codegen()))
        return None if found is None else self.dispatcher._Kernel._rebuild(**pickle.loads(found))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the kernel for these types, if that can be done."""
        try:
            keep(self._name(sig, data.codegen), self.serialize.dumps(data._reduce_states()))
        except Exception:  # it is compiled: no trouble with what is kept ends the work
            return

    def is_launch_config_sensitive(self) -> bool:
        """Of no kernel here."""
        return False

    def mark_launch_config_sensitive(self) -> bool:
        """Such a kernel is not kept."""
        return False

    def flush(self) -> None:
        """Nothing is held."""


@cache
def _cache_type() -> Any:
    """The cache that numba-cuda takes for one of its own; made late, as numba-cuda need not be installed."""
    dispatcher: Any = importlib.import_module("numba.cuda.dispatcher")
    serialize = _first("numba.cuda.serialize", "numba.core.serialize")
    return type("Kept", (_OnDisk, dispatcher.CUDACache), {"dispatcher": dispatcher, "serialize": serialize})


def _first(*modules: str) -> Any:
    """The first of several modules that there is."""
    for name in modules:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:  # noqa: PERF203 - two at most
            continue
    raise ImportError(f"none of {', '.join(modules)}")
