"""What lies beyond the border of a tightly cropped photo, as the bank has it there; finds no faces, reads no files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PatchBank
from idekernels.representations import intensity
from idemodel.faces.alignment import PLAIN, Similarity, depths, warp
from idemodel.faces.normalise import Measures, beside_head, require_grey, sample_planes

Image = NDArray[np.uint8]
Grey = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAMPLE = 64  # bank photos that are measured, evenly spaced

_FADE = 0.02  # of the frame's width, inside the photo, over which its border fades into what is filled in
_OVERHANG = 1.0  # pixels that the frame may reach over a border before anything is filled in
_CHIN = (0.65, 0.75)  # of the height: head and background above, neck and shoulders below, mixed in between
_STRIP = 0.015  # of the frame's width, inside a border: what lies there says whether the backdrop goes on
_SEEN = 0.1  # share of the places beside the head that must be visible to tell the photo's backdrop


class Surroundings:
    """What is usual around the faces of a bank's photos: background above the chin, neck and shoulders below it.

    Parameters
    ----------
    planes : (n, H, W) uint8
        Luma of the bank's photos, or of a sample of them.

    Attributes
    ----------
    level : float in [0, 255]
        The median over the photos of the background's median beside the head.
    median : (H, W) float64 in [0, 255]
        Of the photos, at each place; what it shows below the chin is a neck and shoulders.
    """

    def __init__(self, planes: NDArray[np.uint8]) -> None:
        height, width = planes.shape[1:]
        down = np.repeat((np.arange(height)[:, None] + 0.5) / height, width, axis=1)
        self.level = float(np.median([Measures(plane).ground[0] for plane in planes]))
        self.median: Grey = np.median(planes, axis=0).astype(np.float64)
        self._below: Grey = np.clip((down - _CHIN[0]) / (_CHIN[1] - _CHIN[0]), 0.0, 1.0)
        self._beside = beside_head(height, width)

    @classmethod
    def of(cls, bank: PatchBank, sample: int = SAMPLE) -> Surroundings:
        """Measure a bank, ``sample`` of its photos evenly spaced.

        Raises
        ------
        InputError
            The bank has no plane of grey levels, or one under 16 pixels a side.
        """
        require_grey(bank)
        return cls(sample_planes(bank, sample))

    def opacity(self, photo: Image, move: Similarity) -> Grey | None:
        """How much of each pixel of the frame is the photo's; the rest is to be filled in.

        Parameters
        ----------
        photo : (h, w) or (h, w, 3) uint8
        move : Similarity
            From positions in the photo to positions in the bank's frame.

        Returns
        -------
        (H, W) float64 in [0, 1], or None
            0 beyond the photo's border, 1 from 2 percent of the width inside it on; also 1 beyond a border that shows
            nothing but the backdrop that is seen beside the head, as that goes on. None where nothing is to be filled
            in: the frame reaches over no border, or over such ones alone.
        """
        height, width = self.median.shape
        inside = depths(move, photo.shape, height, width)
        crossed = inside[inside.min(axis=(1, 2)) < -_OVERHANG]
        if not len(crossed):
            return None
        luma = intensity(warp(photo, move, height, width, "edge")).astype(np.float64)
        visible = inside.min(axis=0) >= 0.0
        backdrop = self._backdrop(luma, visible)
        strips = [visible & (side < max(2.0, _STRIP * width)) for side in crossed]
        kept = np.zeros((height, width))
        for share in (1.0 - self._below, self._below):
            cut = [
                side
                for side, strip in zip(crossed, strips, strict=True)
                if backdrop is None or not _shows(backdrop, luma[strip & (share > 0.5)])
            ]
            nearest = np.min(cut, axis=0) if cut else np.full((height, width), np.inf)
            kept += share * np.clip(nearest / max(1.0, _FADE * width), 0.0, 1.0)
        return kept if kept.min() < 1.0 else None

    def fill(self, aligned: Image, opacity: Grey) -> Image:
        """Fill in what an aligned photo does not show.

        Parameters
        ----------
        aligned : (H, W) or (H, W, 3) uint8
        opacity : (H, W) float64 in [0, 1]
            How much of each pixel stays.

        Returns
        -------
        uint8, of the shape of ``aligned``
            Above the chin the colour of the photo's own backdrop where that is plain and can be seen beside the head,
            else the bank's level; below it the bank's median.
        """
        given = aligned.reshape(*aligned.shape[:2], -1).astype(np.float64)
        backdrop = self._backdrop(given, opacity == 1.0)
        above = self.level if backdrop is None else backdrop
        kept, below = opacity[..., None], self._below[..., None]
        around = (1.0 - below) * above + below * self.median[..., None]
        return np.rint(kept * given + (1.0 - kept) * around).astype(np.uint8).reshape(aligned.shape)

    def _backdrop(self, image: Grey, visible: Mask) -> Grey | None:
        """The mean level or colour of the backdrop; None where too little of it is visible, or it is not plain."""
        seen = image[visible & self._beside]
        if len(seen) < _SEEN * self._beside.sum() or seen.std(axis=0).mean() > PLAIN:
            return None
        return np.asarray(seen.mean(axis=0))


def _shows(backdrop: Grey, strip: Grey) -> bool:
    """Whether a strip of luma along a border shows nothing but the backdrop."""
    return len(strip) > 0 and float(np.sqrt(np.mean((strip - backdrop) ** 2))) <= PLAIN
