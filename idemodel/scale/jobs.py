"""What a worker does with photos, and keeps ready from batch to batch: coarse sketches, or the whole way to fine ones.

A job is all that pictures depend on but the photos, and small. A worker holds the banks of the last jobs it had, each
once, whatever jobs are done with it; and for every bank the benches of the last jobs, which have the rest ready.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels import prepare
from idekernels.coarse import CoarseSettings, coarse_sketch, photos_at_once
from idekernels.errors import InputError
from idekernels.results import PreparedBank
from idekernels.warm import warm_up
from idemodel.preparation import PhotoPreparer, PreparationSettings, PreparedPhoto
from idemodel.scale.files import BankFiles, ModelFile

if TYPE_CHECKING:
    from idemodel.sketcher import Sketcher

Image = NDArray[np.uint8]
Key = TypeVar("Key")
Thing = TypeVar("Thing")
Pictures = tuple[Image, ...]  # of one photo: its result, then what is written beside it

_BANKS = 2  # of a worker: two calls that are made by turns do not throw out each other's
_BENCHES = 4  # of a bank


class Bench(Protocol):
    """A job made ready on a bank."""

    preparer: PhotoPreparer
    backend: str
    at_once: int

    def make(self, photos: Sequence[PreparedPhoto], barred: Sequence[int]) -> list[Pictures | InputError]:
        """The pictures of photos, none made of the pair in ``barred`` (-1: of any); an error costs one photo."""
        ...


class Job(Protocol):
    """Hashable, and small when pickled."""

    @property
    def bank(self) -> Holding:
        """What it needs a bank of."""
        ...

    def open(self, prepared: PreparedBank) -> Bench:
        """Read what it needs besides the bank, and load the kernels; InputError where a file is not the client's."""
        ...


@dataclass(frozen=True)
class Holding:
    """A bank as a worker holds it: its files, what reads them, how much memory they may take, and a preselection."""

    files: BankFiles
    backend: str = "auto"
    memory: int | None = None
    preselect: int | None = None

    def open(self) -> Held:
        """Open and prepare it; InputError where a file is not the client's, or the backend cannot run."""
        bank = self.files.open()
        try:
            return Held(prepare(bank, self.backend, self.memory, preselect=self.preselect))
        except BaseException:
            bank.close()
            raise


class Held:
    """A bank that a worker holds, and the benches of the jobs that are done with it."""

    def __init__(self, prepared: PreparedBank) -> None:
        self.prepared = prepared
        self._benches: Kept[Job, Bench] = Kept(_BENCHES)

    def bench(self, job: Job) -> Bench:
        """A job made ready, before or now."""
        return self._benches.of(job, lambda: job.open(self.prepared))

    def close(self) -> None:
        """Close the bank."""
        self.prepared.bank.close()


@dataclass(frozen=True)
class CoarseJob:
    """Coarse sketches of photos: the bank, the settings, and how photos are prepared."""

    bank: Holding
    settings: CoarseSettings
    preparation: PreparationSettings

    def open(self, prepared: PreparedBank) -> CoarseBench:
        """See :class:`Job`."""
        return CoarseBench(prepared, self)


class CoarseBench:
    """See :class:`Bench`."""

    def __init__(self, prepared: PreparedBank, job: CoarseJob) -> None:
        self._prepared, self._settings = prepared, job.settings
        self.preparer = PhotoPreparer(prepared.bank, job.preparation)
        self.backend, self.at_once = str(prepared.backend), photos_at_once(prepared, job.settings)
        warm_up(job.settings, prepared.backend, prepared.bank)

    def make(self, photos: Sequence[PreparedPhoto], barred: Sequence[int]) -> list[Pictures | InputError]:
        """See :class:`Bench`."""
        images = [photo.image for photo in photos]
        made = coarse_sketch(images, self._prepared, self._settings, exclude=np.array(barred)).images()
        return [(image,) for image in made]


@dataclass(frozen=True)
class FineJob:
    """Fine sketches of photos: bank and model, how photos are prepared, and all that a Sketcher is told.

    ``hand`` are pairs of name and value; ``beside`` is how many of stage 1's sketches are wanted as well;
    ``paste_back`` whether the sketch is laid over its photo.
    """

    bank: Holding
    model: ModelFile
    settings: CoarseSettings
    preparation: PreparationSettings
    size: str = "source"
    device: str = "auto"
    precision: str = "float32"
    hand: tuple[tuple[str, float], ...] = ()
    beside: int = 0
    paste_back: bool = False

    def open(self, prepared: PreparedBank) -> FineBench:
        """See :class:`Job`."""
        from idemodel.sketcher import Sketcher  # torch takes its time

        model, hand = self.model.checked(), dict(self.hand)
        sketcher = Sketcher(
            prepared, model, self.settings, size=self.size, device=self.device, precision=self.precision, hand=hand
        )
        return FineBench(sketcher, self)


class FineBench:
    """See :class:`Bench`."""

    def __init__(self, sketcher: Sketcher, job: FineJob) -> None:
        self._sketcher, self._job = sketcher, job
        prepared = sketcher.prepared
        self.preparer = PhotoPreparer(prepared.bank, job.preparation)
        self.backend, self.at_once = str(prepared.backend), photos_at_once(prepared, sketcher.settings)
        warm_up(sketcher.settings, prepared.backend, prepared.bank)

    def make(self, photos: Sequence[PreparedPhoto], barred: Sequence[int]) -> list[Pictures | InputError]:
        """See :class:`Bench`."""
        made = self._sketcher.sketch(list(photos), exclude=np.array(barred))
        rough = [each.images() for each in (made.coarse, made.quilt) if each is not None][: self._job.beside]
        return [self._one(*each) for each in zip(photos, made.images(), *rough, strict=True)]

    def _one(self, photo: PreparedPhoto, fine: Image, *rough: Image) -> Pictures | InputError:
        try:
            return (photo.paste_back(fine) if self._job.paste_back else fine, *rough)
        except InputError as error:
            return error


class Kept(Generic[Key, Thing]):
    """What was made for the last few keys; the one that was not asked for longest goes first, closed if it can be."""

    def __init__(self, most: int) -> None:
        self._most, self._made = most, OrderedDict[Key, Thing]()

    def of(self, key: Key, make: Callable[[], Thing]) -> Thing:
        """What was made for a key before, or is made now."""
        if key not in self._made:
            while len(self._made) >= self._most:  # before the next is made: a bank may fill half of the memory
                _, oldest = self._made.popitem(last=False)
                getattr(oldest, "close", lambda: None)()
                del oldest
            self._made[key] = make()
        self._made.move_to_end(key)
        return self._made[key]


_HELD: Kept[Holding, Held] = Kept(_BANKS)


def bench_of(job: Job) -> Bench:
    """The bench of a job on this worker, whose bank is opened now if it is not held."""
    return _HELD.of(job.bank, job.bank.open).bench(job)
