"""A bank made ready for the CPU kernels: kept in memory, or streamed a block of images at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import prange
from numpy.typing import NDArray

from idekernels.backends.cpu import threads
from idekernels.backends.cpu.copying import copy_bytes
from idekernels.backends.cpu.jit import compiled
from idekernels.backends.cpu.simd import LANES
from idekernels.backends.cpu.threads import at_most, worth
from idekernels.bank import PatchBank, SelectedBank
from idekernels.files.processes import kept_property

Blocks = tuple[int, int, NDArray[np.uint8]]

_BEHIND = 4 * LANES  # bytes that may be read past a block: words of pixels side by side end there
_COPY = 0.17  # ns a pixel that is copied, on one thread


@dataclass(frozen=True)
class Prepared:
    """A bank and how it is read: all at once (``resident``) or block by block."""

    bank: PatchBank
    resident: bool

    def __reduce__(self) -> tuple[type[Prepared], tuple[PatchBank, bool]]:
        """Pickled without what was read: it is read again there, with the bytes behind it that a copy would lack."""
        return Prepared, (self.bank, self.resident)

    def blocks(self) -> Iterator[Blocks]:
        """Yield (first image, images, (blocks, L, H, W, 32) uint8): 32 images side by side, the rest of the last zero.

        A resident bank comes at once, any other a block at a time. Behind each array's last pixel lie 128 more bytes.
        """
        if self.resident:
            yield 0, self.bank.images, self._kept
        else:
            for first in range(0, self.bank.images, LANES):
                images = min(LANES, self.bank.images - first)
                yield first, images, self._read(first, images)

    @kept_property
    def _kept(self) -> NDArray[np.uint8]:
        return self._read(0, self.bank.images)  # all or none: a damaged block must not leave the bank half read

    def _read(self, start: int, images: int) -> NDArray[np.uint8]:
        bank = self.bank
        shape = (-(-images // LANES), bank.planes, bank.height, bank.width, LANES)
        size = math.prod(shape)
        blocks = np.zeros(size + _BEHIND, np.uint8)[:size].reshape(shape)
        for number, block in enumerate(blocks):
            first = start + number * LANES
            source = bank.source(first, min(first + LANES, start + images))
            with at_most(worth(1, source.size, _COPY)):
                _interleave(source, block)
        return blocks

    def selected(self, images: NDArray[np.int64]) -> Prepared | Selected:
        """Some of the images, made ready to be searched; of a resident bank they are copied from memory."""
        some = SelectedBank(self.bank, images)
        return Selected(some, self.images[0], self._spare) if self.resident else Prepared(some, False)

    @kept_property
    def _spare(self) -> list[NDArray[np.uint8]]:
        return []

    @kept_property
    def images(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All source and target planes, image by image; read once. Only for a resident bank."""
        return self.bank.source(0, self.bank.images), self.bank.target(0, self.bank.images)


