"""The whole way in one object: photos, prepared, to coarse sketches to fine ones, in memory; writes no files."""

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

from idekernels import arguments, backends, open_bank, prepare
from idekernels.bank import PLURALS, PatchBank
from idekernels.coarse import CoarseSettings, CoarseSketch, coarse_sketches
from idekernels.errors import InputError
from idekernels.representations import intensity
from idekernels.results import PreparedBank
from idemodel.builtin import builtin_bank
from idemodel.faces.alignment import Eyes
from idemodel.files.tensors import as_images
from idemodel.generator.enhance import Enhancer
from idemodel.generator.hand import Hand
from idemodel.generator.inputs import SIZES
from idemodel.generator.threads import torch_threads_kept
from idemodel.generator.weights import PHANTOM
from idemodel.preparation import Once, PhotoLike, PhotoPreparer, PreparationSettings, PreparedPhoto

Photo = NDArray[np.uint8]
Sketchable = Photo | Tensor | PreparedPhoto | str | os.PathLike[str] | bytes
BankLike = PatchBank | PreparedBank | str | os.PathLike[str]


@dataclass(frozen=True)
class Sketches:
    """What became of B photos.

    coarse : stage 1's sketches. fine : (B, C, H, W) float32 Tensor in [0, 1], on the sketcher's device. quilt : stage
    1's sketches of one candidate a patch, where the model takes them.
    """

    coarse: CoarseSketch
    fine: Tensor
    quilt: CoarseSketch | None = None

    def images(self) -> Photo:
        """The fine sketches as uint8: (B, H, W) where grey, (B, H, W, 3) where RGB."""
        return as_images(self.fine)


