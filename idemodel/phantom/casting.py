"""Owns the random choice of traits: how often each occurs and how they go together; knows nothing of drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .person import Brows, Colour, Extras, Eyes, Hair, Head, Light, Mouth, Nose, Person

_SKIN = (
    (250, 222, 202),
    (243, 208, 182),
    (233, 190, 155),
    (214, 166, 125),
    (182, 130, 92),
    (146, 100, 70),
    (112, 75, 55),
)
_HAIR: dict[str, tuple[int, int, int]] = {
    "black": (34, 29, 28), "dark brown": (58, 42, 34), "brown": (92, 64, 46), "light brown": (134, 99, 68),
    "blond": (192, 158, 108), "ginger": (150, 84, 46), "grey": (138, 133, 126), "white": (206, 201, 190),
}  # fmt: skip
_IRIS = ((58, 36, 22), (84, 54, 30), (98, 84, 46), (84, 106, 84), (90, 120, 146))
_BACKGROUND = (
    (92, 170, 208),
    (150, 178, 196),
    (196, 200, 200),
    (170, 164, 152),
    (116, 138, 152),
    (206, 192, 172),
)
_CLOTH = (
    (170, 48, 44), (46, 62, 104), (60, 62, 66), (226, 226, 222), (70, 104, 82), (148, 110, 88),
    (110, 132, 168), (36, 36, 40), (196, 170, 120), (120, 70, 110),
)  # fmt: skip


@dataclass(frozen=True)
class _Cut:
    """A cut: how its hairline may run, how often women and men wear it, its length on either."""

    name: str
    fronts: tuple[str, ...]
    women: float
    men: float
    long: float
    short: float


_CUTS = (
    _Cut("long", ("part", "part", "fringe"), 0.26, 0.0, 3.2, 3.2),
    _Cut("bob", ("part", "part", "fringe"), 0.18, 0.0, 1.45, 1.45),
    _Cut("bun", ("up",), 0.15, 0.0, 0.2, 0.2),
    _Cut("fringe", ("fringe",), 0.13, 0.0, 1.6, 1.6),
    _Cut("pixie", ("fringe", "part"), 0.06, 0.0, 0.45, 0.45),
    _Cut("side part", ("part",), 0.12, 0.24, 1.7, 0.25),
    _Cut("curly", ("up",), 0.10, 0.08, 1.5, 0.3),
    _Cut("short", ("up",), 0.0, 0.30, 0.25, 0.25),
    _Cut("crop", ("fringe",), 0.0, 0.12, 0.25, 0.25),
    _Cut("buzz", ("up",), 0.0, 0.10, 0.25, 0.25),
    _Cut("bald", ("none",), 0.0, 0.06, 0.25, 0.25),
    _Cut("curtains", ("part",), 0.0, 0.10, 0.25, 0.25),
)


def draw_person(rng: np.random.Generator) -> Person:
    """A random person. `age` and `melanin` are in [0, 1]; the traits depend loosely on them, as in life."""
    female = bool(rng.random() < 0.5)
    age = float(rng.beta(1.3, 2.0))
    melanin = float(rng.beta(1.1, 1.5))
    hair_name = _hair_name(rng, age, melanin)
    head = _head(rng, female, age)
    nose = _nose(rng, melanin)
    hair = _hair(rng, female, age)
    return Person(
        female=female,
        age=age,
        melanin=melanin,
        skin=_jitter(rng, _between(_SKIN, melanin), 0.02),
        hair_colour=_jitter(rng, _unit(_HAIR[hair_name]), 0.015),
        head=head,
        eyes=_eyes(rng, female, age, melanin),
        brows=_brows(rng, female, hair_name),
        nose=nose,
        mouth=_mouth(rng, female, melanin, head, nose),
        hair=hair,
        extras=_extras(rng, female, age),
        light=_light(rng),
    )


def _unit(rgb: tuple[int, int, int]) -> Colour:
    return rgb[0] / 255, rgb[1] / 255, rgb[2] / 255


def _between(palette: tuple[tuple[int, int, int], ...], position: float) -> Colour:
    """A colour at `position` in [0, 1] along the palette."""
    at = position * (len(palette) - 1)
    channels = np.asarray(palette, dtype=np.float64).T / 255
    red, green, blue = (float(np.interp(at, np.arange(len(palette)), channel)) for channel in channels)
    return red, green, blue


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """The colour, a little lighter or darker and a little warmer or cooler."""
    light, warm = rng.normal(0, amount, 2)
    shift = (light + warm, light, light - warm)
    red, green, blue = (float(np.clip(c + d, 0.02, 0.98)) for c, d in zip(colour, shift, strict=True))
    return red, green, blue


def _around(rng: np.random.Generator, mean: float, spread: float) -> float:
    """A normal draw clipped at two deviations, so that no trait is extreme."""
    return mean + spread * float(np.clip(rng.standard_normal(), -2, 2))


def _hair_name(rng: np.random.Generator, age: float, melanin: float) -> str:
    if rng.random() < 1.6 * (age - 0.45):
        return "grey" if rng.random() < 0.6 else "white"
    fair = max(0.0, 0.55 - melanin)
    weights = np.array([0.25 + melanin, 0.4, 0.25 + fair * 0.5, fair, fair, 0.5 * fair])
    names = ("black", "dark brown", "brown", "light brown", "blond", "ginger")
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _head(rng: np.random.Generator, female: bool, age: float) -> Head:
    heavy = _around(rng, 0, 1)
    return Head(
        skull=_around(rng, 1.11, 0.03),
        cheek=_around(rng, 1.10, 0.035) + 0.025 * heavy,
        jaw=_around(rng, 0.74 if female else 0.81, 0.045) + 0.04 * heavy,
        jaw_y=_around(rng, 1.14, 0.05),
        chin=_around(rng, 0.26 if female else 0.34, 0.045),
        chin_y=_around(rng, 1.70 if female else 1.80, 0.085),
        lean=_around(rng, 0, 0.008),
        yaw=_around(rng, 0, 0.5),
        cheekbone=_around(rng, 0.05, 0.02) + 0.02 * age,
        neck=_around(rng, 0.60 if female else 0.74, 0.04) + 0.03 * heavy,
        ear=_around(rng, 1.0, 0.08),
    )


def _eyes(rng: np.random.Generator, female: bool, age: float, melanin: float) -> Eyes:
    blue = float(np.clip(rng.random() * (1.15 - 1.6 * melanin), 0, 1))
    return Eyes(
        half_width=_around(rng, 0.230, 0.014),
        upper=_around(rng, 0.112, 0.018) + (0.008 if female else 0) - 0.015 * age,
        lower=_around(rng, 0.055, 0.010),
        tilt=_around(rng, 0.018, 0.018),
        iris=_around(rng, 0.112, 0.004),
        iris_colour=_jitter(rng, _between(_IRIS, blue), 0.02),
        crease=float(rng.uniform(0.2, 1.0)),
        lash=_around(rng, 0.9 if female else 0.35, 0.12),
        bag=float(np.clip(_around(rng, 0.2 + 0.6 * age, 0.2), 0, 1)),
    )


def _brows(rng: np.random.Generator, female: bool, hair_name: str) -> Brows:
    pale = 0.7 if hair_name in ("blond", "white") else 1.0
    return Brows(
        y=_around(rng, -0.35 if female else -0.32, 0.045),
        arch=_around(rng, 0.075 if female else 0.05, 0.025),
        tilt=_around(rng, 0.03, 0.03),
        thickness=_around(rng, 0.052 if female else 0.068, 0.014),
        reach=_around(rng, 0.44, 0.025),
        density=pale * _around(rng, 0.62, 0.14),
    )


def _nose(rng: np.random.Generator, melanin: float) -> Nose:
    return Nose(
        tip_y=_around(rng, 0.575, 0.055),
        tip_width=_around(rng, 0.135 + 0.03 * melanin, 0.015),
        bridge=_around(rng, 0.100, 0.015),
        wing=_around(rng, 0.285 + 0.07 * melanin, 0.025),
        height=_around(rng, 0.29, 0.05),
        nostril=_around(rng, 1.0, 0.15),
    )


def _mouth(rng: np.random.Generator, female: bool, melanin: float, head: Head, nose: Nose) -> Mouth:
    base = nose.tip_y + 0.16
    smile = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.22 else 0.0
    return Mouth(
        y=base + (head.chin_y - base) * _around(rng, 0.36, 0.03),
        half_width=_around(rng, 0.405, 0.04) + 0.09 * smile,
        upper=_around(rng, 0.120 if female else 0.105, 0.022) + 0.03 * melanin,
        lower=_around(rng, 0.155 if female else 0.140, 0.025) + 0.03 * melanin,
        curl=_around(rng, 0.035, 0.02) + 0.05 * smile,
        bow=_around(rng, 0.25, 0.07),
        redness=_around(rng, 0.80 if female else 0.55, 0.12),
        opening=0.13 * smile,
    )


def _hair(rng: np.random.Generator, female: bool, age: float) -> Hair:
    """Pick a cut, then its measures; women's and men's cuts overlap."""
    odds = np.array([cut.women if female else cut.men for cut in _CUTS], dtype=np.float64)
    chosen = _CUTS[int(rng.choice(len(_CUTS), p=odds / odds.sum()))]
    cut, front = chosen.name, chosen.fronts[int(rng.integers(len(chosen.fronts)))]
    length = chosen.long if female else chosen.short
    side_of_part = float(rng.choice([-1, 1]))
    centre = cut in ("long", "bob", "curtains") and rng.random() < 0.45
    flat = cut in ("buzz", "bald", "bun")
    puff = 0.12 if cut == "curly" else 0.0
    volume = 0.01 if flat else _around(rng, 0.14 if length > 1 else 0.09, 0.035) + puff
    return Hair(
        cut=cut,
        front=front,
        top=-1.72 if flat else _around(rng, -1.92, 0.07) - puff,
        volume=volume,
        length=length * _around(rng, 1, 0.07),
        hairline=_around(rng, -1.16, 0.06),
        part=_around(rng, 0, 0.05) if centre else side_of_part * float(rng.uniform(0.25, 0.55)),
        side=_around(rng, 0.95, 0.03),
        tucked=bool(length > 1 and rng.random() < 0.35),
        wave=float(rng.uniform(0, 1)) if length > 1 else 0.2 * float(rng.random()),
        curl=1.0 if cut == "curly" else 0.0,
        recession=0.0 if female else float(np.clip(rng.normal(0.05 + 0.25 * age, 0.08), 0, 0.3)),
        density=0.62 if cut == "buzz" else 1.0,
    )


def _extras(rng: np.random.Generator, female: bool, age: float) -> Extras:
    styles = ("none", "stubble", "moustache", "goatee", "full")
    style = "none" if female else styles[int(rng.choice(5, p=(0.42, 0.25, 0.08, 0.11, 0.14)))]
    glasses = ("none", "round", "square")[int(rng.choice(3, p=(0.78, 0.10, 0.12)))]
    return Extras(
        stubble=0.0 if female else float(rng.uniform(0.5, 0.9) if style != "none" else rng.uniform(0.05, 0.3)),
        moustache=float(rng.uniform(0.7, 0.95)) if style in ("moustache", "goatee", "full") else 0.0,
        chin_beard=float(rng.uniform(0.7, 0.95)) if style in ("goatee", "full") else 0.0,
        full_beard=float(rng.uniform(0.7, 0.95)) if style == "full" else 0.0,
        glasses=glasses,
        frame_colour=((0.06, 0.06, 0.07), (0.24, 0.13, 0.08), (0.42, 0.42, 0.44))[int(rng.integers(3))],
        collar=("crew", "vee", "shirt")[int(rng.integers(3))],
        cloth=_jitter(rng, _unit(_CLOTH[int(rng.integers(len(_CLOTH)))]), 0.03),
    )


def _light(rng: np.random.Generator) -> Light:
    azimuth, height = rng.uniform(-0.75, 0.75), rng.uniform(0.15, 0.65)
    direction = np.array([azimuth, -height, 1.0])
    direction /= np.linalg.norm(direction)
    return Light(
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        ambient=float(rng.uniform(0.26, 0.42)),
        exposure=_around(rng, 1.0, 0.06),
        warmth=_around(rng, 0.0, 0.035),
        background=_jitter(rng, _unit(_BACKGROUND[int(rng.integers(len(_BACKGROUND)))]), 0.03),
        falloff=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
    )
