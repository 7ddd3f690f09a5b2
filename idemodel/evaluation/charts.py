"""Where the marks of a report's charts go, in SVG pixels; no markup and no colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH = 480.0
MARGIN = 14.0  # left and right of the drawing area of a distribution
BAND = 56.0  # height of one method's band
AXIS = 26.0  # height of the axis with its labels
DOT_STEP = 4.0  # dots of one column lie this far apart
MAX_DOTS = 400  # dots drawn for one method; box and mean are of all images

CURVE_WIDTH, CURVE_HEIGHT = 640.0, 300.0
CURVE_LEFT, CURVE_RIGHT, CURVE_TOP, CURVE_BOTTOM = 46.0, 12.0, 10.0, 34.0


@dataclass(frozen=True)
class Tick:
    """A position on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """One image's score: position and what a pointer on it says."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Band:
    """One method's scores: dots, quartiles, the mean and its interval, as x positions."""

    method: str
    index: int
    centre: float
    dots: tuple[Dot, ...]
    quartiles: tuple[float, float, float]
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Distribution:
    """The chart of one metric, a band for each method."""

    width: float
    height: float
    axis: float
    ticks: tuple[Tick, ...]
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class Curve:
    """A mean with its band of one deviation: points and outline as SVG coordinate lists."""

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    line: str
    outline: str


def distribution(
    names: Sequence[str],
    scores: Mapping[str, NDArray[np.float64]],
    intervals: Mapping[str, tuple[float, float]],
) -> Distribution:
    """Lay out the scores of one metric.

    Parameters
    ----------
    names
        The images.
    scores
        Method -> (n,) scores in the order of ``names``.
    intervals
        Method -> interval of the mean.
    """
    everything = np.concatenate(list(scores.values()))
    low, high = float(everything.min()), float(everything.max())
    ticks = nice_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def place(value: float) -> float:
        return round(MARGIN + (value - low) / (high - low) * (WIDTH - 2 * MARGIN), 2)

    bands = tuple(
        _band(names, method, index, values, intervals[method], place)
        for index, (method, values) in enumerate(scores.items())
    )
    axis = len(bands) * BAND
    return Distribution(WIDTH, axis + AXIS, axis, _labelled(ticks, place), bands)


def curve(x: Sequence[float], mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Curve:
    """Lay out a curve of rates in [0, 1] over ascending x, with one deviation above and below."""
    x_ticks = nice_ticks(float(x[0]), float(x[-1]), whole=True)
    left, right = min(float(x[0]), x_ticks[0]), max(float(x[-1]), x_ticks[-1])
    across, down = CURVE_WIDTH - CURVE_LEFT - CURVE_RIGHT, CURVE_HEIGHT - CURVE_TOP - CURVE_BOTTOM

    def place_x(value: float) -> float:
        return round(CURVE_LEFT + (value - left) / (right - left) * across, 2)

    def place_y(value: float) -> float:
        return round(CURVE_TOP + (1.0 - min(1.0, max(0.0, value))) * down, 2)

    above = [(place_x(at), place_y(m + d)) for at, m, d in zip(x, mean, deviation, strict=True)]
    below = [(place_x(at), place_y(m - d)) for at, m, d in zip(x, mean, deviation, strict=True)]
    return Curve(
        x_ticks=_labelled(x_ticks, place_x),
        y_ticks=tuple(Tick(place_y(share / 5), f"{20 * share}%") for share in range(6)),
        line=_points([(place_x(at), place_y(value)) for at, value in zip(x, mean, strict=True)]),
        outline=_points(above + below[::-1]),
    )


def nice_ticks(low: float, high: float, *, whole: bool = False) -> tuple[float, ...]:
    """Round numbers from at most ``low`` to at least ``high``, about six steps of 1, 2 or 5 times 10^n.

    Where ``low`` equals ``high`` a little room is made around them.
    """
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - max(0.05, abs(low) * 0.05), high + max(0.05, abs(high) * 0.05)
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(index * step for index in range(first, last + 1))


def _band(
    names: Sequence[str],
    method: str,
    index: int,
    values: NDArray[np.float64],
    interval: tuple[float, float],
    place: Callable[[float], float],
) -> Band:
    first, middle, third = (place(float(v)) for v in np.quantile(values, [0.25, 0.5, 0.75]))
    centre = (index + 0.5) * BAND
    return Band(
        method=method,
        index=index,
        centre=centre,
        dots=_swarm(names, values, [place(float(value)) for value in values], centre),
        quartiles=(first, middle, third),
        mean=place(float(values.mean())),
        interval=(place(interval[0]), place(interval[1])),
    )


def _labelled(ticks: Sequence[float], place: Callable[[float], float]) -> tuple[Tick, ...]:
    step = ticks[1] - ticks[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return tuple(Tick(place(tick), f"{tick:.{decimals}f}") for tick in ticks)


def _swarm(
    names: Sequence[str], values: NDArray[np.float64], places: Sequence[float], centre: float
) -> tuple[Dot, ...]:
    """Dots in columns around the centre line; of more than ``MAX_DOTS`` an even choice by rank."""
    ranked = sorted(range(len(places)), key=lambda index: (places[index], index))
    if len(ranked) > MAX_DOTS:
        ranked = [ranked[round(at)] for at in np.linspace(0, len(ranked) - 1, MAX_DOTS)]
    columns: dict[int, list[int]] = {}
    for index in ranked:
        columns.setdefault(int(places[index] // DOT_STEP), []).append(index)
    tallest = max(len(column) for column in columns.values())
    step = min(DOT_STEP, (BAND - 12.0) / tallest)
    return tuple(
        Dot(
            x=places[index],
            y=round(centre + (at - (len(column) - 1) / 2) * step, 2),
            title=f"{names[index]}: {values[index]:.4f}",
        )
        for column in columns.values()
        for at, index in enumerate(column)
    )


def _points(positions: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in positions)
