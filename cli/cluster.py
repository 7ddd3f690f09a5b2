"""``--cluster``: its options, and a batch whose pictures workers make; this process alone reads photos and writes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from idekernels.errors import InputError
from idekernels.files.notices import tell_once
from idekernels.files.processes import usable_cores
from idekernels.files.regular import regular_file
from idemodel.files.images import LARGEST
from idemodel.files.journal import Photo
from idemodel.files.outputs import make_folder

from .ahead import ahead
from .batch import Batch
from .console import Rate, err, note, progress
from .photos import PhotoIntake
from .readers import readers_for

if TYPE_CHECKING:
    from idekernels.bank import PatchBank
    from idekernels.results import PreparedBank
    from idemodel.scale.cluster import Cluster
    from idemodel.scale.jobs import Job
    from idemodel.scale.photos import Answer, Asked

Command = TypeVar("Command", bound=Callable[..., Any])

_IN_FLIGHT = 2  # batches a worker: one that is made, one that waits beside it
_MOST_BYTES = 2**25  # of the photos' files in one batch, unless a single one has more


@dataclass(frozen=True)
class ClusterOptions:
    """Where the work is done: here, where ``address`` is None; ``shards`` keeps each bank file on one worker."""

    address: str | None = None
    shards: bool = False
    dashboard: int | None = None

    def __post_init__(self) -> None:
        if self.address is None and (self.shards or self.dashboard is not None):
            raise click.UsageError("--shards and --dashboard go with --cluster")

    def refuse_with(self, preselect: int | None) -> None:
        """A shard does not know which faces of the others are nearer: both at once are a mistake of usage."""
        if self.shards and preselect is not None:
            raise click.UsageError("--preselect does not go with --shards; --cluster without --shards takes it")

    def sharded(self, workers: Cluster, bank: PatchBank, backend: str, memory: int | None) -> PreparedBank:
        """A bank whose files lie in the memory of workers, one each."""
        from idemodel.scale.shards import sharded

        with err.status("The shards are placed"):
            return sharded(workers, bank, backend, memory)

    def spared(self) -> dict[str, Any]:
        """What a sketcher of this process need not do where the workers do it: read the bank, compile, use a GPU."""
        if self.address is None:
            return {}
        unread: dict[str, Any] = {"memory": 0, "preselect": None}
        return unread if self.shards else unread | {"backend": "reference", "device": "cpu", "precision": "float32"}

    @contextlib.contextmanager
    def connected(self) -> Generator[Cluster]:
        """The cluster, for a ``with`` block."""
        from idemodel.scale.cluster import connected
        from idemodel.scale.places import Place

        place = Place.of(self.address or "")
        with contextlib.ExitStack() as until_the_end:
            with err.status(f"Joining the cluster {place}"):
                cluster = until_the_end.enter_context(connected(place, self.dashboard))
            yield cluster


def cluster_options(command: Command) -> Command:
    """--cluster, --shards and --dashboard; the command gets them as one ``cluster``."""

    @functools.wraps(command)
    def packed(*arguments: Any, cluster: str | None, shards: bool, dashboard: int | None, **others: Any) -> Any:
        return command(*arguments, cluster=ClusterOptions(cluster, shards, dashboard), **others)

    text = "Have the work done by N processes here, local:N, or by the workers of a Dask scheduler, tcp://HOST:PORT (or tls://)."
    shards = "With --cluster and several banks: each is searched by one worker, which alone holds it."
    board = "Of --cluster local:N: serve Dask's dashboard on this port, to this machine alone."
    made = click.option("--dashboard", metavar="PORT", type=click.IntRange(1, 65535), help=board)(packed)
    made = click.option("--shards", is_flag=True, help=shards)(made)
    made = click.option("--cluster", metavar="CLUSTER", help=text)(made)
    return made  # type: ignore[return-value]


@dataclass(frozen=True)
class _Photo:
    """A photo on its way: where its result goes, its file as it was read, and why it cannot be used, if so."""

    target: Path
    photo: Photo | None = None
    asked: Asked | None = None
    error: Exception | None = None

    @property
    def size(self) -> int:
        return self.photo.size if self.photo else 0


@dataclass(frozen=True)
class _Sent:
    """A batch that a worker has; the photos' bytes are the scheduler's to keep."""

    photos: list[_Photo]
    future: Any = None


@dataclass(frozen=True)
class OnCluster:
    """A batch whose pictures the workers of a cluster make.

    ``beside`` are the folders of what a worker gives besides each photo's result, in order; ``name`` is what the
    dashboard calls the work.
    """

    batch: Batch
    intake: PhotoIntake
    cluster: Cluster
    job: Job
    beside: Sequence[Path] = ()
    name: str = "sketch"

    def run(self, title: str) -> None:
        """Make and write all pictures, as :meth:`Batch.run` does, with the same messages in the same order.

        At most two batches a worker are under way: the memory taken here does not grow with the number of photos.
        """
        make_folder(self.batch.results.out)
        at_once = self._get_ready()
        under_way: deque[_Sent] = deque()
        with progress(Rate()) as bar, contextlib.closing(self._batches(at_once)) as batches:
            task = bar.add_task(title, total=len(self.batch.todo))
            for some in batches:
                while len(under_way) >= _IN_FLIGHT * max(1, len(self.cluster.workers)):
                    self._take(under_way.popleft(), lambda: bar.advance(task))
                under_way.append(self._send(some))
            while under_way:
                self._take(under_way.popleft(), lambda: bar.advance(task))

    def _get_ready(self) -> int:
        """Have every worker open bank and model, and say so; how many photos are a batch."""
        from idemodel.scale.photos import get_ready

        with err.status("The workers open the bank"):
            ready = self.cluster.get_ready(get_ready, self.job)
        backends = ", ".join(sorted({each.backend for each in ready}))
        note(f"cluster {self.cluster.place}, workers: {len(ready)}, backend {backends}")
        if busy := [worker for worker, threads in self.cluster.workers.items() if threads > 1]:
            note(f"worker {busy[0]}: has several threads, and makes one batch at a time; start it with --nthreads 1")
        return min(each.at_once for each in ready)

    def _batches(self, at_once: int) -> Generator[list[_Photo]]:
        """The photos, read by threads ahead of their turn, so many at once; fewer where their files are large."""
        threads = readers_for(usable_cores())
        some: list[_Photo] = []
        with ahead(self._read, self.batch.todo.items(), threads, threads + 1) as coming:
            for _, result in coming:
                photo = result.result()
                if some and sum(each.size for each in some) + photo.size > _MOST_BYTES:
                    yield some
                    some = []
                some.append(photo)
                if len(some) == at_once:
                    yield some
                    some = []
        if some:
            yield some

    def _read(self, item: tuple[Path, Path]) -> _Photo:
        from idemodel.scale.photos import Asked

        target, file = item
        try:
            photo, content = _content(file)
        except (InputError, OSError) as error:
            return _Photo(target, error=error)
        try:
            return _Photo(target, photo, Asked(str(file), content, self.intake.barred(file)))
        except InputError as error:  # the worker says first whether it can be read at all
            return _Photo(target, photo, Asked(str(file), content, refused=str(error)))

    def _send(self, some: list[_Photo]) -> _Sent:
        from idemodel.scale.photos import make_batch

        asked = [each.asked for each in some if each.asked]
        future = self.cluster.submit(self.name, make_batch, self.job, asked) if asked else None
        return _Sent([replace(each, asked=None) for each in some], future)

    def _take(self, sent: _Sent, advance: Callable[[], None]) -> None:
        """Say what became of a batch's photos, then write their pictures."""
        read = list(zip(sent.photos, self._answers(sent), strict=True))
        for each, answer in read:
            if isinstance(answer, Exception):
                self.batch.fail(answer)
                advance()
            elif each.photo:
                for line in answer.heard:
                    tell_once(line.removeprefix(f"{each.photo.file}: "), line)
                self.intake.told(each.photo.file, answer.notes, answer.aligned)
        for each, answer in read:
            if not isinstance(answer, Exception) and each.photo:
                self._write(each.target, each.photo, answer)
                advance()

    def _answers(self, sent: _Sent) -> list[Answer | Exception]:
        """What became of each photo: an exception where it could not be read, or where its batch ended the workers."""
        from idemodel.scale.cluster import KilledError

        there = [each.photo for each in sent.photos if each.photo]
        try:
            made: list[Answer] = self.cluster.result(sent.future) if sent.future else []
            told = iter([answer if answer.read else InputError(answer.error) for answer in made])
        except KilledError as error:
            told = iter([InputError(f"{photo.file}: {error}") for photo in there])
        return [each.error or next(told) for each in sent.photos]

    def _write(self, target: Path, photo: Photo, answer: Answer) -> None:
        if answer.error:
            self.batch.fail(InputError(answer.error))
            return
        below = target.relative_to(self.batch.results.out)
        self.batch.take_in(target, photo, answer.pictures, [folder / below for folder in self.beside])


def _content(file: Path) -> tuple[Photo, bytes]:
    """A photo's file as it is now, and all that is in it."""
    regular_file(file, "an image", LARGEST)
    status, content = file.stat(), file.read_bytes()
    return Photo(file, hashlib.sha256(content).hexdigest(), len(content), status.st_mtime_ns), content
