"""Every reader on altered files: a value or one line that names the file; never a crash, a hang, a traceback.

``IDESKETCH_FUZZ=N`` runs N cases a reader, drawn anew every time, instead of the same 150.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz import seeds
from tests.fuzz.harness import Worker, judged
from tests.fuzz.mutations import altered
from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS

CASES = int(os.environ.get("IDESKETCH_FUZZ", "150"))

each = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)


@each
def test_a_good_file_is_read(reader: Reader, worker: Worker, tmp_path: Path) -> None:
    for seed in reader.seeds:
        told = judged(worker, reader, reader.wrap(seed), tmp_path)
    assert told == "read" or reader.name in ("lpips", "inception")  # whose own files are too large to be altered here


@each
def test_an_altered_file_is_read_or_refused(reader: Reader, worker: Worker, tmp_path: Path) -> None:
    @settings(
        max_examples=CASES,
        derandomize="IDESKETCH_FUZZ" not in os.environ,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(altered(reader.seeds, seeds.of_all_formats()))
    def check(content: bytes) -> None:
        judged(worker, reader, reader.wrap(content), tmp_path)

    check()
