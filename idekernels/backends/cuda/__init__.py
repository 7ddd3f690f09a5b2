"""The ``cuda`` backend: :mod:`idekernels.backends.reference` on an NVIDIA GPU, same names and signatures.

Every kernel is CUDA C++ (``*.cu``), compiled and launched by CuPy, which keeps it on disk. Arrays go in and come out as
the device's own (:mod:`idekernels.backends.cuda.device`); NumPy arrays that go in are copied up. What is measured and
what is predicted stands in docs/GPU.md.
"""

from typing import Any

from idekernels.backends.cuda import blending, cutting, device, matching, propagation, residency, tables, weighing
from idekernels.backends.protocol import Backend, Named


class Cuda(Named):
    """The backend as an object; see :class:`idekernels.backends.protocol.Backend`."""

    name = "cuda"
    why_missing = staticmethod(device.why_missing)
    prepare = staticmethod(residency.prepare)
    select = staticmethod(residency.select)
    upload = staticmethod(residency.upload)
    free_memory = staticmethod(residency.free_memory)
    match = staticmethod(matching.match)
    gather = staticmethod(residency.gather)
    evidence = staticmethod(tables.evidence)
    gram = staticmethod(tables.gram)
    compatibility = staticmethod(tables.compatibility)
    weigh = staticmethod(weighing.weigh)
    propagate = staticmethod(propagation.propagate)
    label = staticmethod(propagation.label)
    compose = staticmethod(blending.compose)
    blend = staticmethod(blending.blend)
    cut = staticmethod(cutting.cut)
    levels = staticmethod(blending.levels)
    rounded = staticmethod(blending.rounded)

    @staticmethod
    def elect(voters: Any, standing: Any, count: int) -> Any:
        """On the host: a few thousand steps, each after the other. Numba is loaded for nothing else."""
        from idekernels.backends.cpu import electing

        return electing.elect(voters, standing, count)


BACKEND: Backend = Cuda()
