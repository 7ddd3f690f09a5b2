"""A contest: one piece of work, ours and its peers on it in turns, every result compared. Knows no kernel, no peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.machine import NOT_INSTALLED, installed
from benchmarks.timing import Run, quartiles, seconds


@dataclass(frozen=True)
class Peer:
    """Another way to do the same work.

    Parameters
    ----------
    name : str
    package : str
        The distribution that it needs.
    prepare : callable
        Work -> run: does what is not timed (``untimed`` says what), returns what is; the run's result is compared.
    untimed : str
    most : int
        Rounds at most, for the very slow.
    """

    name: str
    package: str
    prepare: Callable[[Any], Run]
    untimed: str
    most: int = 1000


@dataclass(frozen=True)
class Contest:
    """The work, our run on it, the peers, and how far a peer's result may be from ours.

    ``apart`` measures two results: 0 for equal, otherwise in the units that ``measure`` names, with the peer's better
    result negative; ``tolerance`` bounds it. ``expected`` makes the result to compare with where it is not ours.
    """

    title: str
    work: Any
    ours: Run
    peers: Sequence[Peer]
    apart: Callable[[Any, Any], float]
    measure: str
    tolerance: float
    expected: Run | None = None


@dataclass(frozen=True)
class Outcome:
    """How one peer did; times in milliseconds, each a first quartile, median, third quartile."""

    contest: str
    peer: str
    version: str
    untimed: str = ""
    rounds: int = 0
    ours_ms: tuple[float, float, float] | None = None
    peer_ms: tuple[float, float, float] | None = None
    ratio: tuple[float, float, float] | None = None  # peer / ours, round by round
    apart: float | None = None
    measure: str = ""
    agrees: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def hold(contest: Contest, repeat: int) -> list[Outcome]:
    """Time ours and all peers that are installed, round by round, each called once before."""
    expected = contest.ours()  # compiles, too
    if contest.expected:
        expected = contest.expected()
    runs, apart = {}, {}
    for peer in contest.peers:
        if installed(peer.package) != NOT_INSTALLED:
            runs[peer.name] = peer.prepare(contest.work)
            apart[peer.name] = contest.apart(expected, runs[peer.name]())
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeat):
        ours.append(seconds(contest.ours))
        for peer in contest.peers:
            if peer.name in runs and turn < peer.most:
                theirs[peer.name].append(seconds(runs[peer.name]))
    return [_outcome(contest, peer, ours, theirs.get(peer.name), apart.get(peer.name)) for peer in contest.peers]


def _outcome(
    contest: Contest, peer: Peer, ours: list[float], theirs: list[float] | None, apart: float | None
) -> Outcome:
    if theirs is None or apart is None:
        return Outcome(contest.title, peer.name, NOT_INSTALLED)
    ratios = [their / our for our, their in zip(ours, theirs, strict=False)]
    return Outcome(
        contest.title,
        peer.name,
        installed(peer.package),
        peer.untimed,
        len(theirs),
        _milliseconds(ours),
        _milliseconds(theirs),
        quartiles(ratios),
        apart,
        contest.measure,
        bool(np.isfinite(apart) and apart <= contest.tolerance),
    )


def _milliseconds(values: list[float]) -> tuple[float, float, float]:
    first, median, third = quartiles(values)
    return 1e3 * first, 1e3 * median, 1e3 * third
