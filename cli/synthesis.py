"""Photos to fine sketches with an open sketcher: the options, the batch and the files that synth and sketch share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import numpy as np

from idekernels.backends import on_device
from idekernels.bank import PLURALS, PatchBank
from idekernels.errors import InputError
from idekernels.files.processes import usable_cores
from idemodel.files.journal import Making, file_digest
from idemodel.files.outputs import make_folder
from idemodel.preparation import PreparationSettings, PreparedPhoto

from .batch import Batch, Image, Made, Results
from .cluster import ClusterOptions, OnCluster
from .console import err, note, say
from .kernels import load_kernels
from .options import (
    PATH,
    Bytes,
    PhotoOptions,
    normalise_option,
    photo_options,
    precision_option,
    precision_told,
    preselect_option,
    recursive_option,
    shown_device,
)
from .photos import PhotoIntake, bank_digest, preselected
from .readers import Readers, processes_for

if TYPE_CHECKING:
    from idemodel.scale.jobs import FineJob
    from idemodel.sketcher import Sketcher

Command = TypeVar("Command", bound=Callable[..., Any])

_BESIDE = ("coarse", "quilt")  # folders of stage 1's sketches


@dataclass(frozen=True)
class SynthesisOptions:
    """What both commands are told: of the results (out, size, overwrite), the photos, and what the stages run on."""

    out: Path
    size: str
    photo: PhotoOptions
    normalise: str
    backend: str
    device: str
    precision: str
    memory: int | None
    preselect: int | None
    recursive: bool
    overwrite: bool

    def sketcher(self, bank: PatchBank, model: Path, **more: Any) -> Sketcher:
        """What sketches with an open bank and a model's file."""
        with err.status("Loading the model"):  # torch takes its time
            from idemodel.sketcher import Sketcher

        return Sketcher(
            bank, model, size=self.size, backend=self.backend, memory=self.memory, preselect=self.preselect,
            device=self.device, precision=self.precision, **more,
        )  # fmt: skip


_OPTIONS: tuple[Callable[[Any], Any], ...] = (  # in the order of the help
    click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing."),
    click.option("--size", type=click.Choice(["source", "double"]), default="source", show_default=True),
    photo_options(paste_back=True),
    normalise_option,
    click.option("--backend", default="auto", show_default=True, help="Of stage 1, see coarse."),
    click.option("--device", default="auto", show_default=True, help="Of stage 2: auto, cpu or cuda."),
    precision_option,
    click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result."),
    preselect_option,
    recursive_option,
    click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already."),
)


def synthesis_options(command: Command) -> Command:
    """The options that both commands have; the command gets them as one ``options``."""

    @functools.wraps(command)
    def packed(*arguments: Any, **given: Any) -> Any:
        options = SynthesisOptions(**{each.name: given.pop(each.name) for each in fields(SynthesisOptions)})
        return command(*arguments, options=options, **given)

    return cast(Command, functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), packed))


