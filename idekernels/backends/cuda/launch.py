"""Constants and geometry of every launch: warps, block sizes, checks, sentinels, shares of memory; launches nothing.

Every number that more than one file needs stands here. CUDA C++ gets those that it needs as macros
(:func:`compiler_options`), so that none is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from idekernels.errors import InputError
from idekernels.merging import MISSING

WARP = 32  # threads
CLUSTERS_FROM = (9, 0)  # compute capability of devices whose blocks can wait for one another, in clusters
MOST_WARPS = 32  # of a block, on every device
THREADS = 128  # per block, of kernels that compute one element a thread
WORD = 4  # bytes: image rows on the device are whole words, read four pixels at a time
WORST = int(MISSING)  # distance of an empty entry, as a plain integer for the compiler's options
MOST_KEPT = 64  # candidates: two registers a lane for every list of the matching, one block of threads in weigh
MOST_CUT = 64  # pixels of a patch's side in the minimum-error cut: a warp's tables are 25 KiB of shared memory

CHECK_SWEEPS = 8  # sweeps of weigh, where each is a launch, between two reads of whether a photo still moves
CHECK_ITERATIONS = 8  # iterations of propagate, where each is a launch, between two reads of whether messages change

MOST_ITEMS = 2**31  # blocks along the first axis of a launch, and numbers within one item: indices are 32-bit
MOST_BLOCKS = 2**16 - 1  # along the others

STATIC_SHARED = 48 * 1024  # bytes a block may declare on every device since sm_50 without asking


# Products and sums are rounded one by one where a kernel is compiled in several shapes whose results must be the same
# to the bit: which product of two the compiler would fuse with their sum, it decides anew for each.
UNFUSED = "--fmad=false"


@dataclass(frozen=True)
class Limits:
    """What the geometry depends on; read off a device's properties, or stated for a device that is not here.

    multiprocessors : SMs. shared : bytes of shared memory a block may declare. memory : bytes of the device in all.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int
    shared: int = STATIC_SHARED


def compiler_options(**macros: int) -> tuple[str, ...]:
    """The options that CUDA C++ is compiled with: the constants above that it needs, and a kernel's own macros."""
    common = (f"-DLANES={WARP}", f"-DWORST={WORST}u")
    return ("-std=c++17", *common, *(f"-D{name}={int(value)}" for name, value in macros.items()))


def pitch(width: int) -> int:
    """Bytes of an image row on the device, for ``width`` pixels of uint8: whole words."""
    return -(-width // WORD) * WORD


def blocks_for(cells: int) -> tuple[int, int, int]:
    """The grid of a kernel with one thread a cell, in blocks of ``THREADS``."""
    return -(-cells // THREADS), 1, 1


def blocks(across: int, down: int, deep: int) -> tuple[int, int, int]:
    """The grid of a launch, and a refusal where it is larger than a device takes.

    Raises
    ------
    InputError
        More nodes or photos than a device's 32-bit numbers, or 65,535 in the last two axes.
    """
    if across >= MOST_ITEMS or max(down, deep) > MOST_BLOCKS:
        raise InputError(
            f"{across} x {down} x {deep} blocks are more than the backend cuda launches at once "
            f"(2^31 - 1 and {MOST_BLOCKS} each): take fewer photos at once, or the backend cpu"
        )
    return across, down, deep


def number(count: int) -> np.int32:
    """A count as kernels take it, whose indices within it are 32-bit.

    Raises
    ------
    InputError
        It does not fit.
    """
    if count >= MOST_ITEMS:
        raise InputError(
            f"{count} items are more than the backend cuda numbers (2^31 - 1): take fewer photos at once or smaller "
            "ones, or the backend cpu"
        )
    return np.int32(count)


def whole_words(array: Any) -> Any:
    """A device array of bytes whose address is a multiple of a word's, as kernels read it: itself, or a copy."""
    return array if array.__cuda_array_interface__["data"][0] % WORD == 0 else array.copy()
