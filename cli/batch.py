"""Many images through one function: what is there is skipped, what fails is reported, the rest goes on.

The one owner of which input becomes which output: nothing is written over an input, and a clash costs one image.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic

import click
import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idemodel.apart import Apart
from idemodel.files.images import write_image
from idemodel.files.journal import Journal, Making, Photo
from idemodel.files.listing import ImageFolder, list_images
from idemodel.files.outputs import Inputs, is_whole, lies_within, make_folder, same_file
from idemodel.reading import Reading

from .ahead import Coming, ahead
from .behind import Behind
from .console import complain, note, progress
from .readers import Portions, Read, Readers

BANK_SUFFIXES = (".h5", ".hdf5")

_SHOWN = 5  # names of results that were made otherwise
_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR)  # errors of writing that the name causes

Image = NDArray[np.uint8]
Made = Image | InputError | Callable[[], Image | InputError]  # a picture, why there is none, or what makes one of them


@dataclass(frozen=True)
class Results:
    """Where the pictures of a call go and how they are made.

    ``name`` is a picture's, of its photo's stem; ``beside`` are folders in ``out`` that the command writes as well.
    """

    out: Path
    making: Making
    overwrite: bool = False
    name: str = "{stem}.png"
    beside: tuple[str, ...] = ()


@dataclass
class Batch:
    """The images of one call: what is to be done (target path -> image path) and how it went."""

    results: Results
    todo: dict[Path, Path] = field(default_factory=dict)
    inputs: Inputs = field(default_factory=Inputs)
    skipped: int = 0
    otherwise: list[Path] = field(default_factory=list)
    made: int = 0
    failed: int = 0
    _journals: dict[Path, Journal] = field(default_factory=dict)
    _photos: dict[Path, Photo] = field(default_factory=dict)  # of the targets that are being made

    @classmethod
    def find(
        cls, given: Iterable[Path], results: Results, recursive: bool = False, others: Iterable[Path] = ()
    ) -> Batch:
        """Expand folders, drop what is done, report clashes, what is missing, and what may not be written.

        A result keeps the folder below the one that was given. Of two images whose results would have one name
        (capitals aside), the second is refused; so is an image whose result would be written over an input, ``others``
        (files that the command reads besides) included.
        """
        batch = cls(results)
        images = list(batch._expand(given, recursive))
        batch.inputs = Inputs((*(image for image, _ in images), *others))
        seen: dict[tuple[str, str], Path] = {}
        for image, below in images:
            try:
                batch._place(image, results.out / below / results.name.format(stem=image.stem), seen)
            except (InputError, OSError) as error:  # noqa: PERF203 - a bad image is reported and the rest goes on
                batch.fail(error)
        if batch.otherwise:
            names = ", ".join(str(path.relative_to(results.out)) for path in batch.otherwise[:_SHOWN])
            more = f" and {len(batch.otherwise) - _SHOWN} more" if len(batch.otherwise) > _SHOWN else ""
            note(f"made with other settings or of another photo; --overwrite makes them anew: {names}{more}")
        return batch

    def fail(self, error: BaseException) -> None:
        """Report one image that cannot be used."""
        self.failed += 1
        complain(error)

    def run(
        self,
        title: str,
        at_once: int | Callable[[], Portions],
        read: Callable[[Path], Read],
        make: Callable[[Sequence[Path], Sequence[Read]], Iterable[Made]],
        readers: Readers[Read] | None = None,
    ) -> None:
        """Read every image, make ``at_once`` pictures of (targets, what was read) together, write them.

        ``make`` may leave the work to threads of its own and give what waits for it; it is called again meanwhile.

        A bad image (InputError, OSError while reading, an InputError in place of its picture, a name that cannot be
        written) is reported; any other error of writing ends the batch. With ``readers``, threads read images and
        write pictures while others are made; what is said and counted keeps the images' order. At most
        ``(3 + calls) at_once + 2 readers`` of what was read and ``(2 + calls) at_once`` pictures are held, ``calls``
        being 1 where nothing else is said; of large images (:mod:`idemodel.files.large`) few are read at the same time.
        Where ``at_once`` is a function, it is asked after ``readers.meanwhile``.
        """
        with self._being_read(read, readers) as coming:
            if readers:
                readers.meanwhile()
            make_folder(self.results.out)
            portions = at_once() if callable(at_once) else Portions(at_once)
            if readers:
                coming.deepen(portions.most + readers.count)
            writers, held = (readers.writers if readers else 0), (1 + portions.calls) * portions.most
            with progress() as bar, Behind(writers, held) as behind:
                task = bar.add_task(title, total=len(self.todo))
                run = _Run(self, behind, partial(bar.advance, task), make, readers.tell if readers else None)
                for number, (target, (image, result)) in enumerate(zip(self.todo, coming, strict=True), 1):
                    run.take(target, image, result)
                    waiting, later = len(run.waiting), len(self.todo) - number
                    if later == 0 or waiting >= portions.size(waiting + later):
                        run.make_waiting()

    @contextmanager
    def _being_read(
        self, read: Callable[[Path], Read], readers: Readers[Read] | None
    ) -> Iterator[Coming[Path, tuple[Photo, Read]]]:
        """The images that are to be done, read ahead; processes, where there are such, have begun before."""
        reading: Callable[[Path], tuple[Photo, Read]] = Reading(read)
        with ExitStack() as until_read:
            if readers and readers.processes:
                reading = until_read.enter_context(Apart(reading, readers.processes))
            count, depth = (readers.count, 2 * readers.count) if readers else (1, 1)
            yield until_read.enter_context(ahead(reading, self.todo.values(), count, depth))

    def write_beside(self, path: Path, picture: Image, target: Path) -> None:
        """Write a further picture of the photo whose result goes to ``target``; any thread may.

        Raises
        ------
        InputError
            It would be written over an input.
        """
        if path in self.inputs:
            raise InputError(f"{path}: is an input and would be written over; choose another folder with -o")
        make_folder(path.parent)
        write_image(path, picture)
        self._journal(path.parent).add(path, self._photos[target], self.results.making)

    def take_in(self, target: Path, photo: Photo, pictures: Sequence[bytes], beside: Sequence[Path] = ()) -> None:
        """Write a photo's pictures that were made elsewhere: PNG files, the first to ``target``, others to ``beside``.

        What goes wrong with this photo's files alone is reported; any other error of writing is raised, as by
        :meth:`run`.
        """
        try:
            for path, content in zip((*beside, target), (*pictures[1:], pictures[0]), strict=True):
                if path in self.inputs:
                    raise InputError(f"{path}: is an input and would be written over; choose another folder with -o")
                make_folder(path.parent)
                with replace_when_done(path) as partial:
                    partial.write_bytes(content)
                self._journal(path.parent).add(path, photo, self.results.making)
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _OF_ONE_NAME:
                raise
            self.fail(error)
            return
        self.made += 1

    def summary(self, out: Path) -> str:
        """How it went, in one line."""
        other = f", {len(self.otherwise)} there but made otherwise" if self.otherwise else ""
        return f"{out}: {self.made} made, {self.skipped} there already, {self.failed} failed{other}"

    @property
    def exit_code(self) -> int:
        """1 where something failed."""
        return 1 if self.failed else 0

    def begin(self, target: Path, photo: Photo) -> None:
        """The picture that goes to ``target`` is about to be made, of this photo."""
        self._photos[target] = photo

    def write(self, target: Path, made: Made) -> Exception | None:
        """Write one picture and note how it was made; any thread may. Why there is none where that costs it alone."""
        picture = made() if callable(made) else made
        if isinstance(picture, InputError):
            return picture
        try:
            make_folder(target.parent)
            write_image(target, picture)
        except OSError as error:
            if error.errno not in _OF_ONE_NAME:
                raise
            return error
        self._journal(target.parent).add(target, self._photos[target], self.results.making)
        return None

    def finish(self, target: Path, error: Exception | None) -> None:
        """Count a picture that was written, or report it."""
        del self._photos[target]
        if error is None:
            self.made += 1
        else:
            self.fail(error)

    def _place(self, image: Path, target: Path, seen: dict[tuple[str, str], Path]) -> None:
        """Decide what becomes of an image: to be done, done already, or refused."""
        first = seen.setdefault(self.inputs.name(target), image)
        if first is not image:
            raise InputError(
                f"{image}: would be written to the same {target.name} as {first}; rename one, or give it another folder"
            )
        if target in self.inputs:
            raise InputError(
                f"{image}: its result {target} would be written over an input; choose another folder with -o"
            )
        if target.is_dir():
            raise InputError(f"{image}: a folder stands where its result goes, {target}")
        if self.results.overwrite or not target.exists() or not is_whole(target):
            self.todo[target] = image
        elif self._is_of(target, image):
            self.skipped += 1
        else:
            self.otherwise.append(target)

    def _is_of(self, target: Path, image: Path) -> bool:
        """Whether a picture that is there was made of this image as it would be now, as far as is known."""
        journal, making = self._journal(target.parent), self.results.making
        entry = journal.of(target.name)
        if entry is None:
            return True
        same = (entry.command, entry.how) == (making.command, making.how) and journal.same_photo(entry, image)
        return same or not journal.is_result(target)  # a file that somebody put there since is nobody's result

    def _journal(self, folder: Path) -> Journal:
        return self._journals.setdefault(folder, Journal(folder))

    def _expand(self, given: Iterable[Path], recursive: bool) -> Iterator[tuple[Path, Path]]:
        """The images, each with the folder it is in below the one that was given."""
        for path in given:
            try:
                if path.is_dir():
                    listed = list_images(path, recursive=recursive, skip=partial(self._own, listed=True))
                    if not listed.images:
                        self.fail(InputError(f"{path}: holds no images"))
                elif path.exists():
                    reason = self._own(path)
                    listed = ImageFolder(
                        path.parent, () if reason else (path,), ((path.name, reason),) if reason else ()
                    )
                else:
                    raise InputError(f"{path}: no such file or folder")
            except (InputError, OSError) as error:
                self.fail(error)
                continue
            if line := listed.told("--recursive searches them"):
                note(line)
            root = path if path.is_dir() else path.parent
            yield from ((image, image.parent.relative_to(root)) for image in listed.images)

    def _own(self, path: Path, listed: bool = False) -> str | None:
        """Why a path is no input: this command made it, in the folder of the results or beside its photo.

        In a folder that is ``listed``, what any command made beside its photo is none. Folders of results are left out
        in silence. What a command made elsewhere may be its input: with a bank of the other direction, say.
        """
        out = self.results.out
        if path.is_dir():
            beside = path.name in self.results.beside and same_file(path.parent, out)
            return "" if beside or same_file(path, out) else None
        entry = self._journal(path.parent).of(path.name)
        if entry is None:
            return None
        beside_photo = entry.in_place and listed
        ours = entry.command == self.results.making.command and (entry.in_place or lies_within(path.parent, out))
        if not (beside_photo or ours):
            return None
        return f"made by idesketch {entry.command}" if self._journal(path.parent).is_result(path) else None


@dataclass
class _Run(Generic[Read]):
    """What is under way of a batch: images that were read and wait to be made into pictures together."""

    batch: Batch
    behind: Behind
    advance: Callable[[], None]
    make: Callable[[Sequence[Path], Sequence[Read]], Iterable[Made]]
    tell: Callable[[Path, Read], None] | None
    waiting: list[tuple[Path, Read]] = field(default_factory=list)

    def take(self, target: Path, image: Path, result: Future[tuple[Photo, Read]]) -> None:
        """Add an image that was read to those that wait, or have said why it cannot be used."""
        try:
            photo, content = result.result()
        except (InputError, OSError) as error:
            self.behind.say(partial(self._refuse, error))
            return
        if self.tell is not None:
            self.behind.say(partial(self.tell, image, content))
        self.batch.begin(target, photo)
        self.waiting.append((target, content))

    def make_waiting(self) -> None:
        """Make the pictures of those that wait, if any, and have them written."""
        if not self.waiting:
            return
        targets, contents = zip(*self.waiting, strict=True)
        self.waiting.clear()
        for target, made in zip(targets, self.make(targets, contents), strict=True):
            self.behind.hand_over(partial(self.batch.write, target, made), partial(self._finish, target))

    def _refuse(self, error: Exception) -> None:
        self.batch.fail(error)
        self.advance()

    def _finish(self, target: Path, error: Exception | None) -> None:
        self.batch.finish(target, error)
        self.advance()


def split_banks(inputs: Sequence[Path], others: int, usage: str) -> tuple[list[Path], list[Path]]:
    """The first argument, and those after it that end in .h5, are banks; at least ``others`` further ones follow."""
    last = 1
    while last < len(inputs) and inputs[last].suffix.lower() in BANK_SUFFIXES:
        last += 1
    if len(inputs) - last < others:
        raise click.UsageError(usage)
    return list(inputs[:last]), list(inputs[last:])
