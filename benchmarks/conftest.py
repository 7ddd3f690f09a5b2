"""What benchmarks share: workloads made once a session, and facts about the machine beside pytest-benchmark's own."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import machine
from benchmarks.stages import Field
from idekernels.workloads import STANDARD, WORKLOADS


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    machine_info["idesketch"] = machine.describe(("idesketch", "numpy", "numba", "llvmlite"))


@pytest.fixture(scope="session")
def standard() -> Field:
    """One photo against 88 pairs, 250 x 200."""
    return Field(STANDARD)


@pytest.fixture(scope="session")
def batch() -> Field:
    """Eight photos against the same bank."""
    return Field(WORKLOADS["batch"])


@pytest.fixture(scope="session")
def planes() -> Field:
    """One photo, three representations."""
    return Field(WORKLOADS["planes"])
