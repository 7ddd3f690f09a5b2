"""A bank on the device: kept there, or streamed through it in blocks of images; patches cut out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch
from idekernels.backends.cuda.launch import WARP
from idekernels.backends.cuda.variants import source_text
from idekernels.bank import PatchBank, SelectedBank
from idekernels.errors import InputError

Block = tuple[int, int, Any]

GATHER = ("common.cuh", "gather.cu")
GATHER_WARPS = 4  # of a block
MINE = 16  # candidates of a warp: few enough that one photo's fill a card, enough that a lane's own work is little

_SHARE = 0.6  # of the free memory that a bank may take; the rest is for tables and for the networks of stage 2


@dataclass
class Prepared:
    """A bank and its place: ``resident`` on the device, or read block by block within ``budget`` bytes."""

    bank: PatchBank
    device: devices.Device
    budget: int
    _kept: dict[str, Any] = field(default_factory=dict)  # sides of a resident bank; zeros
    _buffers: dict[str, tuple[devices.Staging, int]] = field(default_factory=dict)  # a streamed one's, and their images

    @property
    def pitch(self) -> int:
        """Bytes of an image row on the device: whole words."""
        return launch.pitch(self.bank.width)

    @property
    def resident(self) -> bool:
        """Whether all of it stays on the device."""
        return self._whole <= self.budget

    def blocks(self, side: str) -> Iterator[Block]:
        """Yield (first image, images, (n, planes, H, pitch) uint8 on the device), ``side`` "source" or "target"."""
        if self._stays(side):
            yield 0, self.bank.images, self._kept[side]
            return
        if side not in self._buffers:
            self._buffers[side] = self._staging(side)
        staging, images = self._buffers[side]
        for first in range(0, self.bank.images, images):
            count = min(images, self.bank.images - first)
            yield first, count, staging.upload(self._padded(side, first, first + count))

    def whole(self) -> tuple[Any, Any] | None:
        """All source and all target planes where both stay on the device."""
        stay = self._stays("source") and self._stays("target")
        return (self._kept["source"], self._kept["target"]) if stay else None

    def nobody(self, photos: int, images: int) -> Any:
        """Zeros uint8, photos * images of them or more, for a search that may use every image; not to be written to."""
        zeros = self._kept.get("nobody")
        if zeros is None or zeros.size < photos * images:
            zeros = self._kept["nobody"] = self.device.constant(np.zeros(photos * images, np.uint8))
        return zeros

    def selected(self, images: NDArray[np.int64]) -> Prepared:
        """Some of the images, made ready to be searched; of a resident bank they are gathered on the device."""
        kept: dict[str, Any] = {}
        if self._stays("source"):
            kept["source"] = self.device.xp.take(self._kept["source"], self.device.xp.asarray(images), axis=0)
        return Prepared(SelectedBank(self.bank, images), self.device, self.budget, kept)

    def padded(self, planes: Any) -> Any:
        """Device planes (..., H, W) with rows of whole words."""
        if self.pitch == self.bank.width:
            return planes
        wider = self.device.xp.zeros((*planes.shape[:-1], self.pitch), np.uint8)
        wider[..., : self.bank.width] = planes
        return wider

    def _stays(self, side: str) -> bool:
        """Whether a side is on the device; a bank that finds no room there after all is streamed from then on."""
        if self.resident and side not in self._kept:
            try:
                self._kept[side] = self.device.xp.asarray(self._padded(side, 0, self.bank.images))
            except MemoryError:
                self._kept.clear()
                self.budget = min(self.device.free() // 2, self._whole - 1)
        return side in self._kept

    @property
    def _whole(self) -> int:
        return self.bank.images * (self._size("source") + self._size("target"))

    def _size(self, side: str) -> int:
        """Bytes of one image on the device."""
        planes = {"source": self.bank.planes, "target": self.bank.channels}[side]
        return planes * self.bank.height * self.pitch

    def _staging(self, side: str) -> tuple[devices.Staging, int]:
        """Buffers for as many images as there is memory for, halving the number until they fit."""
        most = 2**32 // (self.bank.height * self.bank.width) - 1  # places within a block are 32-bit
        size = self._size(side)
        images = max(1, min(self.bank.images, most, self.budget // (4 * size)))  # two buffers a side
        while True:
            staging = self._allocated((images, size // (self.bank.height * self.pitch), self.bank.height, self.pitch))
            if staging:
                return staging, images
            if images == 1:
                raise InputError(
                    f"the device has no room for two {side} images of the bank: {2 * size} bytes asked for, "
                    f"{self.device.free()} free; take fewer photos at once, or the backend cpu"
                )
            images = -(-images // 2)

    def _allocated(self, shape: tuple[int, ...]) -> devices.Staging | None:
        try:
            return self.device.staging(shape)
        except MemoryError:
            return None

    def _padded(self, side: str, start: int, stop: int) -> Any:
        planes = getattr(self.bank, side)(start, stop)
        rest = self.pitch - self.bank.width
        return np.pad(planes, ((0, 0), (0, 0), (0, 0), (0, rest))) if rest else planes


def prepare(bank: PatchBank, memory: int | None) -> Prepared:
    """Keep the bank on the device if it fits into ``memory`` bytes (None: a share of what is free), else stream it."""
    device = devices.current()
    return Prepared(bank, device, int(_SHARE * device.free()) if memory is None else memory)


def select(prepared: Prepared, images: NDArray[np.int64]) -> Prepared:
    """Some of a prepared bank's images, for ``match``; see :meth:`idekernels.backends.protocol.Backend.select`."""
    return prepared.selected(images)


def upload(array: Any) -> Any:
    """Host memory to the device."""
    return devices.current().xp.asarray(array)


def free_memory() -> int:
    """Bytes of the device that are not allocated."""
    return devices.current().free()


def gather(places: tuple[Any, Any, Any], prepared: Prepared, patch: int) -> tuple[Any, Any]:
    """Cut the candidates' source and target patches; see :meth:`idekernels.backends.protocol.Backend.gather`."""
    bank, device, shape = prepared.bank, prepared.device, places[0].shape
    kernels = device.module(
        source_text(GATHER), gather_options(bank.height, bank.width, bank.planes, bank.channels, patch)
    )
    cut = [device.xp.empty((*shape, planes, patch, patch), np.uint8) for planes in (bank.planes, bank.channels)]
    count = launch.number(places[0].size)

    def queue(side: int, sides: int, first: int, images: int, blocks: tuple[Any, Any]) -> None:
        kernels.launch(
            "gather", launch.blocks(-(-int(count) // (GATHER_WARPS * MINE)), sides, 1), WARP * GATHER_WARPS,
            (*blocks, np.int32(side), np.int32(images), *places, count, np.int32(first), *cut),
        )  # fmt: skip

    whole = prepared.whole()
    if whole is not None:
        queue(0, 2, 0, bank.images, whole)
        return cut[0], cut[1]
    for number, side in enumerate(("source", "target")):  # every candidate is in one of the blocks
        for first, images, block in prepared.blocks(side):
            queue(number, 1, first, images, (block, block))
    return cut[0], cut[1]


@cache
def gather_options(height: int, width: int, planes: int, channels: int, patch: int) -> tuple[str, ...]:
    """The compiler's options for gather.cu."""
    pitch = launch.pitch(width)
    launch.number(max(planes, channels) * height * pitch)  # bytes of an image
    return launch.compiler_options(
        PLANES=planes, CHANNELS=channels, HEIGHT=height, PITCH=pitch, PATCH=patch, MINE=MINE, WARPS=GATHER_WARPS
    )
