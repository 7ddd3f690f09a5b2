"""A bank's shards searched by the workers that hold them: match and gather done on a cluster, the rest here.

Every file of a bank is a shard, and lies in the memory of one worker that can see it. A worker answers with the nearest
candidates of its shard; :func:`idekernels.merge` makes one list of them, and the workers send the patches of those that
are left. Equal, bit for bit, to the bank in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from idekernels import backends, merge, operations
from idekernels.arguments import on_device
from idekernels.backends.protocol import Backend
from idekernels.bank import JoinedBank, PatchBank
from idekernels.errors import InputError, in_short
from idekernels.grid import PatchGrid
from idekernels.results import Candidates, PreparedBank
from idemodel.scale.answers import answering, one_at_a_time
from idemodel.scale.cluster import Cluster, WorkerGoneError
from idemodel.scale.files import BankFiles
from idemodel.scale.jobs import Held, Holding, Kept

Array = NDArray[Any]

_TRIES = 4  # workers that may end while they search a shard
_HELD: Kept[Holding, Held] = Kept(64)  # shards of a worker


@dataclass(frozen=True)
class Search:
    """What :func:`idekernels.match` is told besides the photos and the bank."""

    patch: int
    overlap: int
    radius: int
    k: int


@answering
@one_at_a_time
def match_shard(shard: Holding, query: Array, search: Search, exclude: Array) -> Candidates:
    """The nearest candidates of a shard, images counted in it; lists end early where it has too few positions.

    query : (B, L, H, W) uint8. exclude : (B, X) int64, images of the shard, -1 for none.
    """
    prepared = _HELD.of(shard, shard.open).prepared
    grid = prepared.bank.grid(search.patch, search.overlap)
    found = operations.match(
        query, prepared, grid, radius=search.radius, k=search.k, exclude=exclude, partial=True
    ).host()
    return Candidates(found.image, found.row, found.column, found.distance)  # of no backend: that is the client's


@answering
@one_at_a_time
def gather_shard(shard: Holding, places: Array, patch: int) -> tuple[Array, Array]:
    """Patches at places (3, n) int32, image, row and column: (n, L, P, P) and (n, C, P, P) uint8, source and target."""
    prepared = _HELD.of(shard, shard.open).prepared
    image, row, column = places[:, None, :, None]
    found = operations.gather(Candidates(image, row, column, np.zeros(image.shape, np.uint32)), prepared, patch).host()
    return found.source[0, :, 0], found.target[0, :, 0]


def why_unseen(files: BankFiles) -> str:
    """Why a worker cannot read a shard, in one line; "" where it can. Quick: no planes are read."""
    try:
        files.open().close()
    except (InputError, OSError) as error:
        return " ".join(str(error).split())
    return ""


class Shards:
    """The shards of a bank and the workers that hold them; places each shard anew where its worker is gone."""

    def __init__(self, cluster: Cluster, bank: PatchBank, backend: str, memory: int | None) -> None:
        parts = bank.banks if isinstance(bank, JoinedBank) else (bank,)
        self.cluster, self.bank = cluster, bank
        self.starts = bank.starts if isinstance(bank, JoinedBank) else (0,)
        self.sizes = tuple(part.images for part in parts)
        self.held = tuple(Holding(files, backend, memory) for files in BankFiles.of(bank).shards)
        self.holders: dict[int, str] = {}
        self._place(range(len(self.held)))

    def on_each(self, name: str, work: Callable[..., Any], given: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """What ``work(shard, *given)`` gave for each of some shards, by number, all at the same time.

        Raises
        ------
        InputError
            A worker refuses, no worker can see a shard, or several ended one after the other.
        """
        found: dict[int, Any] = {}
        left = list(given)
        for _ in range(_TRIES):
            sent = [(number, *self._send(name, work, number, given[number])) for number in left]
            found |= {number: self._result(holder, future) for number, holder, future in sent}
            left = [number for number in left if found[number] is None]
            if not left:
                return found
            self._place(left)
        raise InputError(f"{self._path(left[0])}: {_TRIES} workers ended while they searched it; give them more memory")

    def _result(self, holder: str, future: Any) -> Any:
        """None where the shard's worker is gone."""
        try:
            return self.cluster.result(future, holder)
        except WorkerGoneError:
            return None

    def _send(self, name: str, work: Callable[..., Any], number: int, given: tuple[Any, ...]) -> tuple[str, Any]:
        holder = self.holders[number]
        return holder, self.cluster.submit(f"{name} shard", work, self.held[number], *given, worker=holder)

    def _place(self, numbers: Sequence[int]) -> None:
        """Give each of some shards, the largest first, to the worker with the fewest pairs that can see it."""
        seen = {number: self._seen(number) for number in numbers}
        held = dict.fromkeys(self.cluster.workers, 0)
        for number, holder in self.holders.items():
            if number not in seen and holder in held:
                held[holder] += self.sizes[number]
        for number in sorted(numbers, key=lambda number: -self.sizes[number]):
            able = [worker for worker in seen[number] if worker in held]
            if not able:
                raise InputError(f"{self._path(number)}: the worker that could see it is gone; start it again")
            self.holders[number] = min(able, key=held.__getitem__)
            held[self.holders[number]] += self.sizes[number]

    def _seen(self, number: int) -> list[str]:
        answers = self.cluster.on_all(why_unseen, self.held[number].files)
        seen = sorted(worker for worker, why in answers.items() if why == "")
        if not seen:
            told = [f"worker {worker}: {in_short(why)}" for worker, why in answers.items()]
            raise InputError(told[0] if told else f"{self.cluster.place}: the last worker is gone; start some")
        return seen

    def _path(self, number: int) -> str:
        return self.held[number].files.paths[0]


