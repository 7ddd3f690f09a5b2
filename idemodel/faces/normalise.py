"""Photos towards a bank's photos: noise, side light, grey levels and background, each only as far as it is needed.

Works on luma alone, since nothing after it sees colour (every plane, and what the generator is shown, is luma). Knows
the bank's statistics, no files. Regions are those of an aligned face: eyes on the middle row, a quarter of the width
to either side.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PatchBank
from idekernels.errors import InputError
from idekernels.representations import intensity
from idemodel.faces.background import background_mask

Grey = NDArray[np.float64]
Image = NDArray[np.uint8]

SAMPLE = 128  # bank photos that are measured, evenly spaced
SMALLEST = 16  # pixels a side
METHODS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": (),
        "levels": ("levels",),
        "light": ("light", "levels"),
        "background": ("background",),
        "all": ("noise", "light", "levels", "background"),
        "auto": ("noise", "light", "levels", "noise", "background"),  # stretched levels stretch the noise with them
    }
)

_QUANTILES = (10, 25, 50, 75, 90)  # per cent, of the face
_DARKEST = 3  # per cent, of the head: hair, or where there is none, pupils and brows
_STEADY = 8.0  # grey levels added before a logarithm, so that black stays harmless
_STEEPEST = 3.0  # side light is taken out up to this slope
_NO_FACE = 6.0  # grey levels between the face's outer quantiles below which there is nothing to go by
_APART = 60.0  # grey levels between hair and a backdrop that is told from it by its lightness alone
_HAIR = 0.4  # hair is this much of the way from the head's darkest to the backdrop, at most
_FLOOD = 30.0  # grey levels around its background's level that a bank photo's background keeps to


class Measures:
    """What is measured of the luma (H, W) of an aligned photo, uint8 or float in 0 to 255; each when it is asked for.

    Attributes
    ----------
    noise : float
        Standard deviation, grey levels.
    side : float
        Horizontal slope of the log light on the face, a picture's width as unit, positive where the right is lighter.
    levels : tuple of float
        The darkest part of the head, then quantiles of the face.
    contrast : float
        Standard deviation of the face, grey levels.
    ground : (float, float)
        Level of the background beside the head, and how far pixels there usually stray from it.
    """

    def __init__(self, grey: NDArray[Any]) -> None:
        self.grey: Grey = np.asarray(grey, np.float64)
        self._whole: NDArray[np.int16] | None = grey.astype(np.int16) if grey.dtype == np.uint8 else None

    @cached_property
    def noise(self) -> float:  # noqa: D102 - see the class
        return _noise(self.grey if self._whole is None else self._whole)

    @cached_property
    def side(self) -> float:  # noqa: D102
        return _side(self.grey)

    @cached_property
    def levels(self) -> tuple[float, ...]:  # noqa: D102
        darkest = float(np.percentile(self.grey[_head(*self.grey.shape)], _DARKEST))
        return (darkest, *np.percentile(self._face, _QUANTILES).tolist())

    @cached_property
    def contrast(self) -> float:  # noqa: D102
        return float(self._face.std())

    @cached_property
    def ground(self) -> tuple[float, float]:  # noqa: D102
        beside = self.grey[beside_head(*self.grey.shape)]
        level = float(np.median(beside))
        return level, float(np.median(np.abs(beside - level)))

    @cached_property
    def _face(self) -> Grey:
        return np.asarray(self.grey[_face(*self.grey.shape)])

    def of(self, step: str) -> Grey:
        """What decides about one step."""
        return np.array(_DECIDES[step](self))


_DECIDES: Mapping[str, Callable[[Measures], tuple[float, ...]]] = MappingProxyType(
    {
        "noise": lambda found: (found.noise,),
        "light": lambda found: (found.side,),
        "levels": lambda found: (*found.levels, found.contrast),
        "background": lambda found: found.ground,
    }
)

# A photo is unusual where it lies outside the bank's range by more than half the bank's deviation and this.
_SLACK: Mapping[str, Any] = MappingProxyType(
    {"noise": 1.0, "light": 0.1, "levels": np.array([4.0] * (1 + len(_QUANTILES)) + [1.0]), "background": 8.0}
)


@dataclass(frozen=True)
class Normalised:
    """A photo made like the bank's: its pixels, and the steps that were taken (none: the photo itself)."""

    photo: Image
    steps: tuple[str, ...]


