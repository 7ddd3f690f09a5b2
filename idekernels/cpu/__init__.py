"""The ``cpu`` backend: Numba twins of every function in :mod:`idekernels.reference`, same names and signatures."""

from idekernels.cpu.blending import blend, compose, cut
from idekernels.cpu.matching import match
from idekernels.cpu.propagation import propagate
from idekernels.cpu.residency import free_memory, gather, prepare, upload
from idekernels.cpu.tables import compatibility, evidence
from idekernels.cpu.weighing import weigh

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
