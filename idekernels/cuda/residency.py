"""A bank on the device: kept there, or streamed through it in blocks of images; patches cut out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from idekernels.bank import PatchBank
from idekernels.cuda import device as devices
from idekernels.errors import InputError

Block = tuple[int, int, Any]

_SHARE = 0.6  # of the free memory that a bank may take; the rest is for tables and for the networks of stage 2
_THREADS = 128


@dataclass
class Prepared:
    """A bank and its place: ``resident`` on the device, or read block by block within ``budget`` bytes."""

    bank: PatchBank
    device: devices.Device
    budget: int
    _kept: dict[str, Any] = field(default_factory=dict)

    @property
    def pitch(self) -> int:
        """Bytes of an image row on the device: whole words."""
        return -(-self.bank.width // 4) * 4

    @property
    def resident(self) -> bool:
        """Whether all of it stays on the device."""
        planes = self.bank.planes + self.bank.channels
        return self.bank.images * planes * self.bank.height * self.pitch <= self.budget

    def blocks(self, side: str) -> Iterator[Block]:
        """Yield (first image, images, (n, planes, H, pitch) uint8 on the device), ``side`` "source" or "target"."""
        if self.resident:
            if side not in self._kept:
                self._kept[side] = self._whole(side)
            yield 0, self.bank.images, self._kept[side]
            return
        planes = {"source": self.bank.planes, "target": self.bank.channels}[side]
        size = planes * self.bank.height * self.pitch
        most = 2**32 // (self.bank.height * self.bank.width) - 1  # places within a block are 32-bit
        images = max(1, min(self.bank.images, most, self.budget // (4 * size)))  # two buffers a side
        staging, images = self._staging(images, planes)
        for first in range(0, self.bank.images, images):
            count = min(images, self.bank.images - first)
            yield first, count, staging.upload(self._padded(side, first, first + count))

    def padded(self, planes: Any) -> Any:
        """Device planes (..., H, W) with rows of whole words."""
        if self.pitch == self.bank.width:
            return planes
        wider = self.device.xp.zeros((*planes.shape[:-1], self.pitch), np.uint8)
        wider[..., : self.bank.width] = planes
        return wider

    def _whole(self, side: str) -> Any:
        try:
            return self.device.xp.asarray(self._padded(side, 0, self.bank.images))
        except MemoryError:
            raise InputError(self._too_large(self.bank.images, side)) from None

    def _staging(self, images: int, planes: int) -> tuple[devices.Staging, int]:
        """Buffers for as many images as there is memory for, halving the number until they fit."""
        while True:
            try:
                return self.device.staging((images, planes, self.bank.height, self.pitch)), images
            except MemoryError:
                if images == 1:
                    raise InputError(self._too_large(1, "source" if planes == self.bank.planes else "target")) from None
                images = -(-images // 2)

    def _too_large(self, images: int, side: str) -> str:
        planes = {"source": self.bank.planes, "target": self.bank.channels}[side]
        asked = images * planes * self.bank.height * self.pitch
        return (
            f"the device has no room for {images} {side} images of the bank: {asked} bytes asked for, "
            f"{self.device.free()} free; give --memory, take fewer photos at once, or the backend cpu"
        )

    def _padded(self, side: str, start: int, stop: int) -> Any:
        planes = getattr(self.bank, side)(start, stop)
        rest = self.pitch - self.bank.width
        return np.pad(planes, ((0, 0), (0, 0), (0, 0), (0, rest))) if rest else planes


def prepare(bank: PatchBank, memory: int | None) -> Prepared:
    """Keep the bank on the device if it fits into ``memory`` bytes (None: a share of what is free), else stream it."""
    device = devices.current()
    return Prepared(bank, device, int(_SHARE * device.free()) if memory is None else memory)


def upload(array: Any) -> Any:
    """Host memory to the device."""
    return devices.current().xp.asarray(array)


def gather(place: Any, prepared: Prepared, patch: int) -> tuple[Any, Any]:
    """Cut the candidates' source and target patches; see :func:`idekernels.operations.gather`."""
    bank, device = prepared.bank, prepared.device
    flat = place.reshape(-1)
    cut = []
    for side, planes in (("source", bank.planes), ("target", bank.channels)):
        out = device.xp.zeros((*place.shape, planes, patch, patch), np.uint8)
        copy = device.jit(gather_kernel(bank.height, bank.width, planes, patch))
        for first, _, block in prepared.blocks(side):
            copy((flat.size, 1, 1), (_THREADS, 1, 1), block, flat, first, out.reshape(flat.size, planes, patch, patch))
        cut.append(out)
    return cut[0], cut[1]


@lru_cache(maxsize=64)
def gather_kernel(height: int, width: int, planes: int, patch: int) -> Any:
    """Copy patches out of images that start with number ``first``; one block a candidate, others' are left alone."""
    from numba import cuda

    pixels = patch * patch

    def gather(images, place, first, out):  # type: ignore[no-untyped-def]
        candidate = cuda.blockIdx.x
        image = place[candidate] // (height * width) - first
        if image < 0 or image >= images.shape[0]:
            return
        y, x = place[candidate] // width % height, place[candidate] % width
        for cell in range(cuda.threadIdx.x, planes * pixels, cuda.blockDim.x):
            plane, row, column = cell // pixels, cell // patch % patch, cell % patch
            out[candidate, plane, row, column] = images[image, plane, y + row, x + column]

    return gather
