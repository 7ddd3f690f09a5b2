"""A batch of photos on a worker: their files' bytes in, PNG files' bytes out, and what is to be said of each.

The client alone reads photos and writes pictures, so that workers need neither the photos' folder nor the results'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from idekernels.errors import InputError
from idekernels.files.notices import heard
from idemodel.files.images import encode_image
from idemodel.preparation import PreparedPhoto
from idemodel.scale.answers import answering, in_short_line, one_at_a_time
from idemodel.scale.jobs import Bench, Job, Pictures, bench_of


@dataclass(frozen=True)
class Asked:
    """A photo that a picture is wanted of.

    name : what messages call it. content : its file. barred : the bank's pair that it must not use, -1 for none.
    refused : why it cannot be used though it can be read, if so.
    """

    name: str
    content: bytes = field(repr=False)
    barred: int = -1
    refused: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of a photo.

    read : whether it could be read, and used. notes : what was done to it. heard : what its reader was told, see
    :mod:`idekernels.files.notices`. aligned : whether it was moved. pictures : PNG files, its result first; none where
    there is an ``error``, a line.
    """

    read: bool = False
    notes: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    aligned: bool = False
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    error: str = ""


@dataclass(frozen=True)
class Ready:
    """A worker that has a job's bench: its backend, and how many photos it takes at once."""

    backend: str
    at_once: int


@answering
@one_at_a_time
def get_ready(job: Job) -> Ready:
    """Have a job ready, which takes as long as its bank is large."""
    bench = bench_of(job)
    return Ready(bench.backend, bench.at_once)


@answering
@one_at_a_time
def make_batch(job: Job, asked: Sequence[Asked]) -> list[Answer]:
    """Make the pictures of a batch: an Answer to each, in order."""
    bench = bench_of(job)
    read = [_read(bench, each) for each in asked]
    there = [(photo, each.barred) for each, (_, photo) in zip(asked, read, strict=True) if photo is not None]
    made = iter(bench.make(*zip(*there, strict=True)) if there else ())
    return [answer if photo is None else _with(answer, next(made)) for answer, photo in read]


def _read(bench: Bench, asked: Asked) -> tuple[Answer, PreparedPhoto | None]:
    with heard() as lines:
        try:
            photo = bench.preparer.prepare(asked.content, name=asked.name)
            if asked.refused:
                raise InputError(asked.refused)
        except InputError as error:
            return Answer(heard=tuple(lines), error=in_short_line(error)), None
    return Answer(True, photo.notes, tuple(lines), photo.move is not None), photo


def _with(answer: Answer, pictures: Pictures | InputError) -> Answer:
    if isinstance(pictures, InputError):
        return replace(answer, error=in_short_line(pictures))
    return replace(answer, pictures=tuple(map(encode_image, pictures)))
