"""What a run learns from and is measured by, made from its files before the first step; takes no steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from idekernels import open_bank, prepare
from idekernels.bank import PatchBank
from idekernels.coarse import CoarseSettings
from idekernels.errors import InputError
from idekernels.warm import warm_up
from idemodel.files.digests import bank_digest
from idemodel.files.tensors import as_images
from idemodel.generator.config import MLAConfig, guide_channels, inputs_of
from idemodel.generator.intra import file_name, write_intra_bank
from idemodel.training.coarse_cache import cached_coarse_sketches, coarse_cache_key
from idemodel.training.crops import TrainingPairs
from idemodel.training.data import Faces, read_faces, split_pairs
from idemodel.training.losses import WANTED as VGG19_WANTED
from idemodel.training.losses import PerceptualLoss, load_perceptual
from idemodel.training.parallel import Group
from idemodel.training.run import Run
from idemodel.training.run_folder import RunFolder
from idemodel.training.validation import Aside, kept_aside


@dataclass(frozen=True)
class Material:
    """Pairs to learn from and pairs to validate on, the size of the generator that fits them, the bank's direction.

    ``intra`` is the digest of the intra-domain bank that was written into the run's folder; empty without one.
    """

    learned: TrainingPairs
    aside: tuple[Aside, ...]
    network: MLAConfig
    direction: str
    intra: str = ""


def needed_perceptual(run: Run) -> PerceptualLoss | None:
    """The perceptual loss, on the CPU, where the recipe gives it a weight.

    Raises
    ------
    InputError
        Its weights file is not given, or does not fit.
    """
    if not run.recipe.losses.perceptual:
        return None
    if run.data.vgg19 is None:
        raise InputError(
            f"the recipe {run.recipe.name!r} has a perceptual loss: give the weights with --vgg19 FILE, {VGG19_WANTED}"
        )
    return load_perceptual(run.data.vgg19)


def prepared_material(run: Run, folder: RunFolder, group: Group, perceptual: PerceptualLoss | None) -> Material:
    """Read faces and bank, claim the run folder for them, and make the coarse sketches or read them from its cache.

    Raises
    ------
    InputError
        Images, bank and recipe do not fit, or the folder holds another run.
    OSError
        The folder is read-only or the disk is full.
    """
    recipe = run.recipe
    with open_bank(*run.data.banks, direction=run.data.direction) as bank:
        faces = read_faces(run.data.pairs, bank)
        network = _network(run, bank)
        bank_hash = bank_digest(bank)
        hashes = {"bank": bank_hash, "pairs": faces.digest}
        if perceptual is not None:
            hashes["vgg19"] = perceptual.digest
        folder.claim(_described(run, group, hashes), resume=run.execution.resume, writes=group.first)
        taken, beside, intra = inputs_of(network.channels, network.guide), {}, ""
        made = _Made(run, faces, bank, bank_hash, folder.path / "coarse", group)
        coarse = made.sketches(recipe.coarse)
        if "quilt" in taken:
            beside["quilt"] = made.sketches(recipe.quilt.matched_as(recipe.coarse))
        if "intra" in taken:
            beside["intra"], intra = made.intra_sketches(coarse, folder.path)
    aside, learned = split_pairs(len(faces.names), recipe.validation, run.execution.seed)
    some = {name: [sketches[i] for i in learned] for name, sketches in beside.items()}
    pairs = TrainingPairs(faces.some(learned), [coarse[i] for i in learned], recipe, network, some)
    kept = tuple(kept_aside(faces, coarse, number, network, beside) for number in aside)
    return Material(pairs, kept, network, bank.direction, intra)


def _network(run: Run, bank: PatchBank) -> MLAConfig:
    recipe = run.recipe
    channels = recipe.channels or bank.channels
    if bank.channels not in (1, channels):
        raise InputError(f"{run.data.banks[0]}: has {bank.channels} target channels, the recipe {channels}")
    guide = guide_channels(recipe.inputs, channels)
    return MLAConfig(channels, recipe.features, recipe.modules, 2, guide, recipe.tail)


def _described(run: Run, group: Group, hashes: dict[str, str]) -> dict[str, object]:
    """What ``run.json`` is to say of the run."""
    return {
        "recipe": run.recipe.as_dict(),
        "seed": run.execution.seed,
        "processes": group.size,
        "device": run.execution.device,
        "data": hashes,
        "paths": {"pairs": str(run.data.pairs), "banks": [str(bank) for bank in run.data.banks]},
    }


@dataclass(frozen=True)
class _Made:
    """Leave-one-out sketches of stage 1 for all faces of a run, kept in a folder of ``caches`` for every settings."""

    run: Run
    faces: Faces
    bank: PatchBank
    bank_hash: str
    caches: Path
    group: Group

    def sketches(self, settings: CoarseSettings) -> list[Tensor]:
        """By these settings, (C, H, W) each: the first process makes them, then all read its files."""
        cache = self.caches / coarse_cache_key(self.faces, self.bank_hash, settings)[:16]
        execution = self.run.execution
        if self.group.first:
            warm_up(settings, execution.backend, self.bank)
            prepared = prepare(self.bank, execution.backend, execution.memory)
            cached_coarse_sketches(self.faces, prepared, settings, cache, self.run.observer.coarse)
        self.group.wait()
        return cached_coarse_sketches(self.faces, prepare(self.bank, execution.backend, 0), settings, cache)

    def intra_sketches(self, coarse: Sequence[Tensor], folder: Path) -> tuple[list[Tensor], str]:
        """The coarse sketches carried over within their domain, each without its own pair, and the bank's digest.

        The first process writes the bank into ``folder``, for the models there to be used with.
        """
        faces = replace(self.faces, source=as_images(torch.stack(list(coarse))))
        bank = (folder, faces.names, coarse, faces.target, self.bank.settings)
        digest = write_intra_bank(*bank) if self.group.first else ""
        self.group.wait()
        digest = digest or write_intra_bank(*bank)  # it is there by now, and left alone
        with open_bank(folder / file_name(digest)) as intra:
            made = replace(self, faces=faces, bank=intra, bank_hash=digest)
            return made.sketches(self.run.recipe.intra), digest
