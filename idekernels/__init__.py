"""Stage 1 of face photo-sketch synthesis as a library: photo planes in, coarse sketch out. The public names.

A name's module is imported when the name is first used, so ``import idekernels`` loads no numba, h5py or SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idekernels.bank import BankSettings, JoinedBank, MemoryBank, PatchBank
    from idekernels.bank.file import FileBank, open_bank
    from idekernels.bank.verify import verify
    from idekernels.bank.writer import write_bank
    from idekernels.coarse import CoarseSettings, CoarseSketch, coarse_sketch
    from idekernels.errors import BankError, InputError
    from idekernels.grid import PatchGrid
    from idekernels.operations import (
        blend,
        compatibility,
        compose,
        evidence,
        gather,
        match,
        merge,
        prepare,
        propagate,
        weigh,
        weigh_multi,
    )
    from idekernels.representations import planes_of

_HOMES = {
    "bank": ("BankSettings", "JoinedBank", "MemoryBank", "PatchBank"),
    "bank.file": ("FileBank", "open_bank"),
    "bank.verify": ("verify",),
    "bank.writer": ("write_bank",),
    "errors": ("BankError", "InputError"),
    "grid": ("PatchGrid",),
    "operations": (
        "blend", "compatibility", "compose", "evidence", "gather", "match", "merge", "prepare", "propagate",
        "weigh", "weigh_multi",
    ),
    "representations": ("planes_of",),
    "coarse": ("CoarseSettings", "CoarseSketch", "coarse_sketch"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BankError",
    "BankSettings",
    "CoarseSettings",
    "CoarseSketch",
    "FileBank",
    "InputError",
    "JoinedBank",
    "MemoryBank",
    "PatchBank",
    "PatchGrid",
    "blend",
    "coarse_sketch",
    "compatibility",
    "compose",
    "evidence",
    "gather",
    "match",
    "merge",
    "open_bank",
    "planes_of",
    "prepare",
    "propagate",
    "verify",
    "weigh",
    "weigh_multi",
    "write_bank",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'idekernels' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"idekernels.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
