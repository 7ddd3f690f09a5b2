"""``idesketch doctor``: what is installed, what can run here, and why something cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
from pathlib import Path

import click

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
    "numba-cuda": "extra cuda12 or cuda13",
}


@click.command()
def doctor() -> None:
    """Show versions, cores, backends and folders; for what is missing, why and what helps."""
    say(f"python {platform.python_version()} on {platform.platform()}, {platform.machine()}")
    say(f"cores: {_cores()} usable of {os.cpu_count()}")
    say("\nPackages")
    for package in _PACKAGES:
        say(f"  {package:13} {_version(package) or 'MISSING: install idesketch anew'}")
    for package, use in _OPTIONAL.items():
        say(f"  {package:13} {_version(package) or f'not installed ({use})'}")
    say("\nBackends")
    for name, state in _backends().items():
        say(f"  {name:13} {state}")
    say("\nFace detectors")
    for name, state in _detectors().items():
        say(f"  {name:13} {state}")
    say("\nFolders")
    for name, state in _folders().items():
        say(f"  {name:13} {state}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _backends() -> dict[str, str]:
    from idekernels import backends

    states = {name: backends.why_missing(name) or "ready" for name in backends.NAMES if name != "auto"}
    states["auto"] = f"takes {backends.resolve('auto')}"
    return states


def _detectors() -> dict[str, str]:
    from idemodel.faces.detectors import DETECTORS

    reasons = {name: kind().why_missing() for name, kind in DETECTORS.items()}
    return {name: f"{why} (extra {DETECTORS[name].extra})" if why else "ready" for name, why in reasons.items()}


def _folders() -> dict[str, str]:
    from idekernels.backends.cpu.jit import cache_folder

    found, temporary = cache_folder(), Path(tempfile.gettempdir())
    return {
        "kernel cache": str(found) if found else "none can be written: kernels are compiled anew in every process",
        "temporary": f"{temporary} ({'writable' if os.access(temporary, os.W_OK) else 'READ-ONLY'})",
    }
