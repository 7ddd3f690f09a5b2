"""Kernels of the CPU under threads, forks and a cache that is damaged or full, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT = 120  # of what would otherwise hang for ever

WORK = """
import multiprocessing, os, signal, sys, threading
import numpy as np
from idekernels import BankSettings, MemoryBank, coarse_sketch

def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

bank = MemoryBank(noise(6, 1, 24, 20), noise(6, 1, 24, 20), list("abcdef"), BankSettings(patch=6, overlap=2, radius=2))
photo = noise(24, 20)

def work(_=0):
    return coarse_sketch(photo, bank, k=3, backend="cpu").images()
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip


def told(code: str, **environment: str) -> str:
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_threads_may_sketch_at_the_same_time(layer: str) -> None:
    """Numba's layer workqueue, the one that is always there, ends the process where two threads use it at once."""
    code = WORK + (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    made = list(pool.map(work, range(24)))\n"
        "assert all((one == made[0]).all() for one in made)\n"
        "from idekernels.backends.cpu import jit\n"
        "print(jit.layer(), jit._process.safe)"
    )
    shown, safe = told(code, NUMBA_THREADING_LAYER=layer).split()
    assert safe == str(shown in ("omp", "tbb"))
    assert layer in ("default", shown)


AFTER_FORK = {
    "os.fork": """
child = os.fork()
if child == 0:
    signal.alarm(60)
    same = (work() == before).all()
    os._exit(0 if same else 1)
assert os.waitpid(child, 0)[1] == 0
""",
    "while another thread compiles or runs a kernel": """
stop = threading.Event()
def busy():
    while not stop.is_set():
        work()
thread = threading.Thread(target=busy)
thread.start()
children = []
for _ in range(3):
    children.append(os.fork())
    if children[-1] == 0:
        signal.alarm(60)
        os._exit(0 if (work() == before).all() else 1)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
stop.set()
thread.join()
""",
    "multiprocessing.Pool": """
with multiprocessing.get_context("fork").Pool(1) as pool:
    for one in pool.map(work, range(2)):
        assert (one == before).all()
""",
    "torch's DataLoader": """
import torch
class Sketches(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, _):
        return torch.from_numpy(work())
for batch in torch.utils.data.DataLoader(Sketches(), num_workers=1, multiprocessing_context="fork"):
    assert (batch[0].numpy() == before).all()
""",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("layer", ["workqueue", "default"])
@pytest.mark.parametrize("way", AFTER_FORK)
def test_a_forked_child_sketches_as_its_parent_does(way: str, layer: str) -> None:
    """Threads do not outlive a fork: GNU's OpenMP ends the child, workqueue lets it wait for ever."""
    assert told(f"{WORK}\nbefore = work()\n{AFTER_FORK[way]}\nprint('done')", NUMBA_THREADING_LAYER=layer) == "done"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_whose_parent_used_openmp_through_torch_alone() -> None:
    """Numba and torch share the OpenMP library: whose threads were used does not matter."""
    code = f"""
import torch
from idekernels.backends.cpu import jit
torch.ones(2048, 2048).exp().sum()
{WORK}
child = os.fork()
if child == 0:
    work()
    os._exit(0 if jit.threads() == 1 else 1)
assert os.waitpid(child, 0)[1] == 0
before = work()
assert not jit._process.forked
print("done")
"""
    assert told(code) == "done"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_before_any_use_has_its_threads() -> None:
    code = """
import os
from idekernels.backends.cpu import jit
child = os.fork()
assert not jit._process.forked
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    told(code)


KERNEL = """
from idekernels.backends.cpu.jit import cache_trouble, compiled
from numba import prange

@compiled(parallel={parallel})
def double(numbers, out):
    for i in prange(len(numbers)):
        out[i] = 2 * numbers[i]
"""

CALL = """
import sys, warnings
import numpy as np
sys.path.insert(0, {folder!r})
import kernel
out = np.zeros(5)
kernel.double(np.arange(5.0), out)
assert out.tolist() == [0, 2, 4, 6, 8]
made = getattr(kernel.double, "_threaded", kernel.double)
print(sum(made.stats.cache_hits.values()), kernel.cache_trouble())
"""


KINDS = pytest.mark.parametrize("parallel", [False, True], ids=["alone", "parallel"])


def module_of(folder: Path, parallel: bool) -> Path:
    """The folder, with a module of one kernel."""
    (folder / "kernel.py").write_text(KERNEL.format(parallel=parallel), encoding="utf-8")
    return folder


@pytest.fixture(params=[False, True], ids=["alone", "parallel"])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return module_of(tmp_path, request.param)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, dict[Path, bytes]]]:
    """For each kind of kernel the folder of its module, and what a process that compiled it left in the cache."""
    made = {}
    for parallel in (False, True):
        folder = module_of(tmp_path_factory.mktemp("kernel"), parallel)
        hits(folder, folder / "cache")
        made[parallel] = (folder, {file: file.read_bytes() for file in files(folder / "cache", ".nb*")})
    return made


def hits(kernel: Path, cache: Path) -> tuple[int, str]:
    """Call the kernel in a new process: how often it came from the cache, and what is told of that."""
    count, _, trouble = told(CALL.format(folder=str(kernel)), NUMBA_CACHE_DIR=str(cache)).partition(" ")
    return int(count), trouble


def files(cache: Path, suffix: str) -> list[Path]:
    return sorted(cache.rglob(f"*{suffix}"))


def test_kernels_are_cached(kernel: Path) -> None:
    assert hits(kernel, kernel / "cache") == (0, "None")
    assert hits(kernel, kernel / "cache") == (1, "None")


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "pickle", "flipped"])
@KINDS
def test_a_damaged_cache_is_one_that_is_not_there(
    cached: dict[bool, tuple[Path, dict[Path, bytes]]], parallel: bool, suffix: str, damage: str
) -> None:
    kernel, left = cached[parallel]
    cache = kernel / "cache"
    for file in files(cache, ".nb*"):
        file.unlink()
    for file, content in left.items():
        file.write_bytes(content)
    (file,) = files(cache, suffix)
    whole = file.read_bytes()
    middle = len(whole) // 2
    file.write_bytes(
        {
            "empty": b"",
            "cut": whole[:middle],
            "garbage": b"\x93garbage" * 50,
            "pickle": b"\x80\x04N.",  # None
            "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        }[damage]
    )
    hits(kernel, cache)
    assert hits(kernel, cache) == (1, "None")  # it is whole again


FULL = """
import builtins, errno
real = builtins.open
def full(path, mode="r", *others, **more):
    if "w" in mode and ".tmp." in str(path):
        raise OSError(errno.ENOSPC, "No space left on device", path)
    return real(path, mode, *others, **more)
builtins.open = full
"""


def test_a_full_disk_under_the_cache_ends_no_work(kernel: Path) -> None:
    found = told(FULL + CALL.format(folder=str(kernel)), NUMBA_CACHE_DIR=str(kernel / "cache"))
    assert found.startswith("0 could not be written") and "No space left" in found
    assert not files(kernel / "cache", ".nbc")


def test_a_cache_that_may_be_read_alone_ends_no_work(kernel: Path, bound_by_permissions: list[str]) -> None:
    cache = kernel / "cache"
    hits(kernel, cache)
    for file in files(cache, ".nb*"):
        file.write_bytes(b"garbage")
        file.parent.chmod(0o555)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "HOME": str(kernel / "none")}
    done = subprocess.run(
        [*bound_by_permissions, sys.executable, "-c", CALL.format(folder=str(kernel))],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    file.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr


def test_without_compilation_one_line_says_what_to_unset() -> None:
    code = WORK + (
        "from idekernels import InputError\n"
        "for backend in ('cpu', 'auto'):\n"
        "    try:\n"
        "        coarse_sketch(photo, bank, k=3, backend=backend)\n"
        "    except InputError as error:\n"
        "        print(error)\n"
    )
    lines = told(code, NUMBA_DISABLE_JIT="1").splitlines()
    assert len(lines) == 2 and all("unset it" in line and "NUMBA_DISABLE_JIT" in line for line in lines)
