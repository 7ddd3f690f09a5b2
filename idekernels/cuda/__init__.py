"""The ``cuda`` backend: what :mod:`idekernels.reference` computes, on an NVIDIA GPU; same names and signatures.

Matching is CUDA C++ (match.cu, through CuPy), everything else Numba-CUDA. Arrays go in and come out as the device's own
(:mod:`idekernels.cuda.device`); NumPy arrays that go in are copied up. Compiled and emulated, not timed: no GPU has run
these kernels yet (docs/GPU.md).

For who writes kernels: every shared array on a line of its own (Numba's simulator tells them apart by their lines), the
module ``cuda`` a global of the kernel's module (the simulator puts its own in its place).
"""

from idekernels.cuda.blending import blend, compose, cut
from idekernels.cuda.device import why_missing
from idekernels.cuda.matching import match
from idekernels.cuda.propagation import propagate
from idekernels.cuda.residency import free_memory, gather, prepare, upload
from idekernels.cuda.tables import compatibility, evidence
from idekernels.cuda.weighing import weigh

__all__ = [
    "blend",
    "compatibility",
    "compose",
    "cut",
    "evidence",
    "free_memory",
    "gather",
    "match",
    "prepare",
    "propagate",
    "upload",
    "weigh",
    "why_missing",
]
