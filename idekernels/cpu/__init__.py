"""The ``cpu`` backend: Numba twins of every function in :mod:`idekernels.reference`, same names and signatures."""

from idekernels.cpu.blend import blend, compose, cut
from idekernels.cpu.match import match
from idekernels.cpu.prepare import gather, prepare
from idekernels.cpu.propagate import propagate
from idekernels.cpu.tables import compatibility, evidence
from idekernels.cpu.weigh import weigh

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
