"""Kernels compiled before anybody waits for a result: a small bank of noise sent the whole way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from idekernels import backends
from idekernels.backends.protocol import Backend
from idekernels.bank import BankSettings, MemoryBank, PatchBank
from idekernels.coarse import CoarseSettings, coarse_sketch


def warm_up(
    settings: CoarseSettings | None = None, backend: str | Backend = "auto", bank: PatchBank | None = None
) -> None:
    """Compile what ``settings`` need, or load it from Numba's cache: half a minute the first time, then a second.

    The kernels of the backend cuda are made for one size, patch and K: there ``bank`` says which. The CPU's serve all.
    """
    runs_on = backends.resolve(backend)
    chosen = (settings or CoarseSettings()).changed(iterations=1)
    if bank is None:
        chosen = replace(chosen, k=2, patch=None, overlap=None, radius=None)
        bank = _noise(2, (1, 6, 6), 1, BankSettings(patch=4, overlap=2, radius=0))
    size = (bank.planes, bank.height, bank.width)
    noise = _noise(min(bank.images, chosen.k + 1), size, bank.channels, bank.settings)
    photo = noise.source(0, 1)[0, 0]
    on_host = runs_on.free_memory() is None
    for count in (1, 2) if on_host else (1,):  # the CPU has kernels for a photo alone, and for batches
        coarse_sketch([photo] * count, noise, chosen, backend=runs_on)


def try_out(backend: str | Backend) -> None:
    """Run every kind of kernel once on noise: match to blend by the weight field, then propagation and seams.

    Whatever the backend raises where it is there but cannot run is passed on.
    """
    for settings in (CoarseSettings(), CoarseSettings().changed(method="mrf", blend="cut")):
        warm_up(settings, backend)


def _noise(images: int, size: tuple[int, int, int], channels: int, settings: BankSettings) -> PatchBank:
    numbers = np.random.default_rng(0)
    source = numbers.integers(0, 256, (images, *size), dtype=np.uint8)
    target = numbers.integers(0, 256, (images, channels, *size[1:]), dtype=np.uint8)
    return MemoryBank(source, target, [str(number) for number in range(images)], settings)