class Normaliser:
    """What is usual in a bank's photos, and photos brought there.

    Parameters
    ----------
    planes : (n, H, W) uint8
        Luma of the bank's photos, or of a sample of them.
    """

    def __init__(self, planes: NDArray[np.uint8]) -> None:
        found = [Measures(plane) for plane in planes]
        self._limits = {step: _limits(np.array([one.of(step) for one in found]), _SLACK[step]) for step in _SLACK}
        self._limits["noise"][0][:] = 0.0  # no lower limit: low noise never counts as unusual
        self._side = float(np.median([one.side for one in found]))
        self._levels = np.median([one.levels for one in found], axis=0)
        self._prior, self._ground = _backgrounds(planes, [one.ground[0] for one in found])

    @classmethod
    def of(cls, bank: PatchBank, sample: int = SAMPLE) -> Normaliser:
        """Measure a bank, ``sample`` of its photos evenly spaced, read one by one; their luma alone is kept meanwhile.

        Raises
        ------
        InputError
            The bank has no plane of grey levels, or one under 16 pixels a side.
        """
        require_grey(bank)
        return cls(sample_planes(bank, sample))

    def normalise(self, photo: Image, method: str = "auto", without: Container[str] = ()) -> Normalised:
        """Bring a photo towards the bank's.

        Parameters
        ----------
        photo : (H, W) or (H, W, 3) uint8
            Of the bank's size, eyes where the bank's are.
        method : str
            One of :data:`METHODS`. ``levels`` maps the face's grey levels to the bank's, ``light`` levels out side
            light before, ``background`` replaces the background by the bank's, ``all`` does everything, noise
            included; ``auto`` takes each of these steps only where the photo lies outside the bank's range.
        without : container of str
            Steps that ``auto`` never takes.

        Returns
        -------
        Normalised
            Of the same shape. The very photo where no step was taken, or where its face has no contrast; else luma,
            in all three channels of a colour photo.

        Raises
        ------
        TypeError, ValueError
            An unknown method, or a photo of another size or dtype.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
        found = Measures(intensity(photo))
        if found.grey.shape != self._prior.shape:
            raise ValueError(f"the photo is {found.grey.shape} (rows, columns), the bank's are {self._prior.shape}")
        if found.levels[-1] - found.levels[1] < _NO_FACE:
            return Normalised(photo, ())
        taken = []
        for step in METHODS[method]:
            if method != "auto" or (step not in without and self._unusual(found, step)):
                found = Measures(np.clip(self._take(step, found, photo), 0.0, 255.0))
                taken.append(step)
        if not taken:
            return Normalised(photo, ())
        made = np.rint(found.grey).astype(np.uint8)
        return Normalised(
            made if photo.ndim == 2 else np.repeat(made[..., None], 3, axis=2), tuple(dict.fromkeys(taken))
        )

    def _unusual(self, found: Measures, step: str) -> bool:
        low, high = self._limits[step]
        value = found.of(step)
        return bool(((value < low) | (value > high)).any())

    def _take(self, step: str, found: Measures, photo: Image) -> Grey:
        steps: dict[str, Callable[[Measures], Grey]] = {
            "noise": self._denoised,
            "light": self._lit,
            "levels": self._levelled,
            "background": lambda given: self._flattened(given, photo),
        }
        return steps[step](found)

    def _denoised(self, found: Measures) -> Grey:
        """Non-local means (Buades et al., 2005) at the noise that was measured."""
        from skimage.restoration import denoise_nl_means

        sigma = found.noise / 255.0
        if sigma == 0.0:
            return found.grey
        options: dict[str, Any] = {"patch_size": 5, "patch_distance": 6, "fast_mode": True}
        return np.asarray(denoise_nl_means(found.grey / 255.0, h=0.8 * sigma, sigma=sigma, **options)) * 255.0

    def _lit(self, found: Measures) -> Grey:
        """The light's slope divided out, down to the bank's."""
        slope = np.clip(found.side - self._side, -_STEEPEST, _STEEPEST)
        return (found.grey + _STEADY) * np.exp(-slope * _places(*found.grey.shape)[1]) - _STEADY

    def _levelled(self, found: Measures) -> Grey:
        """A monotone curve (PCHIP) through black, the head's darkest, the face's quantiles and white."""
        from scipy.interpolate import PchipInterpolator

        knots = [(0.0, 0.0)]
        for given, wanted in zip(found.levels, self._levels, strict=True):
            # skip quantiles under 2 levels apart: PCHIP needs increasing knots
            if knots[-1][0] + 2.0 <= given <= 253.0:
                knots.append((given, max(wanted, knots[-1][1])))
        return np.asarray(PchipInterpolator(*zip(*knots, (255.0, 255.0), strict=True))(found.grey))

    def _flattened(self, found: Measures, photo: Image) -> Grey:
        mask = background_mask(photo, self._prior)
        share = np.clip((mask - 0.35) / 0.3, 0.0, 1.0) * (1.0 - _hanging_hair(found, mask))
        return (1.0 - share) * found.grey + share * self._ground


def _hanging_hair(found: Measures, mask: Grey) -> Grey:
    """How much of each pixel is dark hair that hangs beside the neck before a light backdrop, where a mask may err.

    It touches the person, and the picture's border below the eyes alone: what touches it above is a dark backdrop.
    """
    from scipy.ndimage import binary_dilation, gaussian_filter, label

    grey, dark, ground = found.grey, found.levels[0], found.ground[0]
    if ground - dark < _APART:
        return np.zeros_like(grey)
    person = mask < 0.5
    parts, _ = label((grey < dark + _HAIR * (ground - dark)) & ~person)
    above = np.zeros_like(person)
    above[0] = above[: len(above) // 2, [0, -1]] = True
    hanging = np.setdiff1d(parts[binary_dilation(person)], parts[above])
    return gaussian_filter(np.isin(parts, hanging[hanging > 0]).astype(np.float64), 0.005 * grey.shape[1])


def can_normalise(bank: PatchBank) -> bool:
    """Whether a bank keeps the grey levels that photos are brought to, at a size that shows a face."""
    return "intensity" in bank.settings.representations and min(bank.height, bank.width) >= SMALLEST


def require_grey(bank: PatchBank) -> None:
    """InputError where :func:`can_normalise` says no."""
    if not can_normalise(bank):
        raise InputError(
            f"photos are normalised by the bank's plane 'intensity', {SMALLEST} pixels a side or more; it has "
            f"{', '.join(bank.settings.representations)} of {bank.height} x {bank.width}: build it with --plane "
            "intensity, or use --normalise none"
        )


def sample_planes(bank: PatchBank, sample: int) -> NDArray[np.uint8]:
    """Luma (n, H, W) uint8 of ``sample`` of a bank's photos, evenly spaced, of all where it has no more."""
    plane = bank.settings.representations.index("intensity")
    chosen = np.unique(np.linspace(0, bank.images - 1, min(sample, bank.images)).round().astype(int))
    return np.stack([bank.source(int(one), int(one) + 1)[0, plane] for one in chosen])


