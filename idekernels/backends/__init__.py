"""Which code runs: a backend's name to its object, and the one backend of a call's arguments; computes nothing.

A backend's module is imported when the backend is first asked for: cpu and cuda load Numba.
"""

from __future__ import annotations

import importlib
from typing import Any

from idekernels.backends.protocol import Backend
from idekernels.errors import InputError, in_short

_MODULES = {name: f"idekernels.backends.{name}" for name in ("reference", "cpu", "cuda")}

NAMES = ("auto", *_MODULES)


def load(name: str) -> Backend:
    """The backend of exactly this name, whether it can run here or not; ImportError where a package is missing."""
    backend: Backend = importlib.import_module(_MODULES[name]).BACKEND
    return backend


def why_missing(name: str) -> str | None:
    """Why a backend cannot run here, with the remedy; None if it can."""
    try:
        return load(name).why_missing()
    except ImportError as error:
        return f"{in_short(error)}; install idesketch anew, or the package that is named"
    except Exception as error:  # a broken package can raise anything when it is imported
        return f"loading it fails ({type(error).__name__}: {in_short(error)}); install the package that fails anew"


def resolve(backend: str | Backend) -> Backend:
    """The backend that a name stands for: ``auto`` is ``cuda`` where a device answers, else ``cpu``.

    Raises
    ------
    InputError
        There is no such backend, or it cannot run here. Nothing is chosen in its place.
    """
    if not isinstance(backend, str):
        return backend
    chosen = ("cpu" if why_missing("cuda") else "cuda") if backend == "auto" else backend
    if chosen not in _MODULES:
        raise InputError(f"no backend called {backend!r}; there are {', '.join(NAMES)}")
    reason = why_missing(chosen)
    if reason:
        raise InputError(f"the backend {chosen!r} cannot run here: {reason}")
    return load(chosen)


def on_device(backend: str) -> bool:
    """Whether the backend that a name stands for computes on a device and leaves the cores to others."""
    return backend == "cuda" or (backend == "auto" and why_missing("cuda") is None)


def common(backend: str | Backend, **given: Any) -> Backend:
    """The one backend of a call: its arguments', or where none of them knows one the backend that is asked for.

    Parameters
    ----------
    backend : str or Backend
        What the caller asked for; ``"auto"`` leaves it to the arguments.
    **given
        The call's arguments by name. Those with a ``backend`` (prepared banks, results of kernels) must agree.

    Raises
    ------
    ValueError
        Two arguments are of different backends, or of another one than was asked for.
    InputError
        As :func:`resolve`.
    """
    owner = shared(**given)
    if owner is None:
        return resolve(backend)
    if backend != "auto" and resolve(backend) is not owner:
        first = next(name for name, value in given.items() if _backend_of(value) is owner)
        raise ValueError(
            f"the backend '{backend}' is asked for but {first} is of '{owner}'; leave it out, or give plain arrays"
        )
    return owner


def shared(**given: Any) -> Backend | None:
    """The one backend of several values by name, None where none of them knows one; ValueError where two differ."""
    owners = {name: owner for name, value in given.items() if (owner := _backend_of(value)) is not None}
    (first, owner), *others = owners.items() or [("", None)]
    for name, other in others:
        if other is not owner:
            raise ValueError(
                f"{first} is of the backend '{owner}' but {name} of '{other}'; make both with one, or give plain arrays"
            )
    return owner


def _backend_of(value: Any) -> Backend | None:
    """The backend of a prepared bank or a result; None of anything else."""
    return getattr(value, "backend", None)
