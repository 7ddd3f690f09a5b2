"""The one thread that looks for faces, sketches and encodes, in batches: kernels and torch are never entered by two."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments
from idekernels.coarse import CoarseSettings, photos_at_once
from idekernels.errors import InputError
from idekernels.files.notices import heard
from idekernels.warm import warm_up
from idemodel.faces.alignment import Eyes
from idemodel.faces.detectors import any_detector, open_detector
from idemodel.faces.search import Face, find_faces
from idemodel.files.images import encode_image, scaled_within
from idemodel.generator.threads import torch_threads_kept
from idemodel.preparation import Once, PreparedPhoto, read_photo
from idemodel.serving.logs import OWN
from idemodel.serving.problems import Refused, ending, refusal
from idemodel.serving.settings import Limits
from idemodel.serving.waiting import Job, Line
from idemodel.sketcher import Sketcher, Sketches

Image = NDArray[np.uint8]

_LOG = logging.getLogger(OWN)
_SHOWN = 1024  # pixels of a preview's longer side
_LINGER = 0.1  # of the time that the last batch took: worth while to have as large a one again
_FRESH = 0.3  # of the pace, by the last batch
_MOST_KINDS = 32  # of settings whose sketchers are kept


@dataclass(frozen=True)
class Kind:
    """What photos of one batch have in common: the changed settings of stage 1, and the size."""

    changes: tuple[tuple[str, Any], ...] = ()
    size: str = "source"


@dataclass(frozen=True)
class SketchWork:
    """A photo to sketch.

    photo : bytes of an image file. name : what messages call it. kind : what it shares with others.
    eyes, face : chosen by a person. framed : whether the sketch is wanted in the photo. whole : whether the coarse
    sketch and the photo are wanted besides.
    """

    photo: bytes
    name: str
    kind: Kind = Kind()
    eyes: Eyes | None = None
    face: int | None = None
    framed: bool = False
    whole: bool = True


@dataclass(frozen=True)
class FacesWork:
    """A photo whose faces are looked for; ``preview``: with a small copy."""

    photo: bytes
    name: str
    preview: bool = False


@dataclass(frozen=True)
class SketchMade:
    """What became of a photo: pictures as PNG files in memory; ``coarse`` and ``photo`` where they were wanted."""

    fine: bytes
    size: tuple[int, int]  # rows and columns of the fine sketch
    prepared: PreparedPhoto
    warnings: tuple[str, ...]
    coarse: bytes = b""
    photo: bytes = b""
    framed: bytes = b""


@dataclass(frozen=True)
class FacesMade:
    """The faces of a photo of ``size`` rows and columns; ``preview`` is a JPEG."""

    size: tuple[int, int]
    faces: tuple[Face, ...]
    warnings: tuple[str, ...]
    preview: bytes = b""


@dataclass
class _Ready:
    """A job whose photo is prepared."""

    job: Job
    photo: PreparedPhoto
    warnings: tuple[str, ...]


class Engine:
    """Computes the jobs of one process, one batch after another, in a thread of its own.

    Parameters
    ----------
    sketcher : Sketcher
        Which it closes when it stops. Its preparation is that of all photos.
    limits : Limits, optional
    """

    def __init__(self, sketcher: Sketcher, limits: Limits | None = None) -> None:
        self.sketcher, self.limits = sketcher, limits or Limits()
        self.line = Line()
        self.computed = 0  # photos that were sketched
        self.pace = 0.5  # seconds a job, of late
        self._present: Sequence[Job] = ()  # what is computed now
        self._sketchers = {Kind(size=sketcher.size): sketcher}
        self._detector = Once(any_detector)
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="idesketch engine", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether jobs are computed."""
        return self._thread.is_alive()

    @property
    def detector_name(self) -> str | None:
        """What finds faces here, or None."""
        found = self._detector()
        return found.name if found else None

    def start(self) -> None:
        """Start the thread, once, and wait until its kernels are compiled or loaded.

        Raises
        ------
        Exception
            What went wrong with that.
        """
        if self._thread.ident is None:
            self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed

    def end(self) -> None:
        """Refuse what waits and whatever comes; what is computed goes on."""
        self.line.close()

    def hurry(self) -> None:
        """Refuse even what is computed; the thread leaves it at its next step."""
        for job in self._present:
            job.given_up = True
            job.fail(ending())

    def stop(self) -> None:
        """Refuse what waits, finish what is computed, and close the bank."""
        self.end()
        if self._thread.is_alive():
            self._thread.join()
        self.sketcher.close()

    def submit(self, work: SketchWork | FacesWork) -> Job:
        """Put work into the line; its job's future gets a SketchMade or FacesMade, or the error.

        Raises
        ------
        Refused
            The engine has ended.
        """
        job = Job(work)
        self.line.put(job)
        return job

    def _run(self) -> None:
        """Kernels are compiled in this very thread: OpenMP keeps a team of threads for each that starts some."""
        try:
            self._detector()
            self.sketcher.preparer  # noqa: B018 - made now, not while somebody waits
            with torch_threads_kept():  # else every network ran on as many threads as there are cores, told or not
                warm_up(self.sketcher.settings, self.sketcher.prepared.backend, self.sketcher.prepared.bank)
        except Exception as error:  # told by start
            self._failed = error
            return
        finally:
            self._ready.set()
        jobs = self.line.take(self.limits.batch, self.limits.linger)
        while jobs:
            began = time.monotonic()
            with _answered(jobs):  # nothing may end the thread
                self._present = [job for job in jobs if job.begin()]
                self._compute(self._present)
            seconds = time.monotonic() - began
            self._note_pace(seconds / max(1, len(self._present)))
            self._present = ()
            jobs = self.line.take(self.limits.batch, max(self.limits.linger, _LINGER * seconds), len(jobs))

    def _note_pace(self, seconds: float) -> None:
        self.pace += _FRESH * (seconds - self.pace)

    def _compute(self, jobs: Sequence[Job]) -> None:
        groups: dict[Kind, list[_Ready]] = {}
        for job in jobs:
            with _answered([job]):
                if isinstance(job.work, FacesWork):
                    job.answer(self._faces(job.work))
                elif not job.given_up:
                    groups.setdefault(job.work.kind, []).append(self._prepared(job))
        for kind, ready in groups.items():
            self._sketch_all(kind, ready)

    def _sketch_all(self, kind: Kind, ready: Sequence[_Ready]) -> None:
        """Together; where that fails each alone, so that no request fails by another."""
        try:
            self._sketch(kind, [one for one in ready if not one.job.given_up])
        except Exception as error:
            if len(ready) == 1:
                _fail([ready[0].job], error)
                return
            for one in ready:
                if not one.job.future.done():
                    self._sketch_all(kind, [one])

    def _prepared(self, job: Job) -> _Ready:
        work: SketchWork = job.work
        self._sketcher(work.kind)  # refuses settings before anything is computed
        with heard() as lines:
            photo = self.sketcher.preparer.prepare(work.photo, eyes=work.eyes, face=work.face, name=work.name)
        told = (*self.sketcher.preparer.notes, *lines, *photo.notes)
        return _Ready(job, photo, tuple(line for line in told if line.strip()))

    def _sketch(self, kind: Kind, ready: Sequence[_Ready]) -> None:
        """One batch of photos of one kind, as many at a time as their tables leave room for."""
        sketcher = self._sketcher(kind)
        at_once = photos_at_once(sketcher.prepared, sketcher.settings)
        for start in range(0, len(ready), at_once):
            some = ready[start : start + at_once]
            made = sketcher.sketch([one.photo for one in some])
            self.computed += len(some)
            fine, coarse = made.images(), _coarse(made, some)
            for number, one in enumerate(some):
                if not one.job.given_up:
                    with _answered([one.job]):
                        one.job.answer(_made(one, fine[number], coarse[number]))

    def _faces(self, work: FacesWork) -> FacesMade:
        with heard() as lines:
            frame = read_photo(work.photo, work.name)
            faces = find_faces(frame, self._detector() or open_detector())
        told = [] if faces else ["no face found (a profile, a covered or a very small face is not seen)"]
        shown = encode_image(scaled_within(frame, _SHOWN), "JPEG") if work.preview else b""
        return FacesMade(frame.shape[:2], tuple(faces), (*lines, *told), shown)

    def _sketcher(self, kind: Kind) -> Sketcher:
        """The one for photos of this kind, of the same bank and networks."""
        if kind not in self._sketchers:
            made = _sketcher_of(self.sketcher, kind)
            if len(self._sketchers) >= _MOST_KINDS:
                self._sketchers = {Kind(size=self.sketcher.size): self.sketcher}
            self._sketchers[kind] = made
        return self._sketchers[kind]


