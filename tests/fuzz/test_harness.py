"""The harness sees what it is there to see: readers that crash, hang, raise, take too much or say too little."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fuzz import seeds
from tests.fuzz.faulty import FAULTY, SOUND
from tests.fuzz.harness import Failure, working


def test_every_fault_is_seen_and_the_next_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with working("tests.fuzz.faulty:find", patience=2.0) as worker:
        for faulty in FAULTY:
            with pytest.raises(Failure, match=re.escape(faulty.name)):
                worker.judge(faulty, path)
            assert worker.judge(SOUND[0], path) == "read"
            assert worker.judge(SOUND[1], path) == f"{path}: not good"


def test_repairs_leave_good_files_alone_and_mend_altered_ones() -> None:
    for repair, good, place in (
        (seeds.with_good_crcs, seeds.png()[0], 20),
        (seeds.with_good_checksums, seeds.banks()[0], 30),
    ):
        assert repair(good) == good
        altered = bytearray(good)
        altered[place] ^= 1
        mended = repair(bytes(altered))
        assert mended[place] == altered[place] and mended != altered
