"""The emulated device: its memory is fakecupy's, CUDA C++ runs in fibers."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from idekernels.backends.cuda.launch import Limits
from tests.emulator import fakecupy
from tests.emulator.host import HostModule

sys.modules.setdefault("fakecupy", fakecupy)  # where idekernels.arguments.namespace finds it


class EmulatedDevice:
    """What :class:`idekernels.backends.cuda.device.CupyDevice` is, where there is no device."""

    xp = fakecupy
    limits = Limits("emulated", (8, 0), 4, 2**30)

    def __init__(
        self,
        memory: int = 2**30,
        reverse: bool = False,
        multiprocessors: int = 4,
        capability: tuple[int, int] = (8, 0),
    ) -> None:
        self.memory, self.reverse = memory, reverse
        self.limits = replace(type(self).limits, multiprocessors=multiprocessors, capability=capability)
        self.launched: list[str] = []
        self._constants: dict[Any, Any] = {}

    def module(self, source: str, options: tuple[str, ...]) -> Any:
        """CUDA C++ in fibers."""
        return _Module(HostModule(source, options, self.reverse), self.launched)

    def constant(self, array: Any) -> Any:
        """A copy for each array of its own."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = fakecupy.asarray(array)
        return self._constants[key]

    def staging(self, shape: tuple[int, ...]) -> Any:
        """Two buffers by turns."""
        if np.prod(shape) * 2 > self.memory:
            raise MemoryError
        return _Staging(shape)

    def free(self) -> int:
        """Of the memory that it was given."""
        return self.memory


class _Module:
    def __init__(self, module: HostModule, launched: list[str]) -> None:
        self._module, self._launched = module, launched

    def launch(self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: tuple[Any, ...]) -> None:
        """Run it."""
        self._launched.append(kernel)
        self._module.launch(kernel, grid, threads, tuple(map(_plain, arguments)))


class _Staging:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._buffers = [fakecupy.empty(shape, np.uint8) for _ in range(2)]
        self._turn = 0

    def upload(self, block: Any) -> Any:
        """Into the buffer whose turn it is; what was there is gone, as on a device."""
        buffer = self._buffers[self._turn]
        self._turn = 1 - self._turn
        buffer.host[...] = 0xA5
        buffer.host[: len(block)] = block
        fakecupy.copies["up"] += block.nbytes
        return buffer[: len(block)]


def _plain(value: Any) -> Any:
    return value.host if isinstance(value, fakecupy.DeviceArray) else value
