"""Every kernel on every architecture: no spills, local memory, fp64; registers and shared memory within its budget."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numba_cuda
import pytest
from cuda.bindings import nvrtc
from numba import cuda, types

from benchmarks.toolchain import ARCHITECTURES, Compiled, assemble, compile_entry, cuda_ptx, numba_ptx, tool
from idekernels.backends.cuda import catalogue, device
from idekernels.backends.cuda.catalogue import CudaEntry, Entry

SETTINGS = (
    {"k": 10},
    {"k": 16},  # of all K, 16 takes most registers: its loops are unrolled
    {"k": 64},  # the largest
)
NUMBA = {entry.name: entry for setting in SETTINGS for entry in catalogue.numba_entries(**setting)}
CUDA_CPP = [(at, entry) for at in ARCHITECTURES for entry in catalogue.cuda_entries(at)]
FLOATS = types.Array(types.float32, 1, "C")


def violations(made: Compiled, budget: Entry | CudaEntry) -> list[str]:
    """What a kernel takes that it must not."""
    limits = {
        "bytes of local memory": (made.stack, 0),
        "bytes spilled": (made.spilled, 0),
        "fp64 instructions": (made.doubles, 0),
        "registers": (made.registers, budget.registers),
        "bytes of shared memory": (made.shared, budget.shared),
    }
    return [
        f"{made.name}, sm_{made.architecture}: {taken} {what}, {allowed} allowed"
        for what, (taken, allowed) in limits.items()
        if taken > allowed
    ]


def test_the_toolchain_is_the_one_meant(major: int) -> None:
    """Nothing of a CUDA that the system may have besides: pip's own NVRTC, NVVM and ptxas, of one version."""
    _, found, minor = nvrtc.nvrtcVersion()
    assert (found, minor) == {12: (12, 9), 13: (13, 0)}[major]
    ptx = numba_ptx(next(catalogue.numba_entries(1)), 75)
    assert re.search(r"^\.version (\d+)\.", ptx, re.MULTILINE)[1] == {12: "8", 13: "9"}[major]  # type: ignore[index]
    for name in ("ptxas", "nvdisasm"):
        assert Path(tool(name)).is_relative_to(sys.prefix)
    assert Path(numba_cuda.__file__).is_relative_to(sys.prefix)


@pytest.mark.parametrize("name", NUMBA)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_numba_kernels(architecture: int, name: str) -> None:
    assert not violations(compile_entry(NUMBA[name], architecture), NUMBA[name])


@pytest.mark.parametrize(("architecture", "entry"), CUDA_CPP, ids=[f"{at}-{entry.name}" for at, entry in CUDA_CPP])
def test_cuda_cpp(architecture: int, entry: CudaEntry) -> None:
    made = compile_entry(entry, architecture)
    assert not violations(made, entry)
    assert made.shared == entry.shared, "the geometry miscounts the shared memory that the kernel declares"


def test_no_kernel_is_forgotten() -> None:
    files = {Path(name).name for _, entry in CUDA_CPP for name in entry.source}
    folder = Path(catalogue.__file__).parent
    assert files == {path.name for pattern in ("*.cu", "*.cuh") for path in folder.glob(pattern)}


# ---- the gate can fail


def tenth(values, out):  # type: ignore[no-untyped-def]
    at = cuda.threadIdx.x
    out[at] = values[at] * 0.1  # a Python number: float64


def look_up(values, out):  # type: ignore[no-untyped-def]
    table = cuda.local.array(32, types.float32)
    for at in range(32):
        table[int(values[at])] = values[at] * values[at + 1]
    out[0] = table[int(values[32])]


def share(values, out):  # type: ignore[no-untyped-def]
    table = cuda.shared.array(256, types.float32)
    table[cuda.threadIdx.x] = values[cuda.threadIdx.x]
    cuda.syncthreads()
    out[cuda.threadIdx.x] = table[255 - cuda.threadIdx.x]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("kernel", "told"),
    [(tenth, "fp64 instructions"), (look_up, "bytes of local memory"), (share, "1024 bytes of shared memory")],
)
def test_a_numba_kernel_that_must_not_pass(architecture: int, kernel: object, told: str) -> None:
    entry = Entry("planted", kernel, (FLOATS, FLOATS), 256)  # type: ignore[arg-type]
    made = compile_entry(entry, architecture)
    assert any(told in found for found in violations(made, entry))


HUNGRY = """
extern "C" __global__ void __launch_bounds__(1024, 1) hungry(const float* values, float* out, int rounds) {
    float kept[96];
#pragma unroll
    for (int at = 0; at < 96; ++at) kept[at] = values[at * 1024 + threadIdx.x];
    for (int round = 0; round < rounds; ++round) {
#pragma unroll
        for (int at = 0; at < 96; ++at) kept[at] = kept[at] * kept[(at + 7) % 96] + kept[(at + 31) % 96];
    }
#pragma unroll
    for (int at = 0; at < 96; ++at) out[at * 1024 + threadIdx.x] = kept[at];
}
"""
PRECISE = 'extern "C" __global__ void precise(const float* values, float* out) { out[0] = values[0] * 0.1; }'


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (HUNGRY, "bytes spilled"),
        (HUNGRY.replace("1024, 1", "128, 1"), "registers, 72 allowed"),
        (PRECISE, "fp64 instructions"),
    ],
    ids=["spills", "takes too many registers", "fp64"],
)
def test_cuda_cpp_that_must_not_pass(architecture: int, source: str, told: str) -> None:
    (made,) = assemble(cuda_ptx(source, (), architecture), architecture)
    budget = Entry("planted", tenth, (), 1024)
    assert any(told in found for found in violations(made, budget))


def test_what_does_not_compile_says_why() -> None:
    with pytest.raises(ValueError, match='identifier "nothing" is undefined'):
        cuda_ptx('extern "C" __global__ void broken() { nothing(); }', (), 75)


def test_few_blocks_are_no_users_business() -> None:
    """As in tests/test_cuda_device.py, with numba-cuda, whose warning is another class than Numba's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device.configure(cuda.jit(tenth), (12, 1, 1), (32, 1, 1), 0)
        with pytest.raises(Warning, match="Grid size 11"):
            cuda.jit(tenth)[(11, 1, 1), (32, 1, 1), 0]
