"""An import that is killed in the middle: the same command goes on with what is not there yet."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from bank_files import run
from commands import call

_KILLED = """
    import os, signal, sys
    from idecli.main import run
    from idemodel.datasets import writing

    whole, written = writing.write_image, []
    def write_image(path, picture):
        written.append(path.name)
        if len(written) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        whole(path, picture)
    writing.write_image = write_image
    code = run(["data", "import", "pairs", sys.argv[1], sys.argv[2], "--photos", "photo", "--sketches", "sketch"])
    print(len(written))
    sys.exit(code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_an_import_that_is_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    assert call("data", "phantom", source, "--pairs", 8, "--size", "64x48") == 0
    assert run(_KILLED, source, out, "8").returncode == -signal.SIGKILL  # at the sketch of the fourth pair
    done = run(_KILLED, source, out, "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(2 * (8 - 3))
    for side in ("photo", "sketch"):
        for number in range(8):
            name = f"{number:04d}.png"
            assert (out / side / name).is_file()
    table = (out / "import.csv").read_text().splitlines()
    assert sum(",imported," in line for line in table) == 8
