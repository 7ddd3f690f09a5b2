"""The ``cpu`` backend: Numba twins of every function in :mod:`idekernels.reference`, same names and signatures."""

from idekernels.cpu.blending import blend, compose, cut
from idekernels.cpu.matching import match
from idekernels.cpu.propagation import propagate
from idekernels.cpu.residency import gather, prepare
from idekernels.cpu.tables import compatibility, evidence
from idekernels.cpu.weighing import weigh

__all__ = [
    "blend",
    "compatibility",
    "compose",
    "cut",
    "evidence",
    "gather",
    "match",
    "prepare",
    "propagate",
    "weigh",
]