class Sketcher:
    """Photos in, sketches out; or sketches in, photos out, where bank and model are of that direction.

    A photo as it was taken is prepared first::

        with Sketcher() as sketcher:  # or Sketcher("bank.h5", "model.safetensors")
            photo = sketcher.prepare("me.jpg")
            sketch = sketcher.sketch(photo).images()[0]
            framed = photo.paste_back(sketch)

    Parameters
    ----------
    bank : PatchBank, PreparedBank or path, optional
        A prepared bank decides the backend itself. The built-in bank of drawn faces if not given, see
        :func:`idemodel.builtin_bank`: the first use draws it.
    model : Enhancer or path, optional
        A generator of idesketch (.safetensors), or the authors' checkpoint (.pth); the built-in one,
        :data:`idemodel.PHANTOM`, if not given.
    settings : CoarseSettings or mapping, optional
        How stage 1 runs; by default as when the model was trained. A mapping changes single settings of that.
    size : {"source", "double"}
        The fine sketch has the bank's size, or twice as many rows and columns.
    backend, memory, preselect : str, int, int, optional
        Of stage 1, see :func:`idekernels.prepare`.
    device : str
        Of stage 2, see :func:`idemodel.generator.devices.torch_device`.
    preparation : PreparationSettings, optional
        Of the photos that :meth:`prepare` is given.
    hand : Hand, mapping or str, optional
        The tone of the fine sketches, where the model is not an Enhancer; see :class:`idemodel.Enhancer`.
    precision : {"float32", "float16"}
        Of stage 2, likewise.

    Raises
    ------
    InputError
        A file is missing or damaged, bank and model do not fit or are of different directions, or backend or device
        cannot be had.
    TypeError, ValueError
        A setting out of range, another ``size``, or what a prepared bank decides itself: another ``backend``, a
        ``memory`` or a ``preselect``.
    """

    def __init__(
        self,
        bank: BankLike | None = None,
        model: Enhancer | str | os.PathLike[str] | None = None,
        settings: CoarseSettings | Mapping[str, Any] | None = None,
        *,
        size: str = "source",
        backend: str = "auto",
        memory: int | None = None,
        preselect: int | None = None,
        device: str = "auto",
        preparation: PreparationSettings | None = None,
        hand: Hand | Mapping[str, float] | str | None = None,
        precision: str = "float32",
    ) -> None:
        arguments.choice("size", size, SIZES)
        if isinstance(bank, PreparedBank):
            backends.common(backend, bank=bank)
            for name, given in (("memory", memory), ("preselect", preselect)):
                if given is not None:
                    raise ValueError(f"{name} is given, but the bank is prepared already; give it to prepare")
        runs_on = bank.backend.name if isinstance(bank, PreparedBank) else backend
        model = PHANTOM if model is None else model
        if not isinstance(model, Enhancer):
            self.enhancer = Enhancer.open(model, device, hand, runs_on, precision=precision)
        else:
            self.enhancer = model
        self.settings = settings if isinstance(settings, CoarseSettings) else self._trained(settings or {})
        self._kinds = [self.settings, *([self._quilt()] if self.enhancer.needs_quilt else [])]
        self.size = size
        opened = bank if isinstance(bank, PatchBank | PreparedBank) else _opened(bank)
        self.prepared = (
            opened if isinstance(opened, PreparedBank) else prepare(opened, backend, memory, preselect=preselect)
        )
        self._owned = None if opened is bank else self.prepared.bank
        self._preparer = Once(lambda: PhotoPreparer(self.prepared.bank, preparation))
        try:
            self._check_fits("the model" if isinstance(model, Enhancer) else str(model))
        except InputError:
            self.close()
            raise

    @property
    def preparer(self) -> PhotoPreparer:
        """What makes photos ready for the bank; made when it is first asked for.

        Raises
        ------
        InputError
            The bank or this machine cannot do what the settings of the preparation ask for.
        """
        return self._preparer()

    def prepare(self, photo: PhotoLike, *, eyes: Eyes | None = None, face: int | None = None) -> PreparedPhoto:
        """A photo made ready for :meth:`sketch`; see :meth:`idemodel.preparation.PhotoPreparer.prepare`."""
        return self.preparer.prepare(photo, eyes=eyes, face=face)

    def sketch(self, photos: Sketchable | Sequence[Sketchable], exclude: Any = None) -> Sketches:
        """Sketch one photo or several.

        Nothing but the photos' planes goes in and no file comes between: the coarse sketch reaches the generator by
        DLPack, sharing memory where both stages run on one device.

        Parameters
        ----------
        photos : path, bytes, PreparedPhoto, uint8 array or tensor, or a sequence of B such
            A file, by its path or its content, goes through :meth:`prepare` first. Arrays are taken as they are, of the
            bank's size, eyes where the bank's are: (H, W) or (H, W, 3) is one photo, (B, H, W) and (B, H, W, 3) are B;
            an array of three axes is one photo in colour where the last has three entries. Tensors of torch may also
            be (B, 3, H, W).
        exclude : int or int array, optional
            Bank images that a photo must not use, see :func:`idekernels.coarse_sketch`.

        Raises
        ------
        TypeError, ValueError
            A photo of another size or dtype, or a (3, H, W) tensor, which may be one photo or three.
        """
        one = isinstance(photos, np.ndarray | Tensor | PreparedPhoto | str | os.PathLike | bytes)
        given: Sequence[Any] = [photos] if one else photos  # type: ignore[assignment]
        batch = [image for photo in given for image in self._images(photo)]
        with torch_threads_kept():
            coarse, *quilts = coarse_sketches(batch, self.prepared, self._kinds, exclude=exclude)
        quilt = quilts[0] if quilts else None
        left_out = self._names(exclude, len(batch))
        fine = self.enhancer.enhance(coarse, self._seen(batch), self.size, quilt=quilt, leave_out=left_out)
        return Sketches(coarse, fine, quilt)

    def _images(self, photo: Sketchable) -> Sequence[Photo]:
        """The images, (H, W) or (H, W, 3), that one photo or an array or tensor of several stands for."""
        if isinstance(photo, str | os.PathLike | bytes):
            photo = self.prepare(photo)
        return _images(photo)

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
        intra = self.enhancer.domain.prepared.bank if self.enhancer.domain else bank
        if (intra.height, intra.width) != (bank.height, bank.width):
            raise InputError(
                f"{model}: was trained on {intra.height} x {intra.width}, the bank is of {bank.height} x {bank.width}; "
                "use its own bank"
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

    def _names(self, exclude: Any, count: int) -> list[list[str]] | None:
        """The names of the bank's images that each photo must not use."""
        if exclude is None:
            return None
        names = self.prepared.bank.names
        barred = arguments.excluded(np.atleast_1d(exclude), count, len(names))
        return [[names[number] for number in row if number >= 0] for row in barred]

    def _trained(self, changes: Mapping[str, Any]) -> CoarseSettings:
        """The settings that the model was trained with, changed; the usual ones where it does not say."""
        recorded = self.enhancer.recipe.get("coarse", {})
        try:
            return replace(CoarseSettings(**recorded), **changes)
        except (TypeError, ValueError) as error:
            raise InputError(f"the settings of the coarse sketch do not fit: {error}") from None

    def _quilt(self) -> CoarseSettings:
        """The settings of the quilt that the model was trained with, of the same candidates as the coarse sketch."""
        recorded = self.enhancer.recipe.get("quilt", {"method": "top1"})
        try:
            return CoarseSettings(**recorded).matched_as(self.settings)
        except (TypeError, ValueError) as error:
            raise InputError(f"the settings of the quilt do not fit: {error}") from None


def _opened(bank: str | os.PathLike[str] | None) -> PatchBank:
    return builtin_bank() if bank is None else open_bank(Path(bank))


def _images(photo: Photo | Tensor | PreparedPhoto) -> Sequence[Photo]:
    """The images, (H, W) or (H, W, 3), that one photo or an array or tensor of several stands for."""
    if isinstance(photo, PreparedPhoto):
        return [photo.image]
    images = _array(photo) if isinstance(photo, Tensor) else photo
    several = isinstance(images, np.ndarray) and (images.ndim == 4 or (images.ndim == 3 and images.shape[2] != 3))
    return list(images) if several else [images]


def _array(photos: Tensor) -> Photo:
    """A tensor of photos as an array with the channels last."""
    if photos.dtype != torch.uint8:
        raise TypeError(f"photos are a tensor of {photos.dtype}; a photo is uint8, in 0 to 255")
    shape = tuple(photos.shape)
    if len(shape) == 3 and shape[0] == 3 and shape[2] != 3:
        raise ValueError(
            f"a tensor of shape {shape} may be one photo or three: give (1, 3, H, W) or (H, W, 3) for one in colour, "
            "or a list of three (H, W)"
        )
    if len(shape) == 4 and shape[1] == 3 and shape[3] != 3:
        photos = photos.permute(0, 2, 3, 1)
    return photos.detach().cpu().contiguous().numpy()
