"""One worker for all tests: what it loads takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.harness import Worker, working


@pytest.fixture(scope="session")
def worker(bound_by_permissions: list[str]) -> Iterator[Worker]:
    with working(prefix=bound_by_permissions) as worker:
        yield worker
