"""The ``cpu`` backend: Numba twins of :mod:`idekernels.backends.reference`, same names and signatures."""

from idekernels.backends.cpu.blending import blend, compose, cut
from idekernels.backends.cpu.matching import match
from idekernels.backends.cpu.propagation import propagate
from idekernels.backends.cpu.residency import free_memory, gather, prepare, upload
from idekernels.backends.cpu.tables import compatibility, evidence
from idekernels.backends.cpu.weighing import weigh

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
]
