"""Peers of ``match``: other libraries find the same K nearest patches of the same windows; compares distances only."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from benchmarks.contest import Contest, Peer
from benchmarks.timing import Run

_AT_ONCE = 8  # images that torch and NumPy shift at a time: faster than 4, 16 or all; sums beat pooling, convolution
BAND, NARROW = 75, 55  # image rows of the smaller works: prebuilt patches take 4 to 8 MB a node


@dataclass(frozen=True)
class Matching:
    """Photos of a bank (n, H, W) and one query (H, W), uint8, one plane; peers need a grid without clamped anchors."""

    bank: NDArray[np.uint8]
    query: NDArray[np.uint8]
    radius: int
    k: int
    patch: int
    overlap: int

    @property
    def grid(self) -> ide.PatchGrid:
        return ide.PatchGrid(*self.query.shape, self.patch, self.overlap)

    def rows(self, count: int) -> Matching:
        """The same on ``count`` rows from the images' middle."""
        top = (self.query.shape[0] - count) // 2
        bank, query = self.bank[:, top : top + count], self.query[top : top + count]
        return Matching(np.ascontiguousarray(bank), query, self.radius, self.k, self.patch, self.overlap)


def contests(whole: Matching, yardstick: Path | None = None) -> Iterator[Contest]:
    """Matching by every peer: of a whole photo, or of as much of it as a peer's prebuilt patches leave room for."""
    given = () if yardstick is None else (Peer("yardstick", "numba", partial(_yardstick, yardstick), "images inner"),)
    yield _contest("match, whole photo", whole, (*WHOLE, *given))
    yield _contest(f"match, {BAND} rows", whole.rows(BAND), BANDED)
    yield _contest(f"match, {NARROW} rows", whole.rows(NARROW), SLOW)


def _contest(title: str, work: Matching, peers: tuple[Peer, ...]) -> Contest:
    settings = ide.BankSettings(work.patch, work.overlap, work.radius)
    names = [str(number) for number in range(len(work.bank))]
    bank = ide.prepare(ide.MemoryBank(work.bank[:, None], work.bank[:, None], names, settings))
    query, grid = work.query[None, None], work.grid

    def ours() -> Any:
        return ide.match(query, bank, grid, k=work.k).distance[0]

    return Contest(f"{title}, {grid.nodes} nodes", work, ours, peers, _wrong, "distances that differ", 0.0)


def _wrong(ours: Any, theirs: Any) -> float:
    """How many of the K distances of all nodes differ from ours, which are exact integers."""
    return float(np.count_nonzero(np.rint(np.asarray(theirs, np.float64)).reshape(ours.shape) != ours))


def _patches(work: Matching, dtype: type) -> Iterator[NDArray[Any]]:
    """Every node's patches within its window, (positions, P^2)."""
    last, size = np.array(work.query.shape) - work.patch, work.patch
    for anchor in work.grid.anchors:
        (top, left), (bottom, right) = np.maximum(anchor - work.radius, 0), np.minimum(anchor + work.radius, last)
        window = work.bank[:, top : bottom + size, left : right + size]
        views = np.lib.stride_tricks.sliding_window_view(window, (size, size), axis=(1, 2))
        yield views.reshape(-1, size * size).astype(dtype)


def _queries(work: Matching, dtype: type) -> NDArray[Any]:
    """Every node's own patch, (N, 1, P^2)."""
    cut = [work.query[y : y + work.patch, x : x + work.patch] for y, x in work.grid.anchors]
    return np.stack(cut).reshape(len(cut), 1, -1).astype(dtype)


def _in_threads(task: Callable[[int], Any], count: int) -> list[Any]:
    """task(0) .. task(count - 1) on as many threads as our kernels use; each library is told to use one itself."""
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        parts = np.array_split(np.arange(count), numba.get_num_threads())
        found = pool.map(lambda part: [task(int(number)) for number in part], parts)
        return [one for part in found for one in part]


def _node_by_node(search: Callable[[int], Any], nodes: int) -> Run:
    """One search a node."""
    return lambda: np.array(_in_threads(search, nodes))


def _faiss(work: Matching) -> Run:
    import faiss

    faiss.omp_set_num_threads(1)
    indexes, queries = [], _queries(work, np.float32)
    for patches in _patches(work, np.float32):
        indexes.append(faiss.IndexFlatL2(patches.shape[1]))
        indexes[-1].add(patches)
    return _node_by_node(lambda node: indexes[node].search(queries[node], work.k)[0][0], len(indexes))


def _torch_products(work: Matching) -> Run:
    import torch

    torch.set_num_threads(1)
    patches = [torch.from_numpy(each) for each in _patches(work, np.float32)]
    norms = [(each**2).sum(1) for each in patches]
    queries = torch.from_numpy(_queries(work, np.float32))

    def search(node: int) -> Any:
        with torch.inference_mode():
            mine = queries[node, 0]  # integers below 2^24, so float32 is exact
            distance = norms[node] - 2.0 * (patches[node] @ mine) + mine @ mine
            return distance.topk(work.k, largest=False).values.numpy()

    return _node_by_node(search, len(patches))


