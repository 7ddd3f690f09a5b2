"""CUDA C++ compiled for the host with emulator.h and called through ctypes, as CuPy's RawModule is called."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from idekernels.backends.cuda.launch import UNFUSED

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX", "g++")


class KernelFault(RuntimeError):
    """What the emulator saw: a divergent barrier, a race, an index out of bounds."""


def why_missing() -> str | None:
    """Why nothing can be compiled here; None if it can."""
    return None if shutil.which(COMPILER) else f"no C++ compiler {COMPILER}"


class HostModule:
    """The kernels of one source, compiled for the host."""

    def __init__(self, source: str, options: tuple[str, ...], reverse: bool = False) -> None:
        self._library = _compiled(source, options)
        self.reverse = reverse

    def launch(self, kernel: str, grid: tuple[int, int, int], threads: int, arguments: tuple[Any, ...]) -> None:
        """Run every block; KernelFault where the emulator saw something wrong."""
        function = getattr(self._library, f"run_{kernel}")
        function.restype = ctypes.c_char_p
        blocks, passed, count = (ctypes.c_uint * 3)(*grid), [*map(_passed, arguments)], len(arguments)
        values = (ctypes.c_void_p * count)(*(ctypes.addressof(value) for value in passed))
        sizes = (ctypes.c_uint * count)(*map(ctypes.sizeof, passed))
        told = function(blocks, ctypes.c_uint(threads), ctypes.c_int(self.reverse), values, sizes, ctypes.c_uint(count))
        if told:
            raise KernelFault(told.decode())


def _passed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, np.int32):
        return ctypes.c_int(int(value))
    if isinstance(value, np.int64):
        return ctypes.c_longlong(int(value))
    if isinstance(value, np.float32):
        return ctypes.c_float(float(value))
    raise TypeError(f"a kernel's argument must be an array, a NumPy integer or a float32, not {type(value).__name__}")


def kernels_of(source: str) -> list[str]:
    """The names of a source's kernels."""
    code = re.sub(r"//.*", "", source)
    return re.findall(r'extern "C" __global__ void(?:\s+(?:__launch_bounds__\([^)]*\)|IN_CLUSTERS))*\s+(\w+)\(', code)


def _as_gcc_has_it(option: str) -> str:
    return "-ffp-contract=off" if option == UNFUSED else option


@cache
def _folder() -> Path:
    """Where the libraries of this process are; gone when it ends, but not when the child of a fork does."""
    made, owner = Path(tempfile.mkdtemp(prefix="idesketch-emulator-")), os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(made, ignore_errors=True))
    return made


@cache
def _runtime() -> Path:
    """The emulator itself, which every library of kernels has a copy of."""
    made = _folder() / "emulator.o"
    _compile("-O2", "-std=c++17", "-c", str(HERE / "emulator.cpp"), "-o", str(made))
    return made


@cache
def _compiled(source: str, options: tuple[str, ...]) -> ctypes.CDLL:
    key = hashlib.sha256("\n".join((source, *options)).encode()).hexdigest()[:16]
    kernels, library = _folder() / f"{key}.cu", _folder() / f"{key}.so"
    entries = "\n".join(f"EMULATED({name})" for name in kernels_of(source))
    kernels.write_text(f"{source}\n{entries}\n", encoding="utf-8")
    _compile(
        "-O1", "-shared", f'-DKERNELS="{kernels}"', *map(_as_gcc_has_it, options), str(HERE / "kernels.cpp"),
        str(_runtime()), "-o", str(library),
    )  # fmt: skip
    return ctypes.CDLL(str(library))


def _compile(*options: str) -> None:
    command = [COMPILER, "-fPIC", "-fvisibility=hidden", "-w", f"-I{HERE}", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}\n{done.stderr}")
