"""Kernels compiled where there is no device: what they take of a multiprocessor, and which instructions they are.

    .venv-cuda12/bin/python -m benchmarks.toolchain        (JSON, for benchmarks.roofline)

Runs in an environment with a CUDA toolchain (``make test-cuda`` makes two) and takes everything out of it: NVRTC makes
PTX, as it does for CuPy; ptxas makes machine code and tells registers, shared and local memory; nvdisasm shows the
instructions. Knows no device, no budget and no time.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from idekernels.backends.cuda import catalogue
from idekernels.backends.cuda.catalogue import CudaEntry
from idekernels.backends.cuda.variants import MATCHING, direct_shape, source_text

ARCHITECTURES = (75, 80, 89, 90)
TRIED = (1, 2, 3, 4, 5, 6, 8)  # patches a warp of matching
Instruction = tuple[int, str, str]  # address, opcode, operands

_BLOCK = re.compile(r"Compiling entry function '(\S+)' for 'sm_\d+'(.*?)(?=Compiling entry function|\Z)", re.DOTALL)
_INSTRUCTION = re.compile(
    r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*?)\s*;", re.MULTILINE
)
_LABEL = re.compile(r"^(\.L_\w+):\s*(?:\.L_\w+:\s*)*/\*([0-9a-f]{4,})\*/", re.MULTILINE)
_SECTION = re.compile(r"^\s*\.section\s+\.text\.(\S+?),", re.MULTILINE)
_DOUBLES_OF_PTX = re.compile(r"^\s*(?:@!?%p\d+\s+)?[a-z][\w.]*\.f64\b", re.MULTILINE)
_DOUBLE = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX|SET|MMA)\b|.*\bF64\b|MUFU\.\w+64H")


@dataclass(frozen=True)
class Region:
    """How many of which instruction a loop holds, those of loops within it left out; ``around``: the loop around it."""

    opcodes: dict[str, int]
    around: int | None = None


@dataclass(frozen=True)
class Compiled:
    """One kernel on one architecture.

    threads : of a block, 0 where only the code is known. registers : of a thread. shared : bytes of a block. stack :
    bytes of a thread's local memory. spilled : bytes stored and loaded for want of registers. doubles : fp64
    instructions in PTX and in machine code. regions : its code, that outside of all loops first.
    """

    name: str
    architecture: int
    threads: int
    registers: int
    shared: int
    stack: int
    spilled: int
    doubles: int
    regions: tuple[Region, ...]


def compile_entry(entry: CudaEntry, architecture: int) -> Compiled:
    """Compile the kernel that an entry of the catalogue describes.

    Raises
    ------
    ValueError
        It does not compile, or there are other kernels in its files.
    """
    (made,) = assemble(cuda_ptx(source_text(entry.source), entry.options, architecture), architecture)
    if made.name != entry.kernel:
        raise ValueError(f"{entry.source} make {made.name}, not {entry.kernel}")
    return dataclasses.replace(made, name=entry.name, threads=entry.threads)


def cuda_ptx(source: str, options: tuple[str, ...], architecture: int) -> str:
    """PTX of CUDA C++, by NVRTC, as CuPy's RawModule has it made.

    Raises
    ------
    ValueError
        It does not compile; the message is the compiler's.
    """
    from cuda.bindings import nvrtc

    given = [option.encode() for option in (*options, f"-arch=compute_{architecture}")]
    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    (failed,) = nvrtc.nvrtcCompileProgram(program, len(given), given)
    log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
    _checked(nvrtc.nvrtcGetProgramLog(program, log))
    if failed:
        raise ValueError(log.rstrip(b"\0 ").decode())
    ptx = b" " * _checked(nvrtc.nvrtcGetPTXSize(program))
    _checked(nvrtc.nvrtcGetPTX(program, ptx))
    _checked(nvrtc.nvrtcDestroyProgram(program))
    return ptx.rstrip(b"\0 ").decode()


def assemble(ptx: str, architecture: int) -> list[Compiled]:
    """Machine code of every kernel in ``ptx``, and what ptxas says of it."""
    with tempfile.TemporaryDirectory() as folder:
        text, binary = Path(folder, "kernels.ptx"), Path(folder, "kernels.cubin")
        text.write_text(ptx, encoding="utf-8")
        said = _run(tool("ptxas"), "-v", f"--gpu-name=sm_{architecture}", str(text), "-o", str(binary))
        shown = _run(tool("nvdisasm"), "-c", str(binary))
    code = dict(_sections(shown))
    in_ptx = len(_DOUBLES_OF_PTX.findall(ptx))
    return [_compiled(name, architecture, block, code[name], in_ptx) for name, block in _BLOCK.findall(said)]


def _compiled(name: str, architecture: int, block: str, code: list[Instruction], in_ptx: int) -> Compiled:
    def largest(pattern: str) -> int:
        return max(map(int, re.findall(pattern, block)), default=0)

    return Compiled(
        name=name,
        architecture=architecture,
        threads=0,
        registers=largest(r"Used (\d+) registers"),
        shared=largest(r"(\d+) bytes smem"),
        stack=max(largest(r"(\d+) bytes stack frame"), largest(r"(\d+) bytes lmem")),
        spilled=sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", block))),
        doubles=in_ptx + sum(bool(_DOUBLE.match(opcode)) for _, opcode, _ in code),
        regions=tuple(_regions(code)),
    )


def _sections(shown: str) -> Iterator[tuple[str, list[Instruction]]]:
    """Each kernel's instructions; a jump's operands are the address that it goes to."""
    starts = [*_SECTION.finditer(shown)]
    for start, after in zip(starts, [*starts[1:], None], strict=False):
        body = shown[start.end() : after.start() if after else len(shown)]
        addresses = {f"`({label})": at for label, at in _LABEL.findall(body)}
        yield (
            start[1],
            [
                (
                    int(at, 16),
                    opcode,
                    addresses.get(operands.split(" ")[-1], "") if opcode.startswith("BRA") else operands,
                )
                for at, opcode, operands in _INSTRUCTION.findall(body)
            ],
        )


def _regions(code: list[Instruction]) -> Iterator[Region]:
    """Code outside of loops, then every loop: what lies between a jump back and where it goes.

    Left out is the code at the end that only diverged warps go through, and that jumps back from where it was called.
    """
    detours = [int(operands, 16) for _, opcode, operands in code if opcode.startswith("BRA.DIV") and operands]
    code = [one for one in code if one[0] < min(detours, default=2**63)]
    ends: dict[int, int] = {}
    for at, opcode, operands in code:
        if opcode.startswith("BRA") and operands and int(operands, 16) < at:
            ends[int(operands, 16)] = at  # several jumps back to one place are one loop
    loops: list[tuple[int, int]] = [(-1, 2**63), *sorted(ends.items(), key=lambda loop: (loop[0], -loop[1]))]
    for number, (begin, end) in enumerate(loops):
        outer = [i for i, (first, last) in enumerate(loops[:number]) if first <= begin and end <= last]
        inner = [loop for loop in loops[number + 1 :] if begin <= loop[0] and loop[1] <= end]
        own = (
            opcode
            for at, opcode, _ in code
            if begin <= at <= end and not any(first <= at <= last for first, last in inner)
        )
        yield Region(dict(Counter(own)), outer[-1] if outer else None)


@cache
def tool(name: str) -> str:
    """A program of the toolchain, out of this environment and nowhere else.

    Raises
    ------
    FileNotFoundError
        It is not here.
    """
    from cuda.pathfinder import find_nvidia_binary_utility

    found = find_nvidia_binary_utility(name)
    if found is None or not Path(found).is_relative_to(sys.prefix):
        raise FileNotFoundError(f"no {name} in {sys.prefix} (found: {found}): run make test-cuda")
    return str(found)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout + done.stderr


def _checked(result: tuple[Any, ...]) -> Any:
    error, *values = result
    if error:
        raise ValueError(f"NVRTC failed: {error}")
    return values[0] if values else None


def tried_entry(rows: int) -> CudaEntry:
    """Direct matching with another number of patches a warp."""
    variant = next(one for one in MATCHING if one.shape is direct_shape)
    shape = direct_shape(catalogue.PROBLEMS["defaults"], catalogue.limits_of(ARCHITECTURES[0]))
    return catalogue.match_entry(variant, dataclasses.replace(shape, rows=rows), f"{rows} patches a warp")


def main() -> None:
    """Print everything compiled, with the default settings first, then what was tried, as JSON."""
    made = [compile_entry(entry, at) for at in ARCHITECTURES for entry in (*_usual(at), *map(tried_entry, TRIED))]
    print(json.dumps([dataclasses.asdict(one) for one in made], indent=1))


def _usual(architecture: int) -> Iterator[CudaEntry]:
    """The kernels with the default settings: the first entry of each, and what differs for a batch."""
    seen: set[str] = set()
    for entry in catalogue.cuda_entries(architecture):
        if entry.kernel not in seen or entry.name.endswith(f": {catalogue.MANY}"):
            seen.add(entry.kernel)
            yield entry


if __name__ == "__main__":
    main()