def _torch_shifts(work: Matching) -> Run:
    """Squared differences of whole images, one shift after the other, summed to cells, cells to patches."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    bank = functional.pad(torch.from_numpy(work.bank.astype(np.float32)), [work.radius] * 4)
    query = torch.from_numpy(work.query.astype(np.float32))
    outside = torch.from_numpy(~_inside(work)).flatten(2).permute(2, 0, 1)

    def run() -> NDArray[Any]:
        found = torch.empty(*outside.shape, len(bank))

        def measure(turn: int) -> None:
            images = slice(turn * _AT_ONCE, (turn + 1) * _AT_ONCE)
            with torch.inference_mode():
                squares = torch.empty(len(bank[images]), *query.shape)
                for y, x in np.ndindex(*outside.shape[1:]):
                    torch.sub(bank[images, y : y + query.shape[0], x : x + query.shape[1]], query, out=squares)
                    found[:, y, x, images] = _patch_sums(squares.square_(), work).flatten(1).T

        _in_threads(measure, -(-len(bank) // _AT_ONCE))
        found[outside] = torch.inf
        flat = found.flatten(1)
        runs = _in_threads(lambda node: flat[node].topk(work.k, largest=False).values.numpy(), len(flat))
        return np.array(runs)

    return run


def _numpy(work: Matching) -> Run:
    """The same in NumPy with 32-bit integers."""
    bank = np.pad(work.bank.astype(np.int32), ((0, 0), (work.radius,) * 2, (work.radius,) * 2))
    query = work.query.astype(np.int32)
    outside = np.moveaxis(~_inside(work).reshape(2 * work.radius + 1, 2 * work.radius + 1, -1), 2, 0)

    def run() -> NDArray[Any]:
        found = np.empty((*outside.shape, len(bank)), np.int32)

        def measure(turn: int) -> None:
            images = slice(turn * _AT_ONCE, (turn + 1) * _AT_ONCE)
            for y, x in np.ndindex(*outside.shape[1:]):
                squares = bank[images, y : y + query.shape[0], x : x + query.shape[1]] - query
                squares *= squares
                found[:, y, x, images] = _patch_sums(squares, work).reshape(len(squares), -1).T

        _in_threads(measure, -(-len(bank) // _AT_ONCE))
        found[outside] = np.iinfo(np.int32).max
        flat = found.reshape(len(found), -1)
        return np.array(_in_threads(lambda node: np.sort(np.partition(flat[node], work.k)[: work.k]), len(flat)))

    return run


def _patch_sums(squares: Any, work: Matching) -> Any:
    """Sums over all patches of (n, H, W) arrays or tensors, by way of the cells that patches share."""
    step, (rows, columns) = work.patch - work.overlap, work.grid.shape
    images, height, width = squares.shape
    cells = squares.reshape(images, height // step, step, width).sum(2)
    cells = cells.reshape(images, height // step, width // step, step).sum(3)
    places = np.ndindex(work.patch // step, work.patch // step)
    return sum(cells[:, y : y + rows, x : x + columns] for y, x in places)


def _inside(work: Matching) -> NDArray[np.bool_]:
    """Whether a node's patch, shifted, stays in the image: (2 radius + 1, 2 radius + 1, R, C)."""
    shifts = np.arange(-work.radius, work.radius + 1)
    fits = []
    for anchors, length in zip((work.grid.rows, work.grid.columns), work.query.shape, strict=True):
        moved = anchors + shifts[:, None]
        fits.append((moved >= 0) & (moved <= length - work.patch))
    return fits[0][:, None, :, None] & fits[1][None, :, None, :]


def _scipy(work: Matching) -> Run:
    from scipy.spatial import cKDTree

    trees = [cKDTree(patches) for patches in _patches(work, np.float64)]
    queries = _queries(work, np.float64)
    return _node_by_node(lambda node: trees[node].query(queries[node, 0], work.k)[0] ** 2, len(trees))


def _sklearn(work: Matching) -> Run:
    from sklearn.neighbors import NearestNeighbors

    kind = {"algorithm": "brute", "metric": "sqeuclidean"}
    found = [NearestNeighbors(n_neighbors=work.k, **kind).fit(patches) for patches in _patches(work, np.float64)]
    queries = _queries(work, np.float64)
    return _node_by_node(lambda node: found[node].kneighbors(queries[node])[0][0], len(found))


def _yardstick(path: Path, work: Matching) -> Run:
    """A float32 kernel ``block(bank (H, W, n), query, chunks)``, for patch 10, overlap 5, radius 5, K 10."""
    spec = importlib.util.spec_from_file_location("yardstick", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bank = np.ascontiguousarray(work.bank.transpose(1, 2, 0), np.float32)
    query = work.query.astype(np.float32)
    return lambda: module.block(bank, query, 4 * numba.get_num_threads())[0]


WHOLE = (
    Peer("torch, shifts summed", "torch", _torch_shifts, "images as padded float32"),
    Peer("NumPy, shifts summed", "numpy", _numpy, "images as padded int32", most=3),
)
BANDED = (
    Peer("faiss IndexFlatL2 a node", "faiss-cpu", _faiss, "an index of each window's patches"),
    Peer("torch, products a node", "torch", _torch_products, "each window's patches and their norms"),
)
SLOW = (
    Peer("SciPy cKDTree a node", "scipy", _scipy, "a tree of each window's patches", most=5),
    Peer("scikit-learn brute a node", "scikit-learn", _sklearn, "each window's patches", most=5),
)
