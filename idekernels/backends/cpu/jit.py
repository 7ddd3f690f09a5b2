"""How this backend compiles its kernels and calls the parallel ones: cached on disk, and whoever threads or forks.

Numba's threads have two weak points. Its layer ``workqueue`` ends the process where two threads of Python use it at
once, and no layer but ``tbb`` outlives a fork: GNU's OpenMP ends the child, or the child waits for ever. So parallel
kernels are called one at a time until the layer is known to be safe, and in the child of a fork as serial kernels.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps

from idekernels.errors import in_short
from idekernels.files.processes import forked_by_multiprocessing, keep_over_forks, kept_property

SAFE_LAYERS = ("tbb", "omp")  # those that several threads of Python may use at once

_NO_CACHE = "no locator available"
_OPENMP = ("torch", "sklearn")  # packages that may have used the OpenMP library that Numba uses

Kernel = Callable[..., Any]


@dataclass
class _Process:
    """What happened in this process."""

    used: bool = False  # Numba's threads were started
    safe: bool = False  # by a layer that several threads may use at once
    forked: bool = False  # from a process in which threads of a library that does not outlive it may have been started
    cache_trouble: str | None = None


_process = _Process()
_one_at_a_time = threading.RLock()


def _after_fork() -> None:
    _process.forked = _process.forked or _process.used or _openmp_loaded()


def _openmp_loaded() -> bool:
    return any(package in sys.modules for package in _OPENMP)


keep_over_forks(global_compiler_lock)
keep_over_forks(_one_at_a_time)  # after the other: a fork takes them in reverse, as a call that compiles does
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
if forked_by_multiprocessing() and _openmp_loaded():
    _process.forked = True


def compiled(**options: Any) -> Callable[[Kernel], Any]:
    """Decorate a kernel like ``numba.njit(**options)``, cached on disk if any cache folder can be written.

    A parallel kernel is for calls from Python alone: compiled code cannot call what is made here of it. It lets go of
    Python's lock, so that other threads read and write files meanwhile.
    """
    return (
        functools.partial(Parallel, {**options, "nogil": True})
        if options.get("parallel")
        else functools.partial(_jitted, options)
    )


class Parallel:
    """A parallel kernel as Python calls it: safe in several threads at once, and in the child of a fork."""

    def __init__(self, options: dict[str, Any], kernel: FunctionType) -> None:
        functools.update_wrapper(self, kernel)
        self._options, self._kernel = options, kernel
        self._threaded = _jitted(options, kernel)

    @kept_property
    def _serial(self) -> Kernel:
        """The same without threads, under a name of its own: Numba's cache does not tell the two apart."""
        kernel = self._kernel
        alone = FunctionType(kernel.__code__, kernel.__globals__, kernel.__name__)
        alone.__module__, alone.__qualname__ = kernel.__module__, f"{kernel.__qualname__}.serial"
        return _jitted({**self._options, "parallel": False}, alone)

    def __call__(self, *arguments: Any) -> Any:
        """Run it and return what it returns."""
        if _process.forked:
            return self._serial(*arguments)
        if _process.safe:
            return self._threaded(*arguments)
        with _one_at_a_time:
            _process.used = True
            result = self._threaded(*arguments)
            _process.safe = layer() in SAFE_LAYERS
        return result


def safe() -> bool:
    """Whether several threads of Python may call kernels at the same time; known once a parallel one has run."""
    return _process.safe and not _process.forked


def threads() -> int:
    """How many threads a parallel kernel runs on when it is called now."""
    if _process.forked:
        return 1
    _process.used = True
    return int(numba.get_num_threads())


def layer() -> str | None:
    """Numba's threading layer, None before the first parallel kernel ran."""
    try:
        return str(numba.threading_layer())
    except ValueError:
        return None


def why_missing() -> str | None:
    """Why nothing can be compiled here, with the remedy; None if it can."""
    if getattr(numba.config, "DISABLE_JIT", 0):
        return "NUMBA_DISABLE_JIT is set, and the kernels of the CPU run compiled alone: unset it"
    return None


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None where no folder can be written."""

    def probe() -> None:
        """Never called: only its file decides where the cache would be."""

    path = getattr(getattr(compiled()(probe), "stats", None), "cache_path", None)
    return Path(path) if path else None


def cache_trouble() -> str | None:
    """What went wrong last with the cache in this process, in a few words; None if nothing did."""
    return _process.cache_trouble


def _jitted(options: dict[str, Any], kernel: FunctionType) -> Any:
    """A kernel compiled by Numba.

    Numba raises when neither the package nor the user's cache folder is writable (a read-only install without a
    home); compiling once a process is then the right thing, not a crash.
    """
    made = numba.njit(**options)(kernel)
    if made is not kernel:  # it is, where NUMBA_DISABLE_JIT is set
        try:
            made._cache = _Cache(kernel)
            made._cache.options = tuple(sorted(options.items()))
        except RuntimeError as error:
            if _NO_CACHE not in str(error):
                raise
    return made


class _Code(CompileResultCacheImpl):
    """Compiled code with its checksum: altered code would end the process that runs it."""

    def reduce(self, made: Any) -> tuple[bytes, bytes]:
        """The code and its SHA-256."""
        code: bytes = dumps(super().reduce(made))
        return hashlib.sha256(code).digest(), code

    def rebuild(self, target: Any, kept: tuple[bytes, bytes]) -> Any:
        """What was reduced; ValueError where it was altered since."""
        digest, code = kept
        if hashlib.sha256(code).digest() != digest:
            raise ValueError("compiled code does not have its checksum")
        return super().rebuild(target, pickle.loads(code))


class _Cache(FunctionCache):
    """Numba's cache; what cannot be read is not there, and what cannot be written is compiled anew the next time."""

    _impl_class = _Code
    options: tuple[tuple[str, Any], ...] = ()  # of the compiler, which Numba's own key leaves out

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """Numba's key, and how the kernel is compiled."""
        return (*super()._index_key(sig, codegen), self.options)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The kernel for these types; None where the cache has none, or cannot be read."""
        try:
            return super().load_overload(signature, target)
        except Exception as error:  # a damaged file can make pickle raise anything
            _process.cache_trouble = f"could not be read ({in_short(error)})"
            return None

    def save_overload(self, signature: Any, made: Any) -> None:
        """Keep the kernel for these types, if that can be done."""
        try:
            self._save_over_damage(signature, made)
        except Exception as error:  # the kernel is compiled: no trouble with its cache ends the work
            _process.cache_trouble = f"could not be written ({in_short(error)})"

    def _save_over_damage(self, signature: Any, made: Any) -> None:
        """Save; where what is there cannot be read, in its place."""
        try:
            super().save_overload(signature, made)
        except OSError:
            raise
        except Exception:  # as in load_overload
            self.flush()
            super().save_overload(signature, made)
