"""Numba's kernels in its simulator, which must be asked for before Numba is imported, so in a process of its own.

``NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/cuda``, a part of ``make test-cuda``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The emulated device, with blocks of few threads: the simulator gives every thread one of the system's."""
    from idekernels.backends.cuda import device, launch
    from tests.emulator.device import EmulatedDevice

    monkeypatch.setattr(launch, "warps_for", lambda k: k)
    monkeypatch.setattr(launch, "gram_threads", lambda pairs: min(5, pairs))
    monkeypatch.setattr(launch, "message_lanes", lambda k: 4)
    monkeypatch.setattr(launch, "message_parts", lambda k: min(2, k))
    monkeypatch.setattr(launch, "THREADS", 8)
    made = EmulatedDevice()
    with device.use(made):
        yield made
