"""Owns who is drawn: the traits of one phantom, its dress and light; knows nothing of how traits are chosen.

Lengths are in face units (1 is the distance between the eyes: 50 pixels at 250 x 200), colours sRGB
in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Head:
    """Half-widths of skull, cheeks, jaw and chin, the chin's height, the small turns of a real pose."""

    skull: float
    cheek: float
    jaw: float
    jaw_y: float
    chin: float
    chin_y: float
    lean: float
    yaw: float
    cheekbone: float
    neck: float
    ear: float


@dataclass(frozen=True)
class Eyes:
    """Lid heights off the line through the corners, iris radius; crease, lash, bag in [0, 1]."""

    half_width: float
    upper: float
    lower: float
    tilt: float
    iris: float
    iris_colour: Colour
    crease: float
    lash: float
    bag: float


@dataclass(frozen=True)
class Brows:
    """Height, arch and tilt of the brow, its half-thickness, how far out it reaches, its density."""

    y: float
    arch: float
    tilt: float
    thickness: float
    reach: float
    density: float


@dataclass(frozen=True)
class Nose:
    """Height of the tip on the page, half-widths of tip, bridge and wings, relief, nostril size."""

    tip_y: float
    tip_width: float
    bridge: float
    wing: float
    height: float
    nostril: float


@dataclass(frozen=True)
class Mouth:
    """Place and half-width, lip heights, lift of the corners, depth of the bow, redness, how far open (teeth show)."""

    y: float
    half_width: float
    upper: float
    lower: float
    curl: float
    bow: float
    redness: float
    opening: float


@dataclass(frozen=True)
class Hair:
    """A cut and its measures; `front` is how the hairline runs ("up", "part", "fringe", "none")."""

    cut: str
    front: str
    top: float
    volume: float
    length: float
    hairline: float
    part: float
    side: float
    tucked: bool
    wave: float
    curl: float
    recession: float
    density: float


@dataclass(frozen=True)
class Extras:
    """What not everyone has: beard amounts in [0, 1], glasses ("none", "round", "square"), collar kind."""

    stubble: float
    moustache: float
    chin_beard: float
    full_beard: float
    glasses: str
    frame_colour: Colour
    collar: str
    cloth: Colour


@dataclass(frozen=True)
class Light:
    """Direction towards the lamp (x right, y down, z to the viewer), strengths, warmth, the background."""

    direction: tuple[float, float, float]
    ambient: float
    exposure: float
    warmth: float
    background: Colour
    falloff: tuple[float, float]


@dataclass(frozen=True)
class Person:
    """Everything that sets one phantom apart; `age` and `melanin` are in [0, 1]."""

    female: bool
    age: float
    melanin: float
    skin: Colour
    hair_colour: Colour
    head: Head
    eyes: Eyes
    brows: Brows
    nose: Nose
    mouth: Mouth
    hair: Hair
    extras: Extras
    light: Light
