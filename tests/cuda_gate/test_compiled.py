"""Every kernel on every architecture: no spills, local memory, fp64; registers and shared memory within its budget."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from cuda.bindings import nvrtc
from cuda.pathfinder import load_nvidia_dynamic_lib

from benchmarks.toolchain import ARCHITECTURES, Compiled, assemble, compile_entry, cuda_ptx, tool
from idekernels.backends.cuda import catalogue
from idekernels.backends.cuda.catalogue import CudaEntry

KERNELS = [(at, entry) for at in ARCHITECTURES for entry in catalogue.cuda_entries(at)]


def violations(made: Compiled, budget: CudaEntry) -> list[str]:
    """What a kernel takes that it must not."""
    limits = {
        "bytes of local memory": (made.stack, 0),
        "bytes spilled": (made.spilled, 0),
        "fp64 instructions": (0 if budget.doubles else made.doubles, 0),
        "registers": (made.registers, budget.registers),
        "bytes of shared memory": (made.shared, budget.shared),
    }
    return [
        f"{made.name}, sm_{made.architecture}: {taken} {what}, {allowed} allowed"
        for what, (taken, allowed) in limits.items()
        if taken > allowed
    ]


def test_the_toolchain_is_the_one_meant(major: int) -> None:
    """Nothing of a CUDA that the system may have besides: pip's own NVRTC and ptxas, of one version."""
    _, found, minor = nvrtc.nvrtcVersion()
    assert (found, minor) == {12: (12, 9), 13: (13, 0)}[major]
    ptx = cuda_ptx(PRECISE, (), 75)
    assert re.search(r"^\.version (\d+)\.", ptx, re.MULTILINE)[1] == {12: "8", 13: "9"}[major]  # type: ignore[index]
    for name in ("ptxas", "nvdisasm"):
        assert Path(tool(name)).is_relative_to(sys.prefix)
    assert Path(load_nvidia_dynamic_lib("nvrtc").abs_path).is_relative_to(sys.prefix)


@pytest.mark.parametrize(("architecture", "entry"), KERNELS, ids=[f"{at}-{entry.name}" for at, entry in KERNELS])
def test_every_kernel_keeps_to_its_budget(architecture: int, entry: CudaEntry) -> None:
    made = compile_entry(entry, architecture)
    assert not violations(made, entry)
    assert made.shared == entry.shared, "the geometry miscounts the shared memory that the kernel declares"


def test_no_kernel_is_forgotten() -> None:
    files = {Path(name).name for _, entry in KERNELS for name in entry.source}
    folder = Path(catalogue.__file__).parent
    assert files == {path.name for pattern in ("*.cu", "*.cuh") for path in folder.glob(pattern)}


# ---- the gate can fail


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
LOOK_UP = """
extern "C" __global__ void look_up(const float* values, float* out) {
    float table[32];
    for (int at = 0; at < 32; ++at) table[static_cast<int>(values[at]) & 31] = values[at + 1];
    out[0] = table[static_cast<int>(values[33]) & 31];
}
"""
SHARE = """
extern "C" __global__ void share(const float* values, float* out) {
    __shared__ float table[256];
    table[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = table[255 - threadIdx.x];
}
"""
PLANTED = CudaEntry("planted", "planted", (), (), 1024)  # the usual budget


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (HUNGRY, "bytes spilled"),
        (HUNGRY.replace("1024, 1", "128, 1"), "registers, 72 allowed"),
        (PRECISE, "fp64 instructions"),
        (LOOK_UP, "bytes of local memory"),
        (SHARE, "1024 bytes of shared memory, 0 allowed"),
    ],
    ids=["spills", "takes too many registers", "fp64", "local memory", "takes too much shared memory"],
)
def test_what_must_not_pass(architecture: int, source: str, told: str) -> None:
    (made,) = assemble(cuda_ptx(source, (), architecture), architecture)
    assert any(told in found for found in violations(made, PLANTED))


def test_what_does_not_compile_says_why() -> None:
    with pytest.raises(ValueError, match='identifier "nothing" is undefined'):
        cuda_ptx('extern "C" __global__ void broken() { nothing(); }', (), 75)
