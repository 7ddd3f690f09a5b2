"""``idesketch coarse``: photos and a bank in, coarse sketches out; a bad photo is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PLURALS, PatchBank
from idekernels.errors import InputError
from idekernels.files.processes import usable_cores
from idemodel.files.journal import Making
from idemodel.files.outputs import make_folder
from idemodel.preparation import Once, PreparationSettings
from idemodel.reading import Taken

from .batch import Batch, Image, Made, Results, split_banks
from .cluster import ClusterOptions, OnCluster, cluster_options
from .console import note, say
from .kernels import SideBySide, let_waiting_threads_sleep, load_kernels
from .options import (
    PATH,
    Bytes,
    PhotoOptions,
    direction_check,
    kernel_options,
    leave_one_out_option,
    normalise_option,
    photo_options,
    preselect_option,
    recursive_option,
)
from .photos import PhotoIntake, bank_digest, pairs_told, preselected
from .readers import Portions, Readers, processes_for

if TYPE_CHECKING:
    from idekernels.coarse import CoarseSettings
    from idekernels.results import PreparedBank
    from idemodel.scale.cluster import Cluster

Images = NDArray[np.uint8]  # (B, H, W) or (B, H, W, 3)


@click.command()
@click.argument("inputs", metavar="BANK.h5... PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@direction_check
@kernel_options
@photo_options()
@normalise_option
@leave_one_out_option
@click.option(
    "--backend", default="auto", show_default=True, help="auto, cuda, cpu or reference; never replaced by another."
)
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
@preselect_option
@cluster_options
@recursive_option
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def coarse(
    inputs: tuple[Path, ...],
    out: Path,
    direction: str | None,
    photo: PhotoOptions,
    normalise: str,
    leave_one_out: bool,
    backend: str,
    memory: int | None,
    preselect: int | None,
    cluster: ClusterOptions,
    recursive: bool,
    overwrite: bool,
    **settings: Any,
) -> int:
    """Make coarse sketches of photos (files or folders) from a bank, or from several banks as one.

    Leading arguments that end in .h5 are banks. Photos are aligned to the bank's size where they are not (--align);
    those whose light or background is unlike the bank's are normalised, and named. Sketches that are there already
    are skipped; a photo that cannot be used is reported, the rest goes on, and the exit code is 1. From a
    sketch-to-photo bank: the same with sketches in and photos out.
    """
    let_waiting_threads_sleep()
    from idekernels import CoarseSettings, open_bank

    cluster.refuse_with(preselect)
    banks, given = split_banks(inputs, 1, "give a bank first, then at least one image or folder of images")
    chosen = CoarseSettings(**settings)
    with open_bank(*banks, direction=direction) as bank:
        made_by = Making.of(
            "coarse", bank=bank_digest(bank), settings=chosen, align=photo.align, normalise=normalise,
            leave_one_out=leave_one_out, **preselected(preselect),
        )  # fmt: skip
        photos = Batch.find(given, Results(out, made_by, overwrite), recursive)
        preparation = PreparationSettings(photo.align, normalise)
        _Call(photos, bank, chosen, preparation, leave_one_out, backend, memory, preselect).run(cluster)
    say(photos.summary(out))
    return photos.exit_code


@dataclass(frozen=True)
class _Call:
    """The photos of one call, the open bank, and how sketches are made of it."""

    photos: Batch
    bank: PatchBank
    settings: CoarseSettings
    preparation: PreparationSettings
    leave_one_out: bool
    backend: str
    memory: int | None
    preselect: int | None

    def run(self, cluster: ClusterOptions) -> None:
        """Make the sketches that are to be made, here or on a cluster."""
        if cluster.address is None:
            from idekernels import prepare
            from idekernels.backends import on_device

            preparing = partial(prepare, self.bank, self.backend, self.memory, preselect=self.preselect)
            self._here(preparing, partial(on_device, self.backend))
        elif self.photos.todo:
            with cluster.connected() as workers:
                if cluster.shards:
                    sharded = partial(cluster.sharded, workers, self.bank, self.backend, self.memory)
                    self._here(sharded, spared=lambda: False)  # the workers may be here
                else:
                    self._there(workers)

    def _here(self, prepare: Callable[[], PreparedBank], spared: Callable[[], bool]) -> None:
        """Make them in this process; ``prepare`` is called while the first photos are read.

        ``spared`` is whether the kernels leave this machine's cores alone.
        """
        if not self.photos.todo:
            self.tell(prepare())
            return
        try:
            intake = self._intake()
        except InputError:
            self.tell(prepare())  # what is wrong with the backend comes first
            make_folder(self.photos.results.out)
            raise
        with closing(_Sketching(self, intake, prepare)) as sketching:
            processes = processes_for(len(self.photos.todo), usable_cores(), intake.as_they_are, spared)
            readers = Readers(sketching.tell, sketching.open, processes=processes)
            self.photos.run(_title(self.bank), sketching.portions, intake.taken, sketching.make, readers)
        intake.sum_up()

    def _there(self, workers: Cluster) -> None:
        from idemodel.scale.files import BankFiles
        from idemodel.scale.jobs import CoarseJob, Holding

        intake = self._intake()
        intake.introduce()
        held = Holding(BankFiles.of(self.bank), self.backend, self.memory, self.preselect)
        job = CoarseJob(held, self.settings, self.preparation)
        OnCluster(self.photos, intake, workers, job, name="coarse").run(_title(self.bank))
        intake.sum_up()

    def _intake(self) -> PhotoIntake:
        return PhotoIntake(self.bank, self.preparation, self.leave_one_out)

    def tell(self, prepared: PreparedBank) -> None:
        """Say what the sketches are made of and by."""
        grid = self.bank.grid(self.settings.patch, self.settings.overlap)
        pairs = pairs_told(self.bank, self.preselect)
        note(f"backend {prepared.backend}, {pairs}, {grid.shape[0]} x {grid.shape[1]} patches")


@dataclass(eq=False)
class _Sketching:
    """Photos that are read ahead and sketched together, of a bank that is prepared meanwhile."""

    call: _Call
    intake: PhotoIntake
    prepare: Callable[[], PreparedBank]
    prepared: PreparedBank = field(init=False)
    beside: SideBySide = field(init=False)
    _begun: ExitStack = field(default_factory=ExitStack)

    def open(self) -> None:
        """Prepare the bank, and load the kernels."""
        self.prepared = self.prepare()
        self.call.tell(self.prepared)
        make_folder(self.call.photos.results.out)
        self.intake.introduce()
        load_kernels(self.call.settings, self.prepared)
        self.beside = self._begun.enter_context(closing(SideBySide(self.prepared, len(self.call.photos.todo))))

    def close(self) -> None:
        """End what was begun."""
        self._begun.close()

    def portions(self) -> Portions:
        """How many photos are sketched together, and how many times so many at the same time."""
        from idekernels.coarse import photos_at_once

        calls = self.beside.calls
        return Portions(photos_at_once(self.prepared, self.call.settings, calls), calls)

    def tell(self, file: Path, taken: Taken) -> None:
        """Say what was done to a photo that was read."""
        self.intake.told(file, taken.notes, taken.aligned)

    def make(self, _: Sequence[Path], taken: Sequence[Taken]) -> Iterable[Made]:
        """Sketch photos; the writers wait for whoever does it, and more is read and begun meanwhile."""
        from idekernels.coarse import Queries, coarse_sketch

        queries, left_out = Queries([one.planes for one in taken]), np.array([one.barred for one in taken])
        made = partial(coarse_sketch, queries, self.prepared, self.call.settings, exclude=left_out)
        begun = self.beside.begin(made)
        images = Once(lambda: begun().images())
        return [partial(_one_of, images, number) for number in range(len(taken))]


def _one_of(images: Callable[[], Images], number: int) -> Image:
    return images()[number]


def _title(bank: PatchBank) -> str:
    return f"Coarse {PLURALS[bank.settings.target_kind]}"