class ShardedBackend:
    """A backend whose bank lies on a cluster: it matches and gathers there, and does all else as ``inner`` does."""

    def __init__(self, inner: Backend, shards: Shards) -> None:
        self._inner, self._shards = inner, shards

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __str__(self) -> str:
        workers = len(set(self._shards.holders.values()))
        return f"{self._inner}, shards: {len(self._shards.held)}, on workers: {workers}"

    def side_by_side(self, prepared: Any) -> int:
        """One call at a time: each has all workers."""
        return 1 if prepared is self._shards else self._inner.side_by_side(prepared)

    def match(
        self, query: Array, prepared: Any, grid: PatchGrid, radius: int, k: int, exclude: Array
    ) -> tuple[Array, Array, Array, Array]:
        """See :meth:`idekernels.backends.protocol.Backend.match`."""
        if prepared is not self._shards:  # a bank in memory, such as the noise that compiles kernels
            return self._inner.match(query, prepared, grid, radius, k, exclude)
        shards, search = self._shards, Search(grid.patch, grid.overlap, radius, k)
        query = _host(query)
        given = {
            number: (query, search, _within(exclude, start, size))
            for number, (start, size) in enumerate(zip(shards.starts, shards.sizes, strict=True))
        }
        found = shards.on_each("match", match_shard, given)
        merged = merge([found[number] for number in given], shards.starts, k, partial=True)
        image, row, column = map(self._inner.upload, (merged.image, merged.row, merged.column))
        return image, row, column, self._inner.upload(merged.distance)

    def gather(self, places: tuple[Array, Array, Array], prepared: Any, patch: int) -> tuple[Array, Array]:
        """See :meth:`idekernels.backends.protocol.Backend.gather`."""
        if prepared is not self._shards:
            return self._inner.gather(places, prepared, patch)
        shape, shards, bank = places[0].shape, self._shards, self._shards.bank
        wanted = np.stack([_host(axis).ravel() for axis in places])
        shard = np.searchsorted(shards.starts, wanted[0], side="right") - 1
        wanted[0] -= np.asarray(shards.starts, np.int32)[shard]
        which = {int(number): np.flatnonzero(shard == number) for number in np.unique(shard)}
        given = {number: (wanted[:, some], patch) for number, some in which.items()}
        found = shards.on_each("gather", gather_shard, given)
        cut = [np.empty((shard.size, planes, patch, patch), np.uint8) for planes in (bank.planes, bank.channels)]
        for number, some in which.items():
            for side, patches in zip(cut, found[number], strict=True):
                side[some] = patches
        source, target = (self._inner.upload(side.reshape(*shape, *side.shape[1:])) for side in cut)
        return source, target


def sharded(cluster: Cluster, bank: PatchBank, backend: str = "auto", memory: int | None = None) -> PreparedBank:
    """A bank's files as shards on a cluster's workers, to be used wherever a prepared bank is.

    Every operation with it gives what it gives with the bank in one piece, bit for bit: a shard's worker matches and
    cuts patches, what follows is done here.

    Parameters
    ----------
    cluster : Cluster
        Connected, as long as the bank is used.
    bank : PatchBank
        One or several files, open: only what they say of themselves is read here.
    backend, memory : str, int, optional
        Of the workers, see :func:`idekernels.prepare`; ``backend`` is that of what is done here, too. ``memory`` bounds
        each shard.

    Raises
    ------
    InputError
        The bank is not made of files, no worker can see one of them, or the backend cannot run here.
    """
    shards = Shards(cluster, bank, backend, memory)
    return PreparedBank(bank, cast(Backend, ShardedBackend(backends.resolve(backend), shards)), shards)


def _within(exclude: Array, start: int, size: int) -> Array:
    """Images (B, X) of the whole bank as a shard counts them, -1 for those of others."""
    return np.where((exclude >= start) & (exclude < start + size), exclude - start, -1)


def _host(array: Any) -> Array:
    host: Array = array.get() if on_device(array) else array
    return host
