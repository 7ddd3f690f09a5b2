"""docs/API.md: its program runs as it stands, and both tables and program know every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import idekernels
import idemodel

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
PROGRAM = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S))
NAMES = [f"{package.__name__}.{name}" for package in (idekernels, idemodel) for name in package.__all__]


def test_the_program_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "me.png" in ran.stdout and "not a patch bank" in ran.stdout
    assert (tmp_path / "framed.png").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_line_and_an_example(name: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert sum(f"`{name}`" in row for row in rows) == 1
    short = name.rpartition(".")[2]
    assert re.search(rf"(?<!\w){re.escape(short)}(?!\w)", PROGRAM)


def test_no_line_is_of_a_name_that_is_not_there() -> None:
    told = re.findall(r"`(ide(?:kernels|model)\.\w+)`", "\n".join(re.findall(r"^\| `.*$", PAGE, re.M)))
    assert sorted(told) == sorted(NAMES)
