"""What tests share: the data beside the repository, skipped where it is absent."""

from __future__ import annotations

import json
import os
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
