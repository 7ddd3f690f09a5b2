"""What stands beside every figure: the machine, the versions, the date. Times nothing, writes nothing."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NOT_INSTALLED = "not installed"


def describe(packages: Sequence[str]) -> dict[str, Any]:
    """Machine, versions of ``packages``, date and load, ready for JSON."""
    from numba import get_num_threads

    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": get_num_threads(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,  # what else ran when it began
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in packages},
    }


def one_line(facts: dict[str, Any]) -> str:
    """Date, machine and the versions that are there, as a sentence for a page."""
    versions = ", ".join(f"{name} {found}" for name, found in facts["versions"].items() if found != NOT_INSTALLED)
    busy = f", load {facts['load'][0]:.1f} at the start" if facts["load"] else ""
    return (
        f"{facts['date'][:10]}, {facts['processor']}, {facts['cores']} cores, {facts['threads']} threads{busy}; "
        f"Python {facts['python']}, {versions}."
    )


def installed(package: str) -> str:
    """A distribution's version, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def processor() -> str:
    """The processor's name as the system gives it."""
    source = Path("/proc/cpuinfo")
    for line in source.read_text().splitlines() if source.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
