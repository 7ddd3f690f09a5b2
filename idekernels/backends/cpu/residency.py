"""A bank made ready for the CPU kernels: kept in memory, or streamed a block of images at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import prange
from numpy.typing import NDArray

from idekernels.backends.cpu.jit import compiled
from idekernels.backends.cpu.simd import LANES
from idekernels.bank import PatchBank
from idekernels.files.processes import kept_property

Block = tuple[int, int, NDArray[np.uint8]]


@dataclass(frozen=True)
class Prepared:
    """A bank and how it is read: all at once (``resident``) or block by block."""

    bank: PatchBank
    resident: bool

    def blocks(self) -> Iterator[Block]:
        """Yield (first image, images, (L, H, W, 32) uint8): 32 images side by side, the rest of the last one zero."""
        yield from self._kept if self.resident else self._read()

    @kept_property
    def _kept(self) -> tuple[Block, ...]:
        return tuple(self._read())  # all blocks or none: a damaged one must not leave the bank half read

    def _read(self) -> Iterator[Block]:
        bank = self.bank
        for first in range(0, bank.images, LANES):
            images = min(LANES, bank.images - first)
            block = np.zeros((bank.planes, bank.height, bank.width, LANES), np.uint8)
            _interleave(bank.source(first, first + images), block)
            yield first, images, block

    @kept_property
    def images(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All source and target planes, image by image; read once. Only for a resident bank."""
        return self.bank.source(0, self.bank.images), self.bank.target(0, self.bank.images)


def prepare(bank: PatchBank, memory: int | None) -> Prepared:
    """Keep the bank in memory if it fits into ``memory`` bytes (None: always), else read it when needed."""
    pixels = bank.height * bank.width
    kept = -(-bank.images // LANES) * LANES * bank.planes * pixels
    images = bank.images * (bank.planes + bank.channels) * pixels
    return Prepared(bank, memory is None or kept + images <= memory)


def upload(array):
    """The array itself: this backend computes where it is."""
    return array


def free_memory():
    """None: the host's memory is the system's to give."""
    return None


def gather(place, prepared, patch):
    """Cut the candidates' source and target patches; see :func:`idekernels.operations.gather`."""
    photos, nodes, k = place.shape
    bank = prepared.bank
    source = np.empty((photos, nodes, k, bank.planes, patch, patch), np.uint8)
    target = np.empty((photos, nodes, k, bank.channels, patch, patch), np.uint8)
    flat = place.reshape(-1)
    if prepared.resident:
        planes, pictures = prepared.images
        _cut(planes, flat, np.arange(flat.size), 0, source.reshape(flat.size, *source.shape[3:]))
        _cut(pictures, flat, np.arange(flat.size), 0, target.reshape(flat.size, *target.shape[3:]))
        return source, target
    image = flat // (bank.height * bank.width)
    order = np.argsort(image, kind="stable")
    used, starts = np.unique(image[order], return_index=True)
    for i, who in zip(used, np.split(order, starts[1:]), strict=True):
        _cut(bank.source(i, i + 1), flat, who, i, source.reshape(flat.size, *source.shape[3:]))
        _cut(bank.target(i, i + 1), flat, who, i, target.reshape(flat.size, *target.shape[3:]))
    return source, target


@compiled(parallel=True)
def _interleave(images, block):
    planes, height, width, _ = block.shape
    for row in prange(planes * height):
        plane, y = row // height, row % height
        for x in range(width):
            for image in range(len(images)):
                block[plane, y, x, image] = images[image, plane, y, x]


@compiled(parallel=True)
def _cut(images, place, which, first, out):
    """Copy the patches at ``place[which]`` out of images that start with number ``first``."""
    _, planes, height, width = images.shape
    patch = out.shape[-1]
    for task in prange(len(which)):
        candidate = which[task]
        image, pixel = place[candidate] // (height * width) - first, place[candidate] % (height * width)
        y, x = pixel // width, pixel % width
        for plane in range(planes):
            for row in range(patch):
                for column in range(patch):
                    out[candidate, plane, row, column] = images[image, plane, y + row, x + column]
