"""The device that kernels run on, by way of CuPy, which owns memory and streams; no kernels here.

Tests put another device in its place (:func:`use`), one that emulates; nothing else in this package knows CuPy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np

from idekernels.backends.cuda import cubins, waking
from idekernels.backends.cuda.launch import STATIC_SHARED, Limits
from idekernels.errors import InputError, in_short
from idekernels.files.cache import writable_folder

TOOLKITS = {12: "idesketch[cuda12]", 13: "idesketch[cuda13]"}
_INSTALL = "pip install 'idesketch[cuda12]' (CUDA 12) or 'idesketch[cuda13]' (CUDA 13)"


class Module(Protocol):
    """Compiled CUDA C++: kernels by name."""

    def launch(self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: tuple[Any, ...]) -> None:
        """Queue a kernel on the current stream; array arguments are the device's, integers NumPy scalars."""


class Staging(Protocol):
    """Two buffers that a bank's blocks go through, so that one is filled while the other is computed with."""

    def upload(self, block: Any) -> Any:
        """A block (n, ...) of host memory as a device array, ready for what is queued next on the current stream."""


class Device(Protocol):
    """Memory, streams and compiled kernels."""

    xp: Any  # cupy, or a module that works alike
    limits: Limits

    def module(self, source: str, options: tuple[str, ...]) -> Module:
        """Compile CUDA C++."""

    def constant(self, array: Any) -> Any:
        """A small NumPy array on the device, kept there for whoever asks for the same again; not to be written to."""

    def staging(self, shape: tuple[int, ...]) -> Staging:
        """Buffers for blocks of uint8; MemoryError where they do not fit."""

    def free(self) -> int:
        """Bytes that could be allocated."""


_current: list[Device] = []


def current() -> Device:
    """The device in use; the first call finds it.

    Raises
    ------
    ImportError
        It cannot be had; the message says why and what to install.
    """
    if _forked or not _current:
        reason = why_missing()
        if reason:
            raise ImportError(reason)
        _current.append(CupyDevice())
    return _current[-1]


@contextlib.contextmanager
def use(device: Device) -> Iterator[None]:
    """Work on another device for a while."""
    _current.append(device)
    try:
        yield
    finally:
        _current.pop()


def why_missing() -> str | None:
    """Why no CUDA device can be used, with the remedy; None if one can."""
    if _forked:
        return "this process was forked from one that had looked at the device: start processes with spawn, not fork"
    return None if _current else _reason()


