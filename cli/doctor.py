"""``idesketch doctor``: what is installed, what can run here, and why something cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from idekernels.errors import in_short
from idekernels.files.processes import usable_cores

from .console import say

_PACKAGES = (
    "idesketch", "numpy", "numba", "llvmlite", "h5py", "scipy", "scikit-image", "pillow", "torch", "safetensors",
    "jinja2", "click", "rich",
)  # fmt: skip
_OPTIONAL = {
    "hdf5plugin": "extra compress",
    "onnx": "extra export",
    "onnxruntime": "extra export",
    "tensorboard": "extra tensorboard",
    "cupy-cuda12x": "extra cuda12",
    "cupy-cuda13x": "extra cuda13",
}


@click.command()
def doctor() -> None:
    """Show versions, cores, backends and folders; for what is missing, why and what helps."""
    say(f"python {platform.python_version()} on {platform.platform()}, {platform.machine()}")
    say(f"cores: {usable_cores()} usable of {os.cpu_count()}")
    say("\nPackages")
    for package in _PACKAGES:
        say(f"  {package:13} {_version(package) or 'MISSING: install idesketch anew'}")
    for package, use in _OPTIONAL.items():
        say(f"  {package:13} {_version(package) or f'not installed ({use})'}")
    for title, found in (
        ("Backends", _backends), ("Threads", _threads), ("Face detectors", _detectors), ("Folders", _folders)
    ):  # fmt: skip
        say(f"\n{title}")
        for name, state in _whatever_comes(found).items():
            say(f"  {name:13} {state}")


def _whatever_comes(found: Callable[[], dict[str, str]]) -> dict[str, str]:
    """What is found, or what went wrong in looking: of a broken installation doctor tells all that it can."""
    try:
        return found()
    except Exception as error:
        return {"FAILED": _what_failed(error)}


def _what_failed(error: BaseException) -> str:
    return f"{type(error).__name__}: {in_short(error)}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    except Exception as error:  # metadata that is broken
        return f"UNKNOWN: {_what_failed(error)}"


def _backends() -> dict[str, str]:
    from idekernels import backends

    states = {name: _state(name) for name in backends.NAMES if name != "auto"}
    states["auto"] = f"takes {backends.resolve('auto')}"
    return states


def _state(name: str) -> str:
    """Ready, once a kernel of each kind has run there; or why it is missing, or what failed with which versions."""
    from idekernels import backends

    missing = backends.why_missing(name)
    if missing:
        return missing
    try:
        from idekernels.warm import try_out

        try_out(name)
    except Exception as error:
        fast = [package for package in (*_PACKAGES[:4], *_OPTIONAL) if package in _PACKAGES or "cu" in package]
        installed = ", ".join(f"{package} {version}" for package in fast if (version := _version(package)))
        return f"FAILS in {_kernel(error)}: {_what_failed(error)} ({installed})"
    return "ready"


def _kernel(error: BaseException) -> str:
    """The last of our functions that an error came through."""
    ours = [
        frame.name for frame in traceback.extract_tb(error.__traceback__) if "idekernels" in Path(frame.filename).parts
    ]
    return ours[-1] if ours else "a kernel"


def _threads() -> dict[str, str]:
    from idekernels.backends.cpu.jit import SAFE_LAYERS, layer

    found = layer()
    if found is None:
        return {"cpu": "not started: no kernel ran"}
    several = "several threads may call at once" if found in SAFE_LAYERS else "calls of several threads wait in turn"
    return {"cpu": f"Numba's layer {found}: {several}; after a fork, one thread a process"}


def _detectors() -> dict[str, str]:
    from idemodel.faces.detectors import DETECTORS

    states = {}
    for name, kind in DETECTORS.items():
        try:
            why = kind().why_missing()
        except Exception as error:
            why = f"FAILS: {_what_failed(error)}"
        states[name] = f"{why} (extra {kind.extra})" if why else "ready"
    return states


def _folders() -> dict[str, str]:
    from idekernels.backends.cpu.jit import cache_folder, cache_trouble

    found, trouble, temporary = cache_folder(), cache_trouble(), Path(tempfile.gettempdir())
    cache = str(found) if found else "none can be written: kernels are compiled anew in every process"
    return {
        "kernel cache": f"{cache}; {trouble}" if trouble else cache,
        **_cache(),
        "temporary": f"{temporary}{_read_only(temporary) or ' (writable)'}",
    }


def _cache() -> dict[str, str]:
    """Where the built-in bank is kept, and whether it is there."""
    from idekernels.files.cache import usual_folder
    from idemodel.builtin import builtin_file

    folder, file = usual_folder(), builtin_file()
    there = file is not None and file.is_file()
    return {
        "cache": f"{folder}{_read_only(folder)}" if folder else "no home is known; IDESKETCH_CACHE can name a folder",
        "built-in bank": f"{file}" if there else "not drawn yet; the first idesketch sketch draws it",
    }


def _read_only(folder: Path) -> str:
    """A word on a folder that is there and cannot be written."""
    return " (READ-ONLY)" if folder.exists() and not os.access(folder, os.W_OK) else ""
