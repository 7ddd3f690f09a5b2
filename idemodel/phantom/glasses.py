"""Owns spectacles: rims, bridge, arms, lens tint; knows nothing of the eyes behind them."""

from __future__ import annotations

import numpy as np

from .canvas import Surface, linear
from .curves import Line, curve_of
from .person import Person
from .raster import Floats, cover, smoothstep

_CENTRE_Y = 0.055


def _shape(person: Person) -> tuple[float, float, float]:
    """Half-width, half-height and superellipse power of a rim."""
    return (0.370, 0.300, 2.3) if person.extras.glasses == "round" else (0.390, 0.260, 4.0)


def paint_glasses(surface: Surface, person: Person) -> None:
    """Both rims with a lighter upper edge of reflection, the bridge and the arms to the ears."""
    if person.extras.glasses == "none":
        return
    a, b, power = _shape(person)
    where, part = surface.frame.window(-1.3, 1.3, -0.35, 0.45)
    x, y = np.abs(part.x), part.y - _CENTRE_Y
    rho = (np.abs((x - 0.5) / a) ** power + np.abs(y / b) ** power) ** (1 / power)
    rim = 0.024 - np.abs(rho - 1) * b
    arch = 0.020 - np.abs(y + 0.10 - 0.9 * x * x)
    bridge = np.where(x < 0.5 - a + 0.03, arch, np.float32(-1))
    arm = np.where(x > 0.5 + a - 0.01, 0.020 - np.abs(y + 0.12 - 0.06 * (x - 0.8)), np.float32(-1))
    arm = np.where(x < person.head.cheek + 0.02, arm, np.float32(-1))
    lens = cover((1 - rho) * np.float32(b), part.scale)
    glare = _glare(part.x, part.y)
    surface.tint(where, 0.012 * lens + 0.05 * lens * glare, np.full(3, 0.85, dtype=np.float32))
    mask = cover(np.maximum(np.maximum(rim, bridge), arm).astype(np.float32), part.scale, 1.3)
    surface.tint(where, 0.93 * mask, linear(person.extras.frame_colour))


def _glare(x: Floats, y: Floats) -> Floats:
    slant = np.mod(x + 0.5, 1.0) - 0.5 + 0.6 * y
    band: Floats = smoothstep(0.08, 0.02, np.abs(slant + 0.16))
    return band


def glasses_lines(person: Person) -> list[Line]:
    """Rims, arms and bridge."""
    if person.extras.glasses == "none":
        return []
    a, b, power = _shape(person)
    angle = np.linspace(0, 2 * np.pi, 64)
    c, s = np.cos(angle), np.sin(angle)
    x = a * np.sign(c) * np.abs(c) ** (2 / power)
    y = _CENTRE_Y + b * np.sign(s) * np.abs(s) ** (2 / power)
    lines = []
    for side in (-1.0, 1.0):
        lines.append(Line(curve_of(side * 0.5 + x, y), 1.3, 0.034))
        reach = np.linspace(0.5 + a, person.head.cheek + 0.02, 12)
        lines.append(Line(curve_of(side * reach, _CENTRE_Y - 0.12 + 0.06 * (reach - 0.8)), 1.0, 0.028))
    across = np.linspace(-(0.5 - a), 0.5 - a, 12)
    lines.append(Line(curve_of(across, _CENTRE_Y - 0.10 + 0.9 * across**2), 1.2, 0.032))
    return lines