@cache
def _reason() -> str | None:
    """Looked for once a process."""
    try:
        with waking.driver_started():
            import cupy
    except ImportError as error:
        return f"CuPy is missing ({in_short(error)}): {_INSTALL}"
    except Exception as error:  # a broken package can raise anything when it is imported
        return f"importing CuPy fails ({_told(error)}): uninstall every cupy package, then {_INSTALL}"
    name_a_folder_for_cupy()
    toolkit = cupy.cuda.runtime.runtimeGetVersion() // 1000
    try:
        driver = cupy.cuda.runtime.driverGetVersion()
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no NVIDIA driver answers ({error}): install one that knows CUDA {toolkit}"
    if driver == 0:
        return f"no NVIDIA driver is installed: install one that knows CUDA {toolkit}"
    if driver // 1000 < toolkit:
        other = TOOLKITS.get(driver // 1000)
        remedy = f"pip uninstall cupy-cuda{toolkit}x and pip install '{other}'" if other else "a newer driver"
        return f"the driver knows CUDA {driver // 1000}, CuPy is for CUDA {toolkit}: {remedy}"
    if count == 0:
        return "the NVIDIA driver sees no device"
    return _why_nothing_runs(cupy)


def name_a_folder_for_cupy() -> None:
    """Have kernels kept where they can be kept; CuPy fails where the folder that it would take is read-only.

    Nothing is changed where CuPy's own folder, or the one that the user named, can be written.
    """
    usual = cubins.folder()
    if usual is None:
        return
    there = next((place for place in (usual, *usual.parents) if os.path.lexists(place)), None)
    if there and there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    try:
        os.environ["CUPY_CACHE_DIR"] = str(writable_folder(lambda _: None, "cupy"))
    except (OSError, InputError):
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"


_ADD_TWO = 'extern "C" __global__ void add_two(int* out) { *out += 2; }'


def _why_nothing_runs(cupy: Any) -> str | None:
    """Why no kernel can be compiled and run; None if one can."""
    kind = "no kernel runs there"
    try:
        device = CupyDevice()
        out = cupy.asarray(np.ones(1, np.int32))
        kind = "the kernel add_two does not run there"
        device.module(_ADD_TWO, ()).launch("add_two", (1, 1, 1), 1, (out,))
        found = int(out[0])
    except Exception as error:  # compilers, libraries and drivers that do not fit each other raise anything
        return f"a device answers, but {kind} ({_told(error)}; {_versions()}): {_INSTALL}, with the driver's version"
    return None if found == 3 else f"a device answers, but its kernels compute 1 + 2 = {found}: do not use it"


def _versions() -> str:
    """What took part in compiling a kernel, with its version."""
    import importlib.metadata

    found = []
    for package in ("numpy", "cupy-cuda12x", "cupy-cuda13x"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(found)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {in_short(error)}"


_forked: list[bool] = []  # not empty in the child of a process that had used the device: CUDA does not outlive a fork


def _after_fork() -> None:
    if _reason.cache_info().currsize and _reason() is None:
        _forked.append(True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class CupyDevice:
    """CuPy's current device and current stream."""

    def __init__(self) -> None:
        import cupy

        self.xp = cupy
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        self.limits = Limits(
            properties["name"].decode(),
            (properties["major"], properties["minor"]),
            properties["multiProcessorCount"],
            properties["totalGlobalMem"],
            min(STATIC_SHARED, properties["sharedMemPerBlock"]),
        )

    def module(self, source: str, options: tuple[str, ...]) -> Module:
        """Compile with NVRTC, or take what a process before has kept on disk."""
        return self._loaded(self.xp.cuda.runtime.getDevice(), source, options)

    @lru_cache(maxsize=256)  # noqa: B019 - there is one such object for the life of the process
    def _loaded(self, device: int, source: str, options: tuple[str, ...]) -> Module:
        return _CupyModule(cubins.load(self.xp, source, options))

    def constant(self, array: Any) -> Any:
        """Copied once a device, and there for every stream."""
        return self._constant(self.xp.cuda.runtime.getDevice(), array.dtype.str, array.shape, array.tobytes())

    @lru_cache(maxsize=256)  # noqa: B019 - as above
    def _constant(self, device: int, kind: str, shape: tuple[int, ...], content: bytes) -> Any:
        return self.xp.asarray(np.frombuffer(content, kind).reshape(shape), blocking=True)

    def staging(self, shape: tuple[int, ...]) -> Staging:
        """Pinned buffers and a stream of their own for the copies."""
        return _CupyStaging(self.xp, shape)

    def free(self) -> int:
        """What the driver has, and what CuPy's pool keeps unused."""
        available, _ = self.xp.cuda.runtime.memGetInfo()
        return int(available + self.xp.get_default_memory_pool().free_bytes())


class _CupyModule:
    def __init__(self, module: Any) -> None:
        self._module = module
        self._kernels: dict[str, Any] = {}

    def launch(self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: tuple[Any, ...]) -> None:
        """Queue it on CuPy's current stream."""
        if kernel not in self._kernels:
            self._kernels[kernel] = self._module.get_function(kernel)
        self._kernels[kernel](grid, (threads, 1, 1), arguments)


class _CupyStaging:
    """Copies run on a stream of their own: block n + 1 is read and copied while block n is computed with."""

    def __init__(self, cupy: Any, shape: tuple[int, ...]) -> None:
        self._cupy, self._turn = cupy, 0
        self._copies = cupy.cuda.Stream(non_blocking=True)
        size = int(np.prod(shape))
        self._pinned = [cupy.cuda.alloc_pinned_memory(size) for _ in range(2)]
        self._host = [np.frombuffer(memory, np.uint8, size).reshape(shape) for memory in self._pinned]
        self._device = [cupy.empty(shape, np.uint8) for _ in range(2)]
        self._copied = [cupy.cuda.Event(disable_timing=True) for _ in range(2)]
        self._used: list[Any] = [None, None]

    def upload(self, block: Any) -> Any:
        """Copy through the buffer whose turn it is, once what was queued with its last content is done."""
        turn = self._turn
        compute = self._cupy.cuda.get_current_stream()
        previous = self._used[1 - turn] = self._cupy.cuda.Event(disable_timing=True)
        previous.record(compute)  # what is queued so far is all that uses the other buffer
        if self._used[turn] is not None:
            self._copied[turn].synchronize()  # the pinned memory has been read
            self._copies.wait_event(self._used[turn])  # the device memory has been used
        self._host[turn][: len(block)] = block
        arriving = self._device[turn][: len(block)]
        arriving.set(self._host[turn][: len(block)], stream=self._copies)
        self._copied[turn].record(self._copies)
        compute.wait_event(self._copied[turn])
        self._turn = 1 - turn
        return arriving
