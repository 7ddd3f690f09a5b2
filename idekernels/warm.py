"""Kernels compiled before anybody waits for a result: a bank of two tiny images sent the whole way."""

from __future__ import annotations

import numpy as np

from idekernels.bank import BankSettings, PatchBank
from idekernels.coarse import CoarseSettings, coarse_sketch


def warm_up(settings: CoarseSettings | None = None, backend: str = "auto") -> None:
    """Compile what ``settings`` need, or load it from Numba's cache: half a minute the first time, then a second."""
    chosen = settings or CoarseSettings()
    images = [np.full((6, 6), level, np.uint8) for level in (0, 255)]
    bank = PatchBank.from_images(images, images, settings=BankSettings(patch=4, overlap=2, radius=0))
    tiny = CoarseSettings(chosen.method, 2, chosen.alpha, blend=chosen.blend, iterations=1)
    coarse_sketch(images[0], bank, tiny, backend=backend)