@dataclass(frozen=True)
class Synthesis:
    """One call of a command: its name, the options, the model's file, and what only ``synth`` can be told."""

    command: str
    options: SynthesisOptions
    model: Path
    save_coarse: bool = False
    leave_one_out: bool = False
    cluster: ClusterOptions = field(default_factory=ClusterOptions)

    def run(self, given: Sequence[Path], bank: PatchBank, sketcher: Sketcher, told: str) -> int:
        """Sketch photos, files or folders, and return the exit code; ``told`` is what is said of the bank."""
        options = self.options
        results = Results(options.out, self._making(bank, sketcher), options.overwrite, beside=_BESIDE)
        batch = Batch.find(given, results, options.recursive)
        intake = PhotoIntake(bank, self._preparation, self.leave_one_out)
        intake.introduce()
        if self.cluster.address is None:
            note(f"backend {sketcher.prepared.backend}, device {shown_device(sketcher.enhancer)}, {told}")
        if self.save_coarse and batch.skipped:
            note(f"{batch.skipped} are there already, theirs is not written to coarse; --overwrite makes them anew")
        if batch.todo:
            (self._here if self.cluster.address is None else self._on_cluster)(batch, intake, sketcher)
            intake.sum_up()
        say(batch.summary(options.out))
        return batch.exit_code

    @property
    def _preparation(self) -> PreparationSettings:
        return PreparationSettings(self.options.photo.align, self.options.normalise)

    def _here(self, batch: Batch, intake: PhotoIntake, sketcher: Sketcher) -> None:
        beside = _folders(self.options.out, sketcher) if self.save_coarse else []
        _synthesise(batch, intake, sketcher, beside, self.options.photo.paste_back)

    def _on_cluster(self, batch: Batch, intake: PhotoIntake, sketcher: Sketcher) -> None:
        """``sketcher`` knows bank and model but has not read the bank; the workers do, each all of it or a shard."""
        from idemodel.sketcher import Sketcher

        bank, options = sketcher.prepared.bank, self.options
        with self.cluster.connected() as workers:
            if self.cluster.shards:
                prepared = self.cluster.sharded(workers, bank, options.backend, options.memory)
                note(f"backend {prepared.backend}, device {shown_device(sketcher.enhancer)}, {bank.images} pairs")
                self._here(batch, intake, Sketcher(prepared, sketcher.enhancer, sketcher.settings, size=options.size))
            else:
                beside = _folders(options.out, sketcher) if self.save_coarse else []
                job = self._job(sketcher, len(beside))
                OnCluster(batch, intake, workers, job, beside, self.command).run(_title(sketcher))

    def _job(self, sketcher: Sketcher, beside: int) -> FineJob:
        from idemodel.scale.files import BankFiles, ModelFile
        from idemodel.scale.jobs import FineJob, Holding

        options = self.options
        files = BankFiles.of(sketcher.prepared.bank)
        held = Holding(files, options.backend, options.memory, options.preselect)
        hand = tuple(asdict(sketcher.enhancer.hand).items())
        return FineJob(
            held, ModelFile.of(self.model), sketcher.settings, self._preparation, options.size, options.device,
            options.precision, hand, beside, options.photo.paste_back,
        )  # fmt: skip

    def _making(self, bank: PatchBank, sketcher: Sketcher) -> Making:
        return Making.of(
            self.command, bank=bank_digest(bank), model=file_digest(self.model), settings=sketcher.settings,
            size=self.options.size, hand=sketcher.enhancer.hand, photo=self.options.photo,
            normalise=self.options.normalise, leave_one_out=self.leave_one_out,
            **precision_told(self.options.precision), **preselected(self.options.preselect),
        )  # fmt: skip


def _folders(out: Path, sketcher: Sketcher) -> list[Path]:
    """Where the coarse sketches go, and the quilts where there are such; made."""
    return [make_folder(out / name) for name in _BESIDE[: 2 if sketcher.enhancer.needs_quilt else 1]]


def _synthesise(
    batch: Batch, intake: PhotoIntake, sketcher: Sketcher, beside: Sequence[Path], paste_back: bool
) -> None:
    """Sketch the photos; ``beside`` are the folders for the coarse sketches and the quilts, where they are wanted."""
    from idekernels.coarse import photos_at_once

    def make(targets: Sequence[Path], taken: Sequence[tuple[PreparedPhoto, int]]) -> Iterable[Made]:
        photos, left_out = [photo for photo, _ in taken], np.array([number for _, number in taken])
        made = sketcher.sketch(photos, exclude=left_out)
        rough = [sketches.images() for sketches in (made.coarse, made.quilt) if sketches is not None]
        several = zip(targets, photos, made.images(), *rough, strict=True)
        return (functools.partial(one, *each) for each in several)

    def one(target: Path, photo: PreparedPhoto, fine: Image, *rough: Image) -> Image | InputError:
        try:
            for folder, picture in zip(beside, rough, strict=False):
                batch.write_beside(folder / target.relative_to(batch.results.out), picture, target)
            return photo.paste_back(fine) if paste_back else fine
        except InputError as error:  # its file is gone, or its coarse sketch would be written over an input
            return error

    loading = functools.partial(load_kernels, sketcher.settings, sketcher.prepared)
    spared = functools.partial(_cores_are_spared, sketcher)
    processes = processes_for(len(batch.todo), usable_cores(), intake.as_they_are, spared)
    readers = Readers(intake.tell, loading, processes=processes)
    at_once = photos_at_once(sketcher.prepared, sketcher.settings)
    batch.run(_title(sketcher), at_once, intake.read, make, readers)


def _cores_are_spared(sketcher: Sketcher) -> bool:
    """Whether both stages run on a device; shards of a cluster may be on this machine."""
    return on_device(str(sketcher.prepared.backend)) and sketcher.enhancer.device != "cpu"


def _title(sketcher: Sketcher) -> str:
    return PLURALS[sketcher.prepared.bank.settings.target_kind].capitalize()
