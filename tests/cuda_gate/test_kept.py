"""Numba's kernels compiled in one process and loaded in the next, where only the device itself is a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# a device of compute capability 9.0 that is not there: kernels are compiled and linked for it, and not loaded
COMPILE = """
import hashlib
from types import SimpleNamespace
from numba import cuda
from numba.cuda import dispatcher
from numba.cuda.cudadrv import devices
device = SimpleNamespace(compute_capability=(9, 0), id=0)
devices.get_context = lambda *_: SimpleNamespace(device=device)
dispatcher.get_current_device = lambda: device
dispatcher._Kernel.bind = lambda kernel: kernel._codelibrary.get_cubin()
times, real = [], dispatcher._Kernel.__init__
def counted(kernel, *given, **more):
    times.append(1)
    real(kernel, *given, **more)
dispatcher._Kernel.__init__ = counted
from idekernels.backends.cuda import catalogue
from idekernels.backends.cuda.compiled import kept_on_disk
for entry in catalogue.numba_entries(3):
    made = kept_on_disk(cuda.jit(entry.kernel), entry.kernel).compile(entry.signature)
    code = made._codelibrary.get_cubin()
    print(entry.name, made.entry_name, hashlib.sha256(getattr(code, "code", code)).hexdigest())
print(len(times))
"""


def compiled(cache: Path) -> tuple[list[str], int]:
    """What a process has of every kernel, and how many it compiled."""
    variables = {**os.environ, "IDESKETCH_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *kernels, times = done.stdout.splitlines()
    return kernels, int(times)


def test_the_second_process_compiles_nothing_and_has_the_same_code(tmp_path: Path) -> None:
    first, times = compiled(tmp_path)
    assert times == len(first) > 0
    files = sorted(tmp_path.rglob("*"))
    assert compiled(tmp_path) == (first, 0)
    files[-1].write_bytes(files[-1].read_bytes()[:-1])
    anew, times = compiled(tmp_path)  # the damaged one, whose name now counts fewer compiled before it
    assert times == 1 and sum(one != other for one, other in zip(first, anew, strict=True)) <= 1
    assert compiled(tmp_path) == (anew, 0)
