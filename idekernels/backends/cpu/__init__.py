"""The ``cpu`` backend: Numba twins of :mod:`idekernels.backends.reference`, same names and signatures."""

from idekernels.backends.cpu import blending, electing, jit, matching, propagation, residency, tables, threads, weighing
from idekernels.backends.host import OnHost
from idekernels.backends.protocol import Backend


class Cpu(OnHost):
    """The backend as an object; see :class:`idekernels.backends.protocol.Backend`."""

    name = "cpu"

    why_missing = staticmethod(jit.why_missing)
    prepare = staticmethod(residency.prepare)
    select = staticmethod(residency.select)
    elect = staticmethod(electing.elect)
    upload = staticmethod(residency.upload)
    free_memory = staticmethod(residency.free_memory)
    side_by_side = staticmethod(residency.side_by_side)
    take_share = staticmethod(threads.take_share)
    _search = staticmethod(matching.match)
    _cut_out = staticmethod(residency.gather)
    _grams = staticmethod(tables.evidence)
    compatibility = staticmethod(tables.compatibility)
    weigh = staticmethod(weighing.weigh)
    propagate = staticmethod(propagation.propagate)
    compose = staticmethod(blending.compose)
    blend = staticmethod(blending.blend)
    cut = staticmethod(blending.cut)


BACKEND: Backend = Cpu()
