"""What backends of NumPy's arrays have in common: steps around their kernels that a device takes within its kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from idekernels.backends.protocol import Array, Named
from idekernels.bank import PatchBank
from idekernels.grid import PatchGrid
from idekernels.labels import weights_of
from idekernels.merging import MISSING
from idekernels.results import Compatibility, Evidence


class OnHost(Named):
    """The parts of :class:`idekernels.backends.protocol.Backend` that are made of other parts.

    A backend gives ``_search``, as ``match`` with places (image * H + row) * W + column, (B, N, K) int64, for image,
    row and column; ``_cut_out``, as ``gather`` with such places; and ``_grams``, as ``evidence`` of planes that all
    count once.
    """

    _search: Any
    _cut_out: Any
    _grams: Any
    propagate: Any
    blend: Any
    cut: Any

    def match(
        self, query: Array, prepared: Any, grid: PatchGrid, radius: int, k: int, exclude: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Find the K nearest patches."""
        place, distance = self._search(query, prepared, grid, radius, k, exclude)
        image, pixel = np.divmod(place, grid.height * grid.width)
        row, column = np.divmod(pixel, grid.width)
        absent = distance == MISSING
        if absent.any():
            image, row, column = (np.where(absent, -1, axis) for axis in (image, row, column))
        return image.astype(np.int32), row.astype(np.int32), column.astype(np.int32), distance

    def gather(self, places: tuple[Array, Array, Array], prepared: Any, patch: int) -> tuple[Array, Array]:
        """Cut candidates' patches out of the bank."""
        bank = prepared if isinstance(prepared, PatchBank) else prepared.bank
        image, row, column = (axis.astype(np.int64) for axis in places)
        source, target = self._cut_out((image * bank.height + row) * bank.width + column, prepared, patch)
        return source, target

    def evidence(self, query: Array, sources: Array, grid: PatchGrid, weights: tuple[int, ...]) -> Array:
        """Gram matrices of residuals."""
        grams = self._grams(query, sources, grid)
        if set(weights) != {1}:
            grams *= np.array(weights, np.float32)[:, None, None]  # in place: the tables are large
        return grams

    def gram(self, grams: Array) -> Array:
        """The planes' sum."""
        return np.ascontiguousarray(Evidence(grams).gram)

    def label(
        self,
        distance: Array,
        tables: tuple[Array, Array, Array],
        alpha: float,
        grid: PatchGrid,
        iterations: int,
        damping: float,
        temperature: float,
    ) -> tuple[Array, Array, Array]:
        """Choose candidates by their distances and the field's tables."""
        pairwise = np.ascontiguousarray(Compatibility(*tables).costs(alpha))
        labels, energy, beliefs = self.propagate(
            distance.astype(np.float32), pairwise, grid, iterations, damping, temperature
        )
        return labels, energy, weights_of(labels, beliefs, temperature)

    def levels(self, patches: Array, grid: PatchGrid, window: Array | None) -> Array:
        """Join patches of grey levels to pictures in [0, 1]."""
        pixels = self.cut(patches, grid) if window is None else self.blend(patches, grid, window)
        return np.clip(pixels / np.float32(255.0), 0.0, 1.0)

    def rounded(self, levels: Array) -> Array:
        """Pictures as images of whole grey levels."""
        return rounded(levels)


def rounded(levels: Array) -> Array:
    """Pictures (B, C, H, W) in [0, 1] as images; see :meth:`idekernels.backends.protocol.Backend.rounded`."""
    images = np.rint(levels * 255.0).astype(np.uint8)
    return images[:, 0] if images.shape[1] == 1 else np.ascontiguousarray(np.moveaxis(images, 1, 3))
