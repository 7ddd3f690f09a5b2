"""What tests share: the data beside the repository, skipped where it is absent."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _shared() -> Path:
    return Path(os.environ.get("IDESKETCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the cache folder of whoever runs them."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("IDESKETCH_CACHE", str(folder))
        yield folder


@pytest.fixture
def shared_data() -> Path:
    folder = _shared() / "data" / "cuhk_student"
    if not folder.is_dir():
        pytest.skip(f"no data set at {folder}")
    return folder


@pytest.fixture
def golden_metrics() -> dict[str, Any]:
    file = _shared() / "golden" / "metrics.json"
    if not file.is_file():
        pytest.skip(f"no golden figures at {file}")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


_OBEY_PERMISSIONS = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what lets root read and write everywhere
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, for what is executed next
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="session")
def bound_by_permissions() -> list[str]:
    """The beginning of a command line under which file permissions bind, even where the tests run as root."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux capabilities")
    return [sys.executable, "-c", _OBEY_PERMISSIONS]


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """One thread for torch, as in evaluate's workers; on a busy machine more threads only wait for each other."""
    import torch

    from idemodel.generator.threads import torch_threads_kept

    with torch_threads_kept():
        torch.set_num_threads(1)
        yield
