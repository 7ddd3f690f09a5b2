"""Three GPUs as their makers describe them, and how many blocks of a kernel an SM of theirs holds; times nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from idekernels.backends.cuda.launch import WARP

SCHEDULERS = 4  # of an SM, a warp instruction a cycle each (all cards here)
_REGISTER_UNIT = 256  # registers are given to a warp in such portions, warps in fours (CUDA occupancy calculator)


@dataclass(frozen=True)
class Card:
    """A GPU, written from memory of the documents named, which could not be opened here.

    Sizes of an SM: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".

    clock : Hz, the highest. bandwidth : bytes a second. warps, blocks, registers, shared (bytes) : of an SM at most.
    shared_unit, reserved : bytes a block's shared memory is rounded up to, and the runtime adds to it. lanes : results
    of an SM in a cycle, by pipe (Programming Guide, "Arithmetic Instructions"; which instruction goes where: Nsight
    Compute documentation, "Pipelines"). source : of clock and bandwidth.
    """

    name: str
    architecture: int
    multiprocessors: int
    clock: float
    bandwidth: float
    warps: int
    blocks: int
    shared: int
    shared_unit: int
    reserved: int
    lanes: Mapping[str, int]
    source: str
    registers: int = 65536


def _lanes(float32: int, tensor: int) -> Mapping[str, int]:
    """``tensor``: lanes of mma.m16n8k32 (4,096 products of bytes) that an SM serves in a cycle; H100's: assumed."""
    pipes = {"ALU": 64, "FMA": 64, "FP32": float32, "XU": 16, "LSU": 32, "TENSOR": tensor, "issue": WARP * SCHEDULERS}
    return MappingProxyType(pipes)


CARDS = (
    Card(
        "T4", 75, 40, 1.59e9, 320e9, 32, 16, 64 * 1024, 256, 0, _lanes(64, 8), "NVIDIA T4 data sheet; Turing whitepaper"
    ),
    Card(
        "A100", 80, 108, 1.41e9, 1555e9, 64, 32, 164 * 1024, 128, 1024, _lanes(64, 16), "A100 whitepaper, SXM4, 40 GB"
    ),
    Card(
        "H100", 90, 132, 1.98e9, 3350e9, 64, 32, 228 * 1024, 128, 1024, _lanes(128, 20), "H100 data sheet, SXM5, 80 GB"
    ),
)  # fmt: skip

# The first that an opcode begins with; what is none of them is control flow or the uniform datapath: issue slots only.
_PIPES = {
    "TENSOR": ("IMMA",),
    "FMA": ("IMAD", "IDP"),
    "FP32": ("FFMA", "FADD", "FMUL"),
    "XU": ("MUFU", "I2F", "F2I", "F2F", "FLO", "BREV", "POPC"),
    "LSU": ("LD", "ST", "SHFL", "ATOM", "RED"),
    "ALU": (
        "IADD", "VIADD", "LOP", "PLOP", "SHF", "LEA", "ISETP", "FSETP", "SEL", "FSEL", "PRMT", "IMNMX", "VIMNMX",
        "FMNMX", "VABSDIFF", "IABS", "MOV", "VOTE", "I2I", "FCHK", "CS2R", "BMSK", "SGXT",
    ),
}  # fmt: skip


def pipe(opcode: str) -> str:
    """Which unit executes an instruction; "issue" where nothing but its slot counts."""
    return next((name for name, starts in _PIPES.items() if opcode.startswith(starts)), "issue")


def pipes_of(opcodes: Mapping[str, float]) -> dict[str, float]:
    """How many instructions every pipe gets, and issue all of them; integer products take lanes of FP32 as well."""
    load: dict[str, float] = {}
    for opcode, count in opcodes.items():
        for name in {pipe(opcode), "issue"}:
            load[name] = load.get(name, 0.0) + count
    load["FP32"] = load.get("FP32", 0.0) + load.get("FMA", 0.0)
    return load


def blocks_of(card: Card, threads: int, registers: int, shared: int) -> int:
    """Blocks of a kernel that an SM holds at once, as the CUDA occupancy calculator counts them."""
    warps = -(-threads // WARP)
    given = -(-registers * WARP // _REGISTER_UNIT) * _REGISTER_UNIT
    by_registers = card.registers // given // SCHEDULERS * SCHEDULERS // warps
    each = -(-(shared + card.reserved) // card.shared_unit) * card.shared_unit
    by_shared = card.shared // each if each else card.blocks
    return min(card.blocks, card.warps // warps, by_registers, by_shared)


def occupancy(card: Card, threads: int, registers: int, shared: int) -> float:
    """Share of an SM's warps that are resident."""
    return blocks_of(card, threads, registers, shared) * -(-threads // WARP) / card.warps
