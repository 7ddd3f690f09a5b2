"""The ``cuda`` backend: :mod:`idekernels.backends.reference` on an NVIDIA GPU, same names and signatures.

Matching is CUDA C++ (match.cu, through CuPy), everything else Numba-CUDA. Arrays go in and come out as the device's own
(:mod:`idekernels.backends.cuda.device`); NumPy arrays that go in are copied up. What is measured and what is
predicted stands in docs/GPU.md.

For who writes kernels: every shared array on a line of its own (Numba's simulator tells them apart by their lines), the
module ``cuda`` a global of the kernel's module (the simulator puts its own in its place).
"""

from idekernels.backends.cuda.blending import blend, compose, cut
from idekernels.backends.cuda.device import why_missing
from idekernels.backends.cuda.matching import match
from idekernels.backends.cuda.propagation import propagate
from idekernels.backends.cuda.residency import free_memory, gather, prepare, upload
from idekernels.backends.cuda.tables import compatibility, evidence
from idekernels.backends.cuda.weighing import weigh

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