def _noise(grey: NDArray[Any]) -> float:
    """Standard deviation of the noise (mask of Immerkaer, CVIU 1996; its median, so that contours do not count).

    Of whole levels the same to the last bit in a quarter of the time: their responses are whole, at most 16 times 255.
    """
    if grey.dtype == np.int16:
        bordered = np.pad(grey, 1, mode="symmetric")
        down = bordered[:-2] - 2 * bordered[1:-1] + bordered[2:]
        response: NDArray[Any] = down[:, :-2] - 2 * down[:, 1:-1] + down[:, 2:]
    else:
        from scipy.ndimage import convolve

        response = convolve(grey, np.outer((1.0, -2.0, 1.0), (1.0, -2.0, 1.0)))
    return float(np.median(np.abs(response))) / (6.0 * 0.6745)


def _side(grey: Grey) -> float:
    """Slope of the log light: weighted median of (log right - log left) / their distance over the mirrored face."""
    across = _places(*grey.shape)[1]
    right = _face(*grey.shape) & (across > 0.02)
    light = np.log(grey + _STEADY)
    distance = 2.0 * across[right]
    slope = (light - light[:, ::-1])[right] / distance
    order = np.argsort(slope, kind="stable")
    share = np.cumsum(distance[order])
    return float(slope[order][np.searchsorted(share, share[-1] / 2.0)])


