"""Compiled kernels on disk, beside CuPy's own: who finds them there needs no compiler; launches nothing.

CuPy keeps what it compiles, too, but must load NVRTC and run it once for every set of options before it can look: 0.2 s
and 10 ms a kernel, more than all else that a first sketch waits for (H100, 2026-11-26; docs/GPU.md, "The first sketch
of a process"). What is read here is known by its source, its options, the device's architecture and the versions of
CuPy and CUDA.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done

_AS_CUPY = ("-ftz=true",)  # what CuPy adds to a module's options: the results must not depend on who has it compiled
_DIGEST = hashlib.sha256


def folder() -> Path | None:
    """Where CuPy keeps compiled kernels, whether it is there or not; None where it is told to keep none."""
    if os.environ.get("CUPY_CACHE_IN_MEMORY", "0") not in ("", "0"):
        return None
    return Path(os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache"))  # noqa: PTH111 - never raises


def load(cupy: Any, source: str, options: tuple[str, ...]) -> Any:
    """CUDA C++ as a module of the current device, ``cupy.cuda.function.Module``: from the disk, else compiled and kept.

    A file that is damaged, or that the driver refuses, is compiled anew; one that cannot be written is left.
    """
    place = folder()
    file = place and place / f"idesketch-{_name(cupy, source, options)}.cubin"
    kept = _read(file) if file else None
    if kept is not None:
        with contextlib.suppress(cupy.cuda.driver.CUDADriverError):
            return _loaded(cupy, kept)
    code, _ = cupy.cuda.compiler.compile_using_nvrtc(source, (*options, *_AS_CUPY))
    if file:
        _write(file, code)
    return _loaded(cupy, code)


def _name(cupy: Any, source: str, options: tuple[str, ...]) -> str:
    toolkit, device = cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.Device().compute_capability
    known_by = (cupy.__version__, str(toolkit), device, *options, source)
    return _DIGEST("\0".join(known_by).encode()).hexdigest()[:40]


def _loaded(cupy: Any, code: bytes) -> Any:
    module = cupy.cuda.function.Module()
    module.load(code)
    return module


def _read(file: Path) -> bytes | None:
    """The code in a file that begins with its digest; None where there is none, or another."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    size = _DIGEST().digest_size
    code = content[size:]
    return code if code and _DIGEST(code).digest() == content[:size] else None


def _write(file: Path, code: bytes) -> None:
    with contextlib.suppress(OSError, InputError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replace_when_done(file) as partial:
            partial.write_bytes(_DIGEST(code).digest() + code)
