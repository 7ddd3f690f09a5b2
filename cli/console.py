"""What a person sees: the consoles, progress bars, and a mistake as one line."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from idekernels.errors import InputError, printable

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def progress(*more: ProgressColumn) -> Progress:
    """A progress bar on stderr that vanishes when done and stays silent where stderr is not a terminal.

    ``more`` columns follow the usual ones.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *more,
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextlib.contextmanager
def counted(title: str, total: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as the function of (done, all) that long work calls; ``total`` where it is known before."""
    with progress() as bar:
        task = bar.add_task(title, total=total)
        yield lambda done, count: bar.update(task, completed=done, total=count)


def say(text: str) -> None:
    """A result, on stdout, exactly as given."""
    out.print(_shown(text), markup=False)


def note(text: str) -> None:
    """What is going on, on stderr, exactly as given."""
    err.print(_shown(text), markup=False)


def complain(error: BaseException) -> None:
    """A user's mistake, on stderr, as one line."""
    err.print("Error: " + one_line(error), markup=False, style="red")


def one_line(error: BaseException) -> str:
    """The message of an error as one line that names the file and the remedy."""
    return printable(_line(error))


def _shown(text: str) -> str:
    """The text as it may reach a terminal: a file's name can hold anything."""
    return "\n".join(map(printable, text.split("\n")))


def _line(error: BaseException) -> str:
    if isinstance(error, InputError) or not isinstance(error, OSError):
        return " ".join(str(error).split()) or type(error).__name__
    where = f"{error.filename}: " if error.filename else ""
    remedy = {
        errno.ENOSPC: "the disk is full; free some space and run the command again",
        errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
        errno.EFBIG: "the file would be larger than this system allows",
        errno.EACCES: "permission denied; choose another folder or change its permissions",
        errno.EPERM: "not permitted; choose another folder or change its permissions",
        errno.EROFS: "the file system is read-only; choose another folder",
        errno.ENOENT: "no such file or folder",
        errno.ENOTDIR: "a file stands where a folder is needed",
        errno.EISDIR: "a folder stands where a file is needed",
        errno.EEXIST: "exists already",
    }.get(error.errno or 0)
    return where + (remedy or error.strerror or " ".join(str(error).split()))
