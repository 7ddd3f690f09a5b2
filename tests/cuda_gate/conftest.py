"""The compile gate: needs a CUDA toolchain, no device and no driver; ``make test-cuda`` makes two and runs it in each.

Elsewhere its tests are left out; there (``IDESKETCH_CUDA_GATE`` is the toolchain's major version) none may be skipped.
"""

from __future__ import annotations

import os

import pytest

if not os.environ.get("IDESKETCH_CUDA_GATE"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def major() -> int:
    """The CUDA version that this environment must have."""
    return int(os.environ["IDESKETCH_CUDA_GATE"])
