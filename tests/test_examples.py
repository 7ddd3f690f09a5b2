"""The examples run as they stand, and what they claim is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from idemodel.files.images import read_colour

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_kernels_one_by_one_make_what_one_call_makes(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / "coarse_sketch.py"), str(tmp_path / "out"), "--size", "100x80"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    apart = re.search(r"differ by at most (\S+)", ran.stdout)
    assert apart and float(apart[1]) < 1e-6
    gap = re.search(r"at most (\S+) of it above the optimum", ran.stdout)
    assert gap and 0 <= float(gap[1]) <= 3e-3  # the gap is a loose bound: the objective is settled to 1e-6
    assert read_colour(tmp_path / "out" / "coarse-sketch.png").shape == (26 + 108, 8 + 4 * 88, 3)
