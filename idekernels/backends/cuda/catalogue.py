"""Every kernel with its argument types and its budget of registers and shared memory: what is compiled and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from numba import types

from idekernels.backends.cuda import blending, launch, propagation, residency, tables, weighing
from idekernels.backends.cuda.launch import Limits, MatchShape, match_shape
from idekernels.grid import PatchGrid

NOWHERE = Limits("any", (7, 5), 40, 16 * 2**30)  # geometry for no device in particular

# 72 registers leave 28 warps on an SM of 64 Ki registers; where a budget is larger, a comment says why
_REGISTERS = 72
_MESSAGES = 168  # ptxas keeps a dozen loads of tables in flight, which hides their latency better than warps would
_MATCH = 128  # lists of four queries and sixteen running distances stay in registers: 16 warps an SM


@dataclass(frozen=True)
class Entry:
    """A Numba kernel as it is compiled: argument types and threads of a block.

    ``shared`` bytes of a block and ``registers`` of a thread are its budget.
    """

    name: str
    kernel: Callable[..., None]
    signature: tuple[Any, ...]
    threads: int
    shared: int = 0
    registers: int = _REGISTERS


@dataclass(frozen=True)
class CudaEntry:
    """match.cu as it is compiled for one setting, with its budget of registers."""

    name: str
    shape: MatchShape
    registers: int = _MATCH

    @property
    def shared(self) -> int:
        """The budget of bytes of a block: what launch.py counts on, and no byte more."""
        return self.shape.shared()


def _array(kind: Any, dims: int) -> Any:
    return types.Array(kind, dims, "C")


def numba_entries(k: int, patch: int = 10, size: tuple[int, int] = (250, 200), channels: int = 1) -> Iterator[Entry]:
    """All Numba kernels, specialised for K candidates and this patch."""
    byte, word, real = types.uint8, types.int32, types.float32
    whole = types.int64
    field = (_array(real, 4), _array(real, 4), real, whole, whole)  # hessian, cross, alpha, rows, columns
    height, width = size
    one_a_thread, anchors = launch.warps_for(k), (_array(word, 1), _array(word, 1))
    yield Entry(
        f"gather P={patch} C={channels}", residency.gather_kernel(height, width, channels, patch),
        (_array(byte, 4), _array(whole, 1), whole, _array(byte, 4)), 128,
    )  # fmt: skip
    yield Entry(
        f"evidence K={k} P={patch}", tables.evidence_kernel(k, patch),
        (_array(byte, 4), _array(byte, 6), _array(word, 2), _array(real, 5)), launch.gram_threads(k * (k + 1) // 2),
        launch.GRAM_SHARED,
    )  # fmt: skip
    yield Entry(
        f"compatibility K={k} P={patch} C={channels}", tables.compatibility_kernel(k, patch, channels),
        (_array(byte, 6), _array(word, 2), _array(word, 2), *[_array(real, 4)] * 3),
        launch.gram_threads(k * (2 * k + 1)), launch.GRAM_SHARED,
    )  # fmt: skip
    yield Entry("centre", weighing.centre_kernel, (_array(real, 4),) * 6, 128)
    yield Entry("hessian", weighing.hessian_kernel, (*[_array(real, 4)] * 3, real, whole, whole, _array(real, 4)), 128)
    swept = (whole, *field, _array(real, 3), whole, _array(word, 1))
    yield Entry(f"sweep K={k}", weighing.sweep_kernel(k), swept, one_a_thread, 16 * k)
    yield Entry(
        f"certify K={k}", weighing.certify_kernel(k), (*field, _array(real, 3), _array(real, 3)), one_a_thread, 8 * k
    )
    lanes, parts = launch.message_lanes(k), launch.message_parts(k)
    for soft in (False, True):
        yield Entry(
            f"propagate K={k}{' sum-product' if soft else ''}", propagation.message_kernel(k, lanes, parts, soft),
            (_array(real, 3), *[_array(real, 4)] * 4, whole, real, real, real, whole, _array(real, 3),
             _array(word, 3), _array(word, 1)),
            lanes * parts, 16 * k * lanes, _MESSAGES,
        )  # fmt: skip
    yield Entry("compose", blending.compose_kernel, (_array(byte, 6), _array(real, 3), _array(real, 5)), 128)
    yield Entry(
        "blend", blending.blend_kernel,
        (_array(real, 5), *anchors, _array(word, 2), _array(word, 2), _array(real, 2), _array(real, 4)), 128,
    )  # fmt: skip
    yield Entry(
        f"cut P={patch}", blending.cut_kernel(patch), (_array(real, 5), *anchors, _array(word, 2), _array(real, 4)),
        launch.warps_for(patch), 8 * patch * (patch + 1),
    )  # fmt: skip


def match_entries() -> Iterator[CudaEntry]:
    """match.cu for settings from the smallest to the largest of each kind."""
    for name, grid, radius, weights, kept in (
        ("defaults", PatchGrid(250, 200), 5, (1,), 10),
        ("K=32", PatchGrid(250, 200), 5, (1,), 32),
        ("K=64", PatchGrid(250, 200), 5, (1,), 64),
        ("four planes", PatchGrid(250, 200), 5, (2, 2, 2, 1), 10),
        ("eight planes, K=64", PatchGrid(250, 200), 5, (1,) * 8, 64),
        ("patch 3, radius 0", PatchGrid(61, 47, 3, 1), 0, (1,), 1),
        ("patch 16, radius 16", PatchGrid(250, 200, 16, 8), 16, (1,), 20),
        ("patch 100, radius 60: no tile", PatchGrid(250, 200, 100, 50), 60, (1,), 10),
    ):
        yield CudaEntry(name, match_shape(grid, radius, len(weights), kept, weights, NOWHERE))