def _limits(found: Grey, slack: Any) -> tuple[Grey, Grey]:
    """Lowest and highest usual value of every column of (n, m) measures."""
    margin = 0.5 * found.std(axis=0) + slack
    return found.min(axis=0) - margin, found.max(axis=0) + margin


def _backgrounds(planes: NDArray[np.uint8], levels: list[float]) -> tuple[Grey, Grey]:
    """How often each place is background in the bank, and its usual grey there; (H, W) each."""
    from scipy.ndimage import gaussian_filter

    size = planes.shape[1:]
    count, total = np.zeros(size), np.zeros(size)
    for plane, level in zip(planes, levels, strict=True):
        flooded = _flood(plane.astype(np.float64), level)
        count += flooded
        total += np.where(flooded, plane, 0)
    blur = 0.012 * size[0]
    seen, grey = gaussian_filter(count, blur), gaussian_filter(total, blur)
    return seen / len(planes), (grey + 0.5 * np.median(levels)) / (seen + 0.5)


def _flood(grey: Grey, level: float) -> NDArray[np.bool_]:
    """Background of a bank photo: what has its level, and is connected with the upper left or right."""
    from scipy.ndimage import binary_opening, gaussian_filter, label

    alike = (np.abs(gaussian_filter(grey, 1.0) - level) < _FLOOD) & ~_face(*grey.shape)
    parts, _ = label(binary_opening(np.pad(alike, 3, mode="edge"), iterations=2)[3:-3, 3:-3])
    roots = np.unique(parts[beside_head(*grey.shape)])
    return np.isin(parts, roots[roots > 0])


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> tuple[Grey, Grey]:
    """Row (0 to 1) and column (-0.5 to 0.5, mirrored exactly) of every pixel's centre."""
    down, across = (np.arange(height) + 0.5) / height, (np.arange(width) - (width - 1) / 2.0) / width
    return np.repeat(down[:, None], width, axis=1), np.repeat(across[None], height, axis=0)


@lru_cache(maxsize=8)
def _face(height: int, width: int) -> NDArray[np.bool_]:
    down, across = _places(height, width)
    return (across / 0.22) ** 2 + ((down - 0.55) / 0.2) ** 2 < 1.0


@lru_cache(maxsize=8)
def _head(height: int, width: int) -> NDArray[np.bool_]:
    down, across = _places(height, width)
    return (across / 0.32) ** 2 + ((down - 0.5) / 0.36) ** 2 < 1.0


@lru_cache(maxsize=8)
def beside_head(height: int, width: int) -> NDArray[np.bool_]:
    """Where a portrait shows background, (H, W) bool: the upper left and right edges."""
    down, across = _places(height, width)
    return (np.abs(across) > 0.35) & (down > 0.06) & (down < 0.25)
