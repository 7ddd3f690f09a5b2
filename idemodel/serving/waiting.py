"""The line of requests before the engine: taken in batches, in order; one that was given up is not computed."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from idemodel.serving.problems import ending


@dataclass(eq=False)
class Job:
    """Something to be computed for one request; ``future`` gets what came of it, for that request alone."""

    work: Any
    future: Future[Any] = field(default_factory=Future)
    given_up: bool = False

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.given_up = True
        self.future.cancel()

    def answer(self, made: Any) -> None:
        """Hand over what came of it, unless it has been answered already."""
        with suppress(InvalidStateError):
            self.future.set_result(made)

    def fail(self, error: Exception) -> None:
        """Hand over what went wrong, unless it has been answered already."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)

    def begin(self) -> bool:
        """Whether it is still wanted; from now on it gets a result."""
        return self.future.set_running_or_notify_cancel() and not self.given_up


class Line:
    """Jobs that wait for one engine.

    It does not bound itself: who has no place (:class:`idemodel.serving.gate.Places`) puts no job in.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._coming = 0
        self._closed = False

    def announce(self, more: int) -> None:
        """So many requests (or, below 0, so many fewer) are being received: it may be worth while to wait for them."""
        with self._changed:
            self._coming += more
            self._changed.notify_all()

    def put(self, job: Job) -> None:
        """Add one to the end.

        Raises
        ------
        Refused
            The engine has ended.
        """
        with self._changed:
            if self._closed:
                raise ending()
            self._jobs.append(job)
            self._changed.notify_all()

    def take(self, most: int, linger: float, answered: int = 0) -> list[Job]:
        """The next ones, at most so many.

        Waits for the first, and then ``linger`` seconds for those that are being received, and for as many as were
        just ``answered``, besides those that wait: their clients may ask again.

        Returns
        -------
        list of Job
            Empty once the line is closed.
        """
        with self._changed:
            expected = max(1, answered + len(self._jobs))
            self._changed.wait_for(lambda: self._jobs or self._closed)
            self._changed.wait_for(lambda: self._closed or self._are_enough(most, expected), linger)
            if self._closed:
                return []
            return [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]

    def _are_enough(self, most: int, expected: int) -> bool:
        here = len(self._jobs)
        return here >= most or (here >= expected and not self._coming)

    def close(self) -> None:
        """Refuse every job that waits and every further one."""
        with self._changed:
            self._closed = True
            waiting, self._jobs = list(self._jobs), deque()
            self._changed.notify_all()
        for job in waiting:
            if job.begin():
                job.fail(ending())
