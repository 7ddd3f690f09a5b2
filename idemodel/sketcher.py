"""The whole way in one object: photos to coarse sketches to fine ones, in memory; knows no files but bank and model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idekernels import open_bank, prepare
from idekernels.bank import PLURALS, PatchBank
from idekernels.coarse import CoarseSettings, CoarseSketch, coarse_sketch
from idekernels.errors import InputError
from idekernels.representations import intensity
from idekernels.results import PreparedBank
from idemodel.files.tensors import as_images
from idemodel.generator.enhance import Enhancer
from idemodel.generator.threads import torch_threads_kept

Photo = NDArray[np.uint8]
BankLike = PatchBank | PreparedBank | str | os.PathLike[str]


@dataclass(frozen=True)
class Sketches:
    """What became of B photos.

    coarse : stage 1's sketches. fine : (B, C, H, W) float32 Tensor in [0, 1], on the sketcher's device.
    """

    coarse: CoarseSketch
    fine: Tensor

    def images(self) -> Photo:
        """The fine sketches as uint8: (B, H, W) where grey, (B, H, W, 3) where RGB."""
        return as_images(self.fine)


class Sketcher:
    """Photos in, sketches out; or sketches in, photos out, where bank and model are of that direction.

    Parameters
    ----------
    bank : PatchBank, PreparedBank or path
        A prepared bank decides the backend itself.
    model : Enhancer or path
        A generator of idesketch (.safetensors), or the authors' checkpoint (.pth).
    settings : CoarseSettings or mapping, optional
        How stage 1 runs; by default as when the model was trained. A mapping changes single settings of that.
    size : {"source", "double"}
        The fine sketch has the bank's size, or twice as many rows and columns.
    backend, memory : str, int, optional
        Of stage 1, see :func:`idekernels.prepare`.
    device : str
        Of stage 2, see :func:`idemodel.generator.devices.torch_device`.

    Raises
    ------
    InputError
        A file is missing or damaged, bank and model do not fit or are of different directions, or backend or device
        cannot be had.
    TypeError, ValueError
        A setting out of range.
    """

    def __init__(
        self,
        bank: BankLike,
        model: Enhancer | str | os.PathLike[str],
        settings: CoarseSettings | Mapping[str, Any] | None = None,
        *,
        size: str = "source",
        backend: str = "auto",
        memory: int | None = None,
        device: str = "auto",
    ) -> None:
        self.enhancer = model if isinstance(model, Enhancer) else Enhancer.open(model, device)
        self.settings = settings if isinstance(settings, CoarseSettings) else self._trained(settings or {})
        self.size = size
        opened = bank if isinstance(bank, PatchBank | PreparedBank) else open_bank(Path(bank))
        self.prepared = opened if isinstance(opened, PreparedBank) else prepare(opened, backend, memory)
        self._owned = None if opened is bank else self.prepared.bank
        try:
            self._check_fits("the model" if isinstance(model, Enhancer) else str(model))
        except InputError:
            self.close()
            raise

    def sketch(self, photos: Photo | Sequence[Photo], exclude: Any = None) -> Sketches:
        """Sketch one photo or several.

        Nothing but the photos' planes goes in and no file comes between: the coarse sketch reaches the generator by
        DLPack, sharing memory where both stages run on one device.

        Parameters
        ----------
        photos : (H, W) or (H, W, 3) uint8, or a sequence of B such
            Of the bank's size, eyes where the bank's are.
        exclude : int or int array, optional
            Bank images that a photo must not use, see :func:`idekernels.coarse_sketch`.

        Raises
        ------
        TypeError, ValueError
            A photo of another size or dtype.
        """
        batch = [photos] if isinstance(photos, np.ndarray) else list(photos)
        with torch_threads_kept():
            coarse = coarse_sketch(batch, self.prepared, self.settings, exclude=exclude)
        return Sketches(coarse, self.enhancer.enhance(coarse, self._seen(batch), self.size))

    def close(self) -> None:
        """Close the bank's file, where the sketcher opened it."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Sketcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_fits(self, model: str) -> None:
        bank, trained = self.prepared.bank, self.enhancer.direction
        if trained != bank.direction:
            raise InputError(
                f"{model}: was trained for {trained}, the bank is for {bank.direction}; "
                f"give a model trained on this bank, or build one with: idesketch bank build --direction {trained}"
            )
        channels = self.enhancer.network.config.channels
        if bank.channels not in (1, channels):
            raise InputError(
                f"the bank's {PLURALS[bank.settings.target_kind]} have {bank.channels} channels, "
                f"the model takes {channels}; use its own bank"
            )

    def _seen(self, batch: Sequence[Photo]) -> Tensor | None:
        """What is sketched as the generator sees it, (B, 1, H, W) in [0, 1]; None where it does not."""
        if not self.enhancer.needs_photo:
            return None
        grey = torch.from_numpy(np.stack([intensity(photo) for photo in batch]))
        return grey[:, None].to(self.enhancer.device, torch.float32) / 255.0

    def _trained(self, changes: Mapping[str, Any]) -> CoarseSettings:
        """The settings that the model was trained with, changed; the usual ones where it does not say."""
        recorded = self.enhancer.recipe.get("coarse", {})
        try:
            return replace(CoarseSettings(**recorded), **changes)
        except (TypeError, ValueError) as error:
            raise InputError(f"the settings of the coarse sketch do not fit: {error}") from None