@dataclass(frozen=True)
class Selected:
    """Some images of a resident bank. planes : all of its source planes. spare : buffers that are in use by nobody.

    A buffer is used again for the next photo, by whichever thread: fresh memory costs as much as what is copied to it.
    """

    bank: SelectedBank
    planes: NDArray[np.uint8]
    spare: list[NDArray[np.uint8]]

    def blocks(self) -> Iterator[Blocks]:
        """Yield once, as :meth:`Prepared.blocks` does for a resident bank; the pixels are good until the next step."""
        images = self.bank.images
        shape = (-(-images // LANES), *self.planes.shape[1:], LANES)
        size = math.prod(shape)
        try:
            buffer = self.spare.pop()
        except IndexError:  # others use them all
            buffer = np.empty(0, np.uint8)
        if len(buffer) < size + _BEHIND:
            buffer = np.zeros(size + _BEHIND, np.uint8)
        blocks = buffer[:size].reshape(shape)
        with at_most(worth(1, size, _COPY)):
            _interleave_some(self.planes, self.bank.numbers, blocks)
        yield 0, images, blocks
        self.spare.append(buffer)


def prepare(bank: PatchBank, memory: int | None) -> Prepared:
    """Keep the bank in memory if it fits into ``memory`` bytes (None: always), else read it when needed."""
    pixels = bank.height * bank.width
    kept = -(-bank.images // LANES) * LANES * bank.planes * pixels
    images = bank.images * (bank.planes + bank.channels) * pixels
    return Prepared(bank, memory is None or kept + images <= memory)


def select(prepared: Prepared, images: NDArray[np.int64]) -> Prepared | Selected:
    """Some of a prepared bank's images, for ``match``; see :meth:`idekernels.backends.protocol.Backend.select`."""
    return prepared.selected(images)


def side_by_side(prepared: Prepared) -> int:
    """Calls that are best made at the same time: one where each would read all of the bank."""
    calls = threads.calls() if prepared.resident else 1
    if calls > 1:
        _ = prepared._kept, prepared.images  # once, and not by each of them
    return calls


def upload(array):
    """The array itself: this backend computes where it is."""
    return array


def free_memory():
    """None: there is no device whose memory would limit a batch; host memory is left to the operating system."""
    return None


def gather(place, prepared, patch):
    """Cut the candidates' source and target patches; see :func:`idekernels.operations.gather`."""
    photos, nodes, k = place.shape
    bank = prepared.bank
    source = np.empty((photos, nodes, k, bank.planes, patch, patch), np.uint8)
    target = np.empty((photos, nodes, k, bank.channels, patch, patch), np.uint8)
    flat = place.reshape(-1)
    cut = source.reshape(flat.size, *source.shape[3:]), target.reshape(flat.size, *target.shape[3:])
    if prepared.resident:
        _copy(photos, prepared.images, flat, np.arange(flat.size), 0, cut)
        return source, target
    image = flat // (bank.height * bank.width)
    order = np.argsort(image, kind="stable")
    used, starts = np.unique(image[order], return_index=True)
    for i, who in zip(used, np.split(order, starts[1:]), strict=True):
        _copy(1, (bank.source(i, i + 1), bank.target(i, i + 1)), flat, who, i, cut)
    return source, target


def _copy(photos, images, place, which, first, out):
    """Copy the patches at ``place[which]`` out of source and target images that start with number ``first``."""
    pixels = len(which) * (out[0][0].size + out[1][0].size)
    with at_most(worth(photos, pixels, _COPY)):
        _cut(images[0], images[1], place, which, first, out[0], out[1])


@compiled(parallel=True)
def _interleave(images, block):
    """Lay up to 32 images side by side in the innermost axis; a row a task.

    images : (n, L, H, W) uint8, n at most 32. block : (L, H, W, 32) uint8, written in its first n lanes.
    """
    planes, height, width, _ = block.shape
    for row in prange(planes * height):
        plane, y = row // height, row % height
        for x in range(width):
            for image in range(len(images)):
                block[plane, y, x, image] = images[image, plane, y, x]


@compiled(parallel=True)
def _interleave_some(images, numbers, blocks):
    """Lay chosen images side by side in the innermost axis, 32 a block, zeros behind the last; a row a task.

    images : (n, L, H, W) uint8. numbers : (chosen,) int64, of the images. Written: blocks (blocks, L, H, W, 32) uint8.
    """
    count, planes, height, width, lanes = blocks.shape
    for row in prange(count * planes * height):
        block, plane, y = row // (planes * height), row // height % planes, row % height
        first = block * lanes
        filled = min(lanes, len(numbers) - first)
        out = blocks[block, plane, y]
        for lane in range(filled):
            pixels = images[numbers[first + lane], plane, y]
            for x in range(width):
                out[x, lane] = pixels[x]
        out[:, filled:] = 0


@compiled(parallel=True)
def _cut(sources, targets, place, which, first, source, target):
    """Copy the candidates' source and target patches out of images; a candidate a task.

    sources : (images, L, H, W) uint8. targets : (images, C, H, W) uint8. place : (candidates,) int64, in the whole
    bank. which : (n,) int64, the candidates to copy. first : int64, number of the first image. Written: source :
    (candidates, L, P, P) uint8; target : (candidates, C, P, P) uint8.
    """
    _, _, height, width = sources.shape
    for task in prange(len(which)):
        candidate = which[task]
        image, pixel = place[candidate] // (height * width) - first, place[candidate] % (height * width)
        y, x = pixel // width, pixel % width
        _cut_patch(sources[image], y, x, source[candidate])
        _cut_patch(targets[image], y, x, target[candidate])


@compiled()
def _cut_patch(planes, y, x, out):
    """Copy one patch out of an image.

    planes : (planes, H, W) uint8. y, x : int64, its first pixel. out : (planes, P, P) uint8, written.
    """
    (_, height, width), patch = planes.shape, out.shape[-1]
    to = out.ctypes.data
    for plane in range(len(planes)):
        start = planes.ctypes.data + (plane * height + y) * width + x
        for row in range(patch):
            copy_bytes(to, start + row * width, patch)
            to += patch
