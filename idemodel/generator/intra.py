"""Intra-domain matching: coarse sketches matched among those of the training pairs, whose true sketches are known.

A coarse sketch is of another domain than an artist's: blurred at contours, doubled where neighbours disagree. Stage 1's
kernels carry it over, as they carry photos to sketches, by a bank whose sources are leave-one-out coarse sketches and
whose targets are the artist's: the paper's enhancement within the domain of sketches (Peng et al., KBS 2022), by
patches. ``train`` writes that bank beside the model, which holds its hash; the file is named by it, so that no bank is
ever written over another model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idekernels import open_bank, prepare, write_bank
from idekernels.bank import BankSettings, MemoryBank, PatchBank
from idekernels.coarse import CoarseSettings, coarse_sketch
from idekernels.errors import InputError
from idekernels.results import PreparedBank
from idemodel.files.digests import bank_digest
from idemodel.files.tensors import as_images
from idemodel.generator.threads import torch_threads_kept

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class IntraDomain:
    """An intra-domain bank, ready for sketches.

    Parameters
    ----------
    prepared : PreparedBank
    settings : CoarseSettings
        How sketches are made of it.
    """

    prepared: PreparedBank
    settings: CoarseSettings

    @classmethod
    def beside(cls, model: Path, digest: str, settings: CoarseSettings, backend: str = "auto") -> IntraDomain:
        """The bank that lies beside a model's file.

        Raises
        ------
        InputError
            There is none, it cannot be read, or it is not the one of this ``digest``.
        """
        file = model.with_name(file_name(digest))
        if not file.exists():
            raise InputError(f"{model}: needs {file.name}, which train wrote beside it; copy it from the run's folder")
        if not holds(file, digest):
            raise InputError(f"{file}: is damaged; copy it from the folder where {model.name} was trained")
        with open_bank(file) as bank:
            return cls(prepare(_in_memory(bank), backend), settings)

    def sketches(self, coarse: Tensor, leave_out: Sequence[Sequence[str]] | None = None) -> Tensor:
        """Coarse sketches (B, C, H, W) in [0, 1] carried over, as float32 of the same shape on the same device.

        ``leave_out`` names, for each of them, training pairs that it must not use. ValueError for another size than the
        bank's.
        """
        barred = self._numbers(leave_out)
        with torch_threads_kept():
            made = coarse_sketch(list(as_images(coarse)), self.prepared, self.settings, exclude=barred)
        return torch.from_dlpack(made.host()).to(coarse.device)

    def _numbers(self, leave_out: Sequence[Sequence[str]] | None) -> NDArray[np.int64] | None:
        """The bank's numbers of the names, -1 for others, (B, X)."""
        if leave_out is None:
            return None
        places = {name: number for number, name in enumerate(self.prepared.bank.names)}
        most = max((len(names) for names in leave_out), default=0)
        rows = [[places.get(name, -1) for name in names] + [-1] * (most - len(names)) for names in leave_out]
        return np.array(rows, np.int64).reshape(len(rows), most) if most else None


def file_name(digest: str) -> str:
    """What the bank of that digest is called beside a model."""
    return f"intra-{digest[:16]}.h5"


def write_intra_bank(
    folder: Path, names: Sequence[str], coarse: Sequence[Tensor], truth: Images, settings: BankSettings
) -> str:
    """Write the bank of N leave-one-out coarse sketches, (C, H, W) in [0, 1] each, and the true ones; gives its digest.

    ``settings`` are those of the bank that the coarse sketches were made with: planes, weights, patches, direction. A
    file that holds the same already is left alone; a damaged one is replaced, whole or not at all.

    Raises
    ------
    OSError
        The folder is read-only or the disk is full.
    """
    rough = as_images(torch.stack(list(coarse)))
    pairs = settings.ordered(rough, truth)  # as photo and sketch, whose order the direction says
    digest = bank_digest(MemoryBank.from_images(*pairs, names, settings))
    path = folder / file_name(digest)
    if not holds(path, digest):
        write_bank(path, zip(names, *pairs, strict=True), settings)
    return digest


def holds(path: Path, digest: str) -> bool:
    """Whether a file is the bank of that digest, whole."""
    try:
        with open_bank(path) as bank:
            return bank_digest(bank) == digest
    except (InputError, OSError):
        return False


def _in_memory(bank: PatchBank) -> MemoryBank:
    return MemoryBank(bank.source(0, bank.images), bank.target(0, bank.images), bank.names, bank.settings)
