"""Face sketch recognition by null-space LDA, and the protocol that reports it; NumPy and SciPy only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from idekernels.errors import InputError
from idemodel.evaluation.tables import write_table
from idemodel.files.images import read_grey
from idemodel.files.pairs import images_by_stem
from idemodel.metrics.arguments import shape_text

SEED = 2022  # split i of any run is drawn from (SEED, i): more splits keep the first ones
GALLERY_FOLDERS = ("synth", "photo")  # the first that is there
PROBE_FOLDER = "sketch"

Progress = Callable[[int, int], None]  # done, of all


@dataclass(frozen=True)
class NullSpaceLDA:
    """The most discriminant null-space projection: Chen, Liao, Ko, Lin and Yu, Pattern Recognition 33, 2000.

    The samples are reduced to the range of their total scatter S_t (a PCA that loses nothing), there to the
    null space of the within-class scatter S_w, in which every class falls on one point, and there rotated and
    ordered by the between-class scatter S_b, largest first. In general position c classes give c - 1
    dimensions.

    ``mean`` (d,) and ``projection`` (d, m) float64 with orthonormal columns; ``between`` (m,) is what each
    dimension has of S_b, descending.
    """

    mean: NDArray[np.float64]
    projection: NDArray[np.float64]
    between: NDArray[np.float64]

    def transform(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project (n, d) samples to (n, m)."""
        projected: NDArray[np.float64] = (samples - self.mean) @ self.projection
        return projected


def fit_null_space_lda(samples: NDArray[np.float64], classes: NDArray[np.int64]) -> NullSpaceLDA:
    """Fit the projection.

    Parameters
    ----------
    samples
        (n, d) float64.
    classes
        (n,) integers, at least two different ones.

    Raises
    ------
    ValueError
        Shapes do not fit, there are fewer than two classes, values are not finite, or the null space is empty
        (as many samples as they have dimensions, or more: n - c >= d).
    """
    data, labels = np.asarray(samples, dtype=np.float64), np.asarray(classes)
    if data.ndim != 2 or labels.shape != data.shape[:1]:
        raise ValueError(f"samples are (n, d) and classes (n,), not {data.shape} and {labels.shape}")
    if not np.isfinite(data).all():
        raise ValueError("samples must be finite")
    names, member = np.unique(labels, return_inverse=True)
    if names.size < 2:
        raise ValueError(f"two classes are needed to tell apart, not {names.size}")
    mean = data.mean(axis=0)
    centred = data - mean
    range_of_total = _row_space(centred)  # (d, r)
    if range_of_total.shape[1] == 0:
        raise ValueError("all samples are equal: there is nothing to tell apart")
    reduced = centred @ range_of_total
    counts = np.bincount(member)
    means = np.stack([np.bincount(member, weights=column) for column in reduced.T], axis=1) / counts[:, None]
    null_of_within = _null_space(reduced - means[member])  # (r, q)
    if null_of_within.shape[1] == 0:
        raise ValueError(
            f"the within-class scatter has no null space: {data.shape[0]} samples of {names.size} classes in "
            f"{data.shape[1]} dimensions; take fewer samples, or larger images"
        )
    weighted = np.sqrt(counts)[:, None] * (means @ null_of_within)
    _, spread, directions = scipy.linalg.svd(weighted, full_matrices=False)
    kept = spread > _threshold(weighted.shape, float(spread[0]))
    projection = range_of_total @ null_of_within @ directions[kept].T
    return NullSpaceLDA(mean, projection, spread[kept] ** 2)


