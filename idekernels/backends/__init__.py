"""Which code runs: a backend's name to its module, chosen once; knows nothing of what the kernels compute."""

from __future__ import annotations

import importlib
from types import ModuleType

from idekernels.errors import InputError

_MODULES = {name: f"idekernels.backends.{name}" for name in ("reference", "cpu", "cuda")}

NAMES = ("auto", *_MODULES)


def why_missing(name: str) -> str | None:
    """Why a backend cannot run here, with the remedy; None if it can."""
    try:
        module = importlib.import_module(_MODULES[name])
    except ImportError as error:
        return f"{error}; install idesketch anew, or the package that is named"
    reason: str | None = module.why_missing() if hasattr(module, "why_missing") else None
    return reason


def resolve(name: str) -> str:
    """The backend that ``name`` stands for: ``auto`` is ``cuda`` where a device answers, else ``cpu``.

    Raises
    ------
    InputError
        There is no such backend, or it cannot run here. Nothing is chosen in its place.
    """
    chosen = ("cpu" if why_missing("cuda") else "cuda") if name == "auto" else name
    if chosen not in _MODULES:
        raise InputError(f"no backend called {name!r}; there are {', '.join(NAMES)}")
    reason = why_missing(chosen)
    if reason:
        raise InputError(f"the backend {chosen!r} cannot run here: {reason}")
    return chosen


def load(name: str) -> ModuleType:
    """The module of a backend, by a name that :func:`resolve` accepts."""
    return importlib.import_module(_MODULES[resolve(name)])
