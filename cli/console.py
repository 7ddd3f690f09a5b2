"""What a person sees: the consoles, progress bars, and a mistake as one line."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from idekernels.errors import InputError, printable

_APART = 10.0  # seconds between two plain lines of progress, at the least


class PlainInPipes(Console):
    """A console that sends no escape codes where there is no terminal, whatever FORCE_COLOR says."""

    @property
    def is_terminal(self) -> bool:
        """Whether the stream is a terminal."""
        return bool(getattr(self.file, "isatty", bool)()) and super().is_terminal


out = PlainInPipes(highlight=False, soft_wrap=True, emoji=False)  # a name with :x: in it is no emoji
err = PlainInPipes(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class Rate(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Task) -> Text:
        """As 3.2/s; nothing before there is a rate."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class Told(Progress):
    """Where the bar is not shown, a plain line now and then: 10 seconds and a tenth of the work apart, at the least.

    With the column :class:`Rate` the line has the rate since the beginning and the time left, too.
    """

    def __init__(self, *columns: ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, **options)
        self._last: dict[TaskID, tuple[float, float]] = {}  # when a line was told, or the work began; how much was done
        self._begun: dict[TaskID, float] = {}
        self._rated = any(isinstance(column, Rate) for column in columns)

    def add_task(self, *given: Any, **more: Any) -> TaskID:
        """As rich's."""
        task = super().add_task(*given, **more)
        self._begun[task] = time.monotonic()
        self._last[task] = (self._begun[task], 0.0)
        return task

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As rich's."""
        super().update(task_id, **changes)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As rich's."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        if not self.disable:
            return
        task, now = self._tasks[task_id], time.monotonic()
        when, done = self._last[task_id]
        if now - when >= _APART and task.completed > done and task.completed - done >= (task.total or 0) / 10:
            self._last[task_id] = (now, task.completed)
            text = f"{task.description}: {task.completed:.0f}" + (f" of {task.total:.0f}" if task.total else "")
            note(text + (_rate(task, now - self._begun[task_id]) if self._rated else ""))


def _rate(task: Task, seconds: float) -> str:
    """How fast a task went since it began, so many seconds ago, and how long the rest takes at that."""
    rate = task.completed / seconds
    left = f", {timedelta(seconds=round((task.total - task.completed) / rate))} left" if task.total else ""
    return f", {rate:.2f}/s{left}"


def progress(*more: ProgressColumn) -> Progress:
    """A progress bar on stderr that vanishes when done; where stderr is no terminal, a plain line now and then.

    ``more`` columns follow the usual ones.
    """
    return Told(
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
    """What is going on, on stderr, exactly as given; nothing where nobody can be told, as after a hangup."""
    with contextlib.suppress(OSError):
        err.print(_shown(text), markup=False)


def escape_what_cannot_be_encoded() -> None:
    """Let no legacy code page make an error of a name it does not have: such letters are written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
