"""What tests share: the data beside the repository, skipped where it is absent."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _shared() -> Path:
    return Path(os.environ.get("IDESKETCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")


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


def _obey_permissions() -> None:
    """Give up what lets root read and write everywhere (CAP_DAC_OVERRIDE, _READ_SEARCH), for what is executed next."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def bound_by_permissions() -> Callable[[], None]:
    """A ``preexec_fn`` under which file permissions bind, even where the tests run as root (in containers)."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux capabilities")
    return _obey_permissions