def _sketcher_of(first: Sketcher, kind: Kind) -> Sketcher:
    settings = _changed(first.settings, dict(kind.changes))
    bank = first.prepared.bank
    radius = bank.settings.radius if settings.radius is None else settings.radius
    try:
        nobody = np.full((1, 1), -1)
        arguments.enough_positions(bank, bank.grid(settings.patch, settings.overlap), radius, settings.k, nobody)
    except ValueError as error:
        raise InputError(str(error)) from None
    return Sketcher(first.prepared, first.enhancer, settings, size=kind.size)


def _changed(settings: CoarseSettings, changes: dict[str, Any]) -> CoarseSettings:
    try:
        return replace(settings, **changes)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from None


def _coarse(made: Sketches, ready: Sequence[_Ready]) -> Sequence[Image | None]:
    """The coarse sketches, where anybody wants them."""
    wanted = any(one.job.work.whole for one in ready)
    return list(made.coarse.images()) if wanted else [None] * len(ready)


def _made(ready: _Ready, fine: Image, coarse: Image | None) -> SketchMade:
    work: SketchWork = ready.job.work
    framed = encode_image(ready.photo.paste_back(fine)) if work.framed else b""
    made = SketchMade(encode_image(fine), fine.shape[:2], ready.photo, ready.warnings, framed=framed)
    if not work.whole or coarse is None:
        return made
    return replace(made, coarse=encode_image(coarse), photo=encode_image(ready.photo.image))


@contextmanager
def _answered(jobs: Sequence[Job]) -> Iterator[None]:
    """Whatever goes wrong within is told to those who wait, and nobody else."""
    try:
        yield
    except Exception as error:
        _fail(jobs, error)


def _fail(jobs: Sequence[Job], error: Exception) -> None:
    told = refusal(error)
    if told.status >= 500 and not isinstance(error, Refused):
        _LOG.error("a request failed", exc_info=error)
    for job in jobs:
        job.fail(told)