def rank_one(gallery: NDArray[np.float64], probes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank-1 rate by Euclidean distance in the first 1, 2, ..., m dimensions.

    Parameters
    ----------
    gallery, probes
        (p, m) float64; row i of both is person i.

    Returns
    -------
    (m,) float64 in [0, 1]: the share of probes that are nearer to their own gallery image than to every
    other. A tie is no recognition.
    """
    people = np.arange(gallery.shape[0])
    distance = np.zeros((people.size, people.size))
    rates = np.empty(gallery.shape[1])
    for dimension in range(gallery.shape[1]):
        distance += (probes[:, dimension, None] - gallery[None, :, dimension]) ** 2
        own = distance[people, people]
        others = np.where(np.eye(people.size, dtype=bool), np.inf, distance)
        rates[dimension] = np.mean(own < others.min(axis=1))
    return rates


@dataclass(frozen=True)
class People:
    """Images of people: the gallery (synthesised sketches, or photos) and the probes (artists' sketches).

    ``names`` has n entries; ``gallery`` and ``probes`` are (n, H W) uint8; ``size`` is (H, W); ``folders``
    are where they come from.
    """

    names: tuple[str, ...]
    gallery: NDArray[np.uint8]
    probes: NDArray[np.uint8]
    size: tuple[int, int]
    folders: tuple[Path, Path]


@dataclass(frozen=True)
class Recognition:
    """Rank-1 rates, (splits, m) float64 in [0, 1], column j for j + 1 dimensions; and how they came about."""

    rates: NDArray[np.float64]
    learned: int
    identified: int
    seed: int
    train: tuple[Path, Path]
    pairs: tuple[Path, Path]
    same_people: bool

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the splits, (m,)."""
        return self.rates.mean(axis=0)

    @property
    def std(self) -> NDArray[np.float64]:
        """Sample deviation over the splits, (m,); 0 for a single split."""
        return self.rates.std(axis=0, ddof=1) if self.rates.shape[0] > 1 else np.zeros(self.rates.shape[1])

    @property
    def best(self) -> int:
        """The number of dimensions with the highest mean rate, the smallest of equals."""
        return int(np.argmax(self.mean)) + 1


def read_people(place: str) -> People:
    """Read gallery and probe images of one size.

    Parameters
    ----------
    place
        A folder with ``sketch/`` (probes) and ``synth/`` or else ``photo/`` (gallery); or two folders,
        ``GALLERY:PROBES``, joined by the system's path separator (``;`` on Windows). Partners have equal
        stems.

    Raises
    ------
    InputError
        A folder is missing or empty, an image has no partner or another size, or cannot be read.
    """
    folders = _folders(place)
    gallery, probes = images_by_stem(folders[0]), images_by_stem(folders[1])
    alone = sorted(gallery.keys() ^ probes.keys())
    if alone:
        shown = ", ".join(alone[:8]) + (f" and {len(alone) - 8} more" if len(alone) > 8 else "")
        raise InputError(
            f"{folders[0]}: without a partner here or in {folders[1]}: {shown}; add the partner or remove the image"
        )
    if not gallery:
        raise InputError(f"{folders[0]}: no images")
    names = tuple(gallery)
    size = read_grey(gallery[names[0]]).shape
    return People(
        names=names,
        gallery=np.stack([_read(gallery[name], size) for name in names]),
        probes=np.stack([_read(probes[name], size) for name in names]),
        size=(size[0], size[1]),
        folders=folders,
    )


@dataclass(frozen=True)
class Protocol:
    """``splits`` random splits; ``learn`` people of TRAIN to learn from in each (none: half of them)."""

    splits: int = 20
    learn: int | None = None
    seed: int = SEED


def recognise(
    train: People, pairs: People, protocol: Protocol | None = None, progress: Progress | None = None
) -> Recognition:
    """Rank-1 recognition of probe sketches among gallery images, over random splits.

    In each split ``learn`` people are drawn from ``train``; null-space LDA learns from their two images each,
    a class a person. Where ``pairs`` is the same data as ``train``, the people who were not drawn are
    identified (the protocol of the CUFS literature: of 338 people 150 learn, 188 are identified, 20 times);
    otherwise all people of ``pairs``. Each probe is compared with every gallery image in the first 1, 2, ...,
    learn - 1 dimensions.

    Parameters
    ----------
    train, pairs
        Images of one size; ``train`` may be ``pairs``.
    protocol
        See :class:`Protocol`.
    progress
        Called with (done, all) after each split.

    Raises
    ------
    InputError
        Sizes differ, or there are too few people.
    """
    chosen = protocol or Protocol()
    same = train.folders == pairs.folders
    learn = chosen.learn if chosen.learn is not None else len(train.names) // 2
    identified = len(pairs.names) - (learn if same else 0)
    _refuse(train, pairs, chosen, learn, identified)
    learning, testing = _coordinates(train, pairs)
    rates = []
    for split in range(chosen.splits):
        order = np.random.default_rng((chosen.seed, split)).permutation(len(train.names))
        drawn = np.sort(order[:learn])
        tested = np.sort(order[learn:]) if same else np.arange(len(pairs.names))
        lda = fit_null_space_lda(np.concatenate(learning[:, drawn]), np.tile(drawn, 2))
        gallery, probes = (lda.transform(testing[side, tested]) for side in (0, 1))
        rates.append(rank_one(gallery, probes))
        if progress is not None:
            progress(split + 1, chosen.splits)
    common = min(len(row) for row in rates)
    return Recognition(
        rates=np.stack([row[:common] for row in rates]),
        learned=learn,
        identified=identified,
        seed=chosen.seed,
        train=train.folders,
        pairs=pairs.folders,
        same_people=same,
    )


def _refuse(train: People, pairs: People, protocol: Protocol, learn: int, identified: int) -> None:
    if train.size != pairs.size:
        first, second = (shape_text(people.size) for people in (train, pairs))
        raise InputError(
            f"{pairs.folders[0]}: images of {second}, but {train.folders[0]} has {first}; scale one of them"
        )
    if protocol.splits < 1:
        raise InputError(f"{protocol.splits} splits: at least one is needed")
    if not 2 <= learn <= len(train.names):
        raise InputError(
            f"{train.folders[0]}: {learn} of {len(train.names)} people to learn from; "
            f"at least 2 and at most {len(train.names)} can be"
        )
    if identified < 2:
        raise InputError(
            f"{pairs.folders[0]}: {identified} people are left to identify, at least 2 are needed; learn from fewer"
        )


def _coordinates(train: People, pairs: People) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sets, (2, n, r) each, in one orthonormal basis of all images: a rotation, so all distances stay.

    The coordinates are the triangle of a QR decomposition; the splits then work on r, not H W, numbers an
    image.
    """
    people = (train,) if train.folders == pairs.folders else (train, pairs)
    images = np.concatenate([half for each in people for half in (each.gallery, each.probes)]) / 255.0
    projected = np.asarray(np.linalg.qr(images.T, mode="r")).T
    count = len(train.names)
    learning = projected[: 2 * count].reshape(2, count, -1)
    return learning, projected[2 * count :].reshape(2, len(pairs.names), -1) if len(people) > 1 else learning


def _row_space(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis of the row space of (n, d), as (d, r) columns."""
    _, values, rows = scipy.linalg.svd(matrix, full_matrices=False)
    return rows[values > _threshold(matrix.shape, float(values[0]))].T


def _null_space(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis of the null space of (n, d), as (d, d - rank) columns."""
    _, values, rows = scipy.linalg.svd(matrix, full_matrices=True)
    rank = int(np.count_nonzero(values > _threshold(matrix.shape, float(values[0]))))
    return rows[rank:].T


def _threshold(shape: tuple[int, ...], largest: float) -> float:
    """Singular values up to this are rounding: NumPy's ``matrix_rank`` rule."""
    return max(shape) * float(np.finfo(np.float64).eps) * largest


def _folders(place: str) -> tuple[Path, Path]:
    if not Path(place).is_dir() and os.pathsep in place:
        gallery, _, probes = place.partition(os.pathsep)
        return Path(gallery), Path(probes)
    root = Path(place)
    for name in GALLERY_FOLDERS:
        if (root / name).is_dir():
            return root / name, root / PROBE_FOLDER
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    raise InputError(
        f"{root}: has neither {' nor '.join(name + '/' for name in GALLERY_FOLDERS)} beside {PROBE_FOLDER}/; "
        f"name the two folders as GALLERY{os.pathsep}PROBES"
    )


def _read(file: Path, size: tuple[int, ...]) -> NDArray[np.uint8]:
    image = read_grey(file)
    if image.shape != size:
        given, expected = (shape_text(shape) for shape in (image.shape, size))
        raise InputError(f"{file}: is {given} where the first image is {expected}; scale it to that size")
    return image.ravel()


def as_json(recognition: Recognition) -> dict[str, Any]:
    """The experiment as plain dictionaries and lists: rates by dimension, each split's, and the settings."""
    mean, std = recognition.mean, recognition.std

    def figures(dimension: int) -> dict[str, float]:
        return {"dimensions": dimension, "mean": float(mean[dimension - 1]), "std": float(std[dimension - 1])}

    return {
        "best": figures(recognition.best),
        "rank1": [figures(dimension) for dimension in range(1, mean.size + 1)],
        "splits": recognition.rates.tolist(),
        "settings": {
            "method": "null-space LDA, Euclidean nearest neighbour",
            "learned": recognition.learned,
            "identified": recognition.identified,
            "seed": recognition.seed,
            "train": [str(folder) for folder in recognition.train],
            "pairs": [str(folder) for folder in recognition.pairs],
            "same_people": recognition.same_people,
        },
    }


def write_csv(path: str | os.PathLike[str], recognition: Recognition) -> None:
    """Write one line for each number of dimensions: mean, deviation, and every split's rate."""
    header = ["dimensions", "mean", "std", *(f"split_{split + 1}" for split in range(len(recognition.rates)))]
    figures = np.column_stack([recognition.mean, recognition.std, recognition.rates.T])
    write_table(path, header, [[row + 1, *map(float, line)] for row, line in enumerate(figures)])
