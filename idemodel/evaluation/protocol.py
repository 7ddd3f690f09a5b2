"""The protocol of sketch recognition: random splits, who is learned from or identified, rank-1 rates; reads no file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idemodel.evaluation.lda import fit_null_space_lda
from idemodel.evaluation.people import People
from idemodel.evaluation.workers import Progress
from idemodel.files.shapes import shape_text

SEED = 2022  # split i of any run is drawn from (SEED, i): more splits keep the first ones


@dataclass(frozen=True)
class Protocol:
    """``splits`` random splits; ``learn`` people of TRAIN to learn from in each (none: half of them)."""

    splits: int = 20
    learn: int | None = None
    seed: int = SEED


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
    learn, identified = _checked_counts(train, pairs, chosen)
    learning, testing = _coordinates(train, pairs)
    rates = []
    for drawn, others in _draws(chosen, learn, len(train.names)):
        tested = others if same else np.arange(len(pairs.names))
        lda = fit_null_space_lda(np.concatenate(learning[:, drawn]), np.tile(drawn, 2))
        gallery, probes = (lda.transform(testing[side, tested]) for side in (0, 1))
        rates.append(rank_one(gallery, probes))
        if progress is not None:
            progress(len(rates), chosen.splits)
    common = min(map(len, rates))  # dimensions that every split has
    table = np.stack([row[:common] for row in rates])
    return Recognition(table, learn, identified, chosen.seed, train.folders, pairs.folders, same_people=same)


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


def _draws(protocol: Protocol, learn: int, people: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield every split's ascending numbers of the people that are learned from, (learn,), and of all others."""
    for split in range(protocol.splits):
        order = np.random.default_rng((protocol.seed, split)).permutation(people)
        yield np.sort(order[:learn]), np.sort(order[learn:])


def _checked_counts(train: People, pairs: People, protocol: Protocol) -> tuple[int, int]:
    """How many people are learned from and how many identified in each split; InputError where it cannot be."""
    learn = protocol.learn if protocol.learn is not None else len(train.names) // 2
    identified = len(pairs.names) - (learn if train.folders == pairs.folders else 0)
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
    return learn, identified


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
