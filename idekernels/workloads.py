"""Work to measure kernels on: seeded synthetic pairs of a stated size, the same everywhere; times and prints nothing.

The images are smooth textures with noise that share a common structure, as aligned faces do: the nearest patches are
much nearer than others, by amounts that vary. They are no faces, so nobody need look at a sketch made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import BankSettings, PatchBank
from idekernels.grid import PatchGrid
from idekernels.representations import to_bytes

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Workload:
    """A bank of ``pairs``, and ``photos`` that are not in it; two workloads of equal fields hold equal pixels.

    Parameters
    ----------
    pairs, photos : int
        Images in the bank, and photos to sketch in one batch.
    height, width : int
        Of every image, in pixels.
    k : int
        Candidates a node.
    settings : BankSettings
        Patch, overlap, radius and representations.
    seed : int
    """

    pairs: int = 88
    photos: int = 1
    height: int = 250
    width: int = 200
    k: int = 10
    settings: BankSettings = field(default_factory=BankSettings)
    seed: int = 7

    @cached_property
    def grid(self) -> PatchGrid:
        """Where the patches lie."""
        return PatchGrid(self.height, self.width, self.settings.patch, self.settings.overlap)

    @property
    def patch_pairs(self) -> int:
        """How many pairs of patches the matching of one photo compares: positions of all windows, in all images."""
        down, across = self.grid.positions(self.settings.radius)
        return self.pairs * int(down.sum()) * int(across.sum())

    def bank(self) -> PatchBank:
        """The bank, in memory."""
        photos, sketches = zip(*(self._pair(number) for number in range(self.pairs)), strict=True)
        return PatchBank.from_images(photos, sketches, settings=self.settings)

    def queries(self) -> list[Image]:
        """The photos, each (H, W) uint8."""
        return [self._pair(self.pairs + number)[0] for number in range(self.photos)]

    def _pair(self, number: int) -> tuple[Image, Image]:
        """Photo and sketch of one number: common structure, a texture of its own, a finer one for each."""
        size = (self.height, self.width)
        random = np.random.default_rng([self.seed, number])
        own = 12.0 * _texture(random, size, 4.0)
        photo = self._common + own + 5.0 * _texture(random, size, 1.0) + random.normal(0.0, 2.0, size)
        sketch = 60.0 + 0.8 * (self._common + own) + 10.0 * _texture(random, size, 0.7)
        return to_bytes(photo), to_bytes(sketch)

    @cached_property
    def _common(self) -> NDArray[np.float64]:
        random = np.random.default_rng(self.seed)
        return 128.0 + 40.0 * _texture(random, (self.height, self.width), 12.0)


STANDARD = Workload()

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        "tiny": Workload(pairs=6, height=64, width=48, k=4),
        "standard": STANDARD,
        "batch": Workload(photos=8),
        "planes": Workload(settings=BankSettings(representations=("intensity", "dog", "gradient"), weights=(1, 1, 1))),
    }
)


def _texture(random: np.random.Generator, size: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    """Gaussian-filtered noise of mean 0 and deviation 1, blobs of ``sigma`` pixels."""
    from scipy.ndimage import gaussian_filter

    blurred: Any = gaussian_filter(random.standard_normal(size), sigma)
    return np.asarray((blurred - blurred.mean()) / blurred.std())
