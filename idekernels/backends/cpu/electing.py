"""The election of faces by regions, seat after seat: the compiled twin of the reference's."""

from __future__ import annotations

import numpy as np

from idekernels.backends.cpu.jit import compiled
from idekernels.backends.reference import OUT, WHOLE

_WHOLE, _OUT = np.int64(WHOLE), np.int64(OUT)


def elect(voters, standing, count):
    """Give seats to faces; see :meth:`idekernels.backends.protocol.Backend.elect`."""
    return np.sort(_seats(np.ascontiguousarray(voters), standing, count))


@compiled()
def _seats(voters, standing, count):
    """The faces in the order of their seats, (count,) int64.

    voters : (regions, m) int64. standing : (n,) bool. count : int64.
    """
    names, starts = voters.shape[1], np.zeros(len(standing) + 1, np.int64)
    for face in voters.ravel():
        starts[face + 1] += 1
    starts = np.cumsum(starts)
    ends, regions = starts.copy(), np.empty(voters.size, np.int64)  # of every face, the regions that name it
    for region in range(len(voters)):
        for name in range(names):
            face = voters[region, name]
            regions[ends[face]] = region
            ends[face] += 1
    support = np.where(standing, (starts[1:] - starts[:-1]) * _WHOLE, _OUT)
    seated, seats = np.zeros(len(voters), np.int64), np.empty(count, np.int64)
    for seat in range(count):
        elected = np.argmax(support)
        seats[seat], support[elected] = elected, _OUT
        for place in range(starts[elected], starts[elected + 1]):
            region = regions[place]
            less = _WHOLE // (1 + seated[region]) - _WHOLE // (2 + seated[region])
            seated[region] += 1
            for name in range(names):
                support[voters[region, name]] -= less
    return seats
