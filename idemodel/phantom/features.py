"""Owns eyes, brows, nose and mouth: their curves, paint and pencil lines; knows nothing of light or cuts."""

from __future__ import annotations

import numpy as np

from .anatomy import midline
from .canvas import EYE, GLOSS, Surface, linear
from .curves import Line, curve_of
from .person import Eyes, Person
from .raster import Floats, Window, bell, bump, cover, smoothstep, strand_noise

# The corners lie outside and below the pupil, which sits at the standard place.
_AXIS_U, _AXIS_V = 0.052, 0.054


def _lids(eyes: Eyes, u: Floats) -> tuple[Floats, Floats]:
    """Heights of the upper and the lower lid at u, the distance outwards from the eye's centre."""
    t = np.clip((u - _AXIS_U) / eyes.half_width, -1, 1)
    axis = _AXIS_V - eyes.tilt * t
    upper = axis - eyes.upper * np.clip(1 - np.abs(t + 0.16 * (1 - t * t)) ** 2.3, 0, 1) ** 0.85
    lower = axis + eyes.lower * np.clip(1 - np.abs(t - 0.14 * (1 - t * t)) ** 2.2, 0, 1) ** 0.95
    return upper, lower


def paint_eyes(surface: Surface, person: Person) -> None:
    """Both eyes: ball, iris, pupil, catchlight, lids, crease and lashes."""
    eyes = person.eyes
    catch = -0.035 if person.light.direction[0] < 0 else 0.035
    tones = np.asarray((0.54, 0.48, 0.44), dtype=np.float32) * (1 - 0.55 * person.melanin)
    for side in (-1.0, 1.0):
        where, part = surface.frame.window(side * 0.5 - 0.48, side * 0.5 + 0.48, -0.36, 0.32)
        u, v = side * (part.x - side * 0.5), part.y
        upper, lower = _lids(eyes, u)
        ends = eyes.half_width - np.abs(u - _AXIS_U)
        open_ = np.minimum(np.minimum(v - upper, lower - v), ends)
        _paint_lids(surface, where, person, (u, v, upper, lower))
        mask = cover(open_, part.scale, 1.4)
        corner = smoothstep(0.50, 1.0, np.abs(u - _AXIS_U) / eyes.half_width)
        shade = np.clip(1 - 0.55 * bell(v - upper, 0.045) - 0.68 * corner, 0.06, 1)
        white = np.stack([tone * shade**power for tone, power in zip(tones, (0.85, 1.0, 1.1), strict=True)])
        surface.tint(where, mask, white)
        surface.tint(where, mask * 0.5 * bell(u - _AXIS_U + eyes.half_width - 0.02, 0.03), linear((0.72, 0.42, 0.40)))
        _paint_iris(surface, where, person, (u, v, mask, shade))
        spot = bump(part, side * 0.5 + catch, -0.032, 0.015, 0.015) * mask
        surface.tint(where, np.clip(1.1 * spot, 0, 0.95), np.full(3, 0.9, dtype=np.float32))
        surface.planes[GLOSS][where] *= 1 - 0.8 * mask
        surface.planes[EYE][where] += mask


def _paint_iris(surface: Surface, where: Window, person: Person, local: tuple[Floats, ...]) -> None:
    eyes = person.eyes
    u, v, mask, shade = local
    r = np.hypot(u, v - 0.008) / eyes.iris
    colour = linear(eyes.iris_colour)[:, None, None] * shade
    ring = 1 - 0.75 * smoothstep(0.72, 1.0, r) + 0.35 * bell(r - 0.6, 0.15) * smoothstep(-0.05, 0.08, v)
    surface.tint(where, mask * cover((1 - r) * eyes.iris, surface.frame.scale, 1.5), colour * ring)
    surface.tint(
        where,
        mask * cover((0.42 - r) * eyes.iris, surface.frame.scale, 1.3),
        np.full(3, 0.004, dtype=np.float32),
    )


def _corner_tail(du: Floats, dv: Floats) -> Floats:
    """The short shade where the upper lid runs past the outer corner."""
    tail: Floats = bell(du, 0.045) * bell(dv - 0.35 * du, 0.013)
    return tail


def _paint_lids(surface: Surface, where: Window, person: Person, local: tuple[Floats, ...]) -> None:
    """Lash line, crease and lower rim on the skin around the opening."""
    eyes = person.eyes
    u, v, upper, lower = local
    t = (u - _AXIS_U) / eyes.half_width
    along = smoothstep(1.22, 0.85, np.abs(t))
    lash = bell(v - upper + 0.006, 0.013 + 0.010 * eyes.lash * smoothstep(-1.0, 0.9, t)) * along
    lash = np.maximum(lash, 0.8 * _corner_tail(u - _AXIS_U - 1.04 * eyes.half_width, v - _AXIS_V + eyes.tilt))
    gap = 0.055 + 0.035 * eyes.crease
    crease = bell(v - upper + gap * (1 - 0.35 * np.clip(-t, 0, 1)), 0.014) * along * eyes.crease
    lid = smoothstep(gap, 0.0, np.abs(v - upper + 0.5 * gap) * 2) * along
    rim = bell(v - lower, 0.013) * along
    bag = bell(v - lower - 0.10 + 0.05 * t * t, 0.022) * smoothstep(1.1, 0.4, np.abs(t))
    factor = (1 - 0.50 * crease) * (1 - 0.10 * lid) * (1 - 0.30 * rim) * (1 - 0.22 * eyes.bag * bag)
    surface.scale(where, factor, (0.85, 1.0, 1.05))
    dark = linear((0.12, 0.08, 0.07))
    surface.tint(where, np.clip((0.62 + 0.3 * eyes.lash) * lash, 0, 0.95), dark)


def eye_lines(person: Person) -> list[Line]:
    """Lids, crease, iris and pupil as pencil lines."""
    eyes = person.eyes
    lines: list[Line] = []
    u = np.linspace(-1, 1, 36) * eyes.half_width + _AXIS_U
    upper, lower = _lids(eyes, u)
    for side in (-1.0, 1.0):
        x = side * (0.5 + u)
        lines.append(Line(curve_of(x, upper - 0.006), 0.75 + 0.25 * eyes.lash, 0.024))
        lines.append(Line(curve_of(x[12:], upper[12:] - 0.012), 0.15 + 0.3 * eyes.lash, 0.020))
        lines.append(Line(curve_of(x[4:-1], lower[4:-1]), 0.75, 0.020))
        gap = 0.055 + 0.035 * eyes.crease
        lift = gap * (1 - 0.35 * np.clip(-u / eyes.half_width, 0, 1))
        lines.append(Line(curve_of(x[3:], upper[3:] - lift[3:]), 0.25 + 0.55 * eyes.crease, 0.018))
        lines.extend(_iris_lines(eyes, side))
        bag = lower + 0.10 - 0.05 * (u / eyes.half_width) ** 2
        lines.append(Line(curve_of(x[6:28], bag[6:28]), 0.40 * eyes.bag, 0.022))
    return lines


def _iris_lines(eyes: Eyes, side: float) -> list[Line]:
    """Iris rings and the pupil, cut where the lids cover them; dark irises are filled more firmly."""
    lines: list[Line] = []
    dark = 1.35 - float(np.mean(eyes.iris_colour))
    angle = np.linspace(0, 2 * np.pi, 40)
    for radius, pressure in ((1.0, 1.2), (0.80, 0.45 * dark), (0.62, 0.5 * dark), (0.36, 1.3), (0.16, 1.4)):
        u, v = radius * eyes.iris * np.cos(angle), radius * eyes.iris * np.sin(angle) + 0.008
        upper, lower = _lids(eyes, u)
        seen = (v > upper) & (v < lower)
        catch = np.hypot(side * u - 0.035, v + 0.032) < 0.03
        points = curve_of(side * (0.5 + u), v)
        keep = np.flatnonzero(seen & ~catch)
        runs = np.split(keep, np.flatnonzero(np.diff(keep) > 1) + 1)
        lines.extend(Line(points[run], pressure, 0.022) for run in runs if len(run) > 2)
    return lines


def _brow_axis(person: Person, u: Floats) -> tuple[Floats, Floats]:
    """Height of the brow's middle and its half thickness at u, outwards from the eye's centre."""
    brows = person.brows
    t = np.clip((u + 0.24) / (brows.reach + 0.24), 0, 1)
    arch = np.sin(np.pi * np.clip(t, 0, 1) ** 1.3 * 0.94) * brows.arch
    y = brows.y + 0.03 - arch - brows.tilt * (t - 0.5) + 0.10 * np.clip(t - 0.70, 0, 1)
    body = np.minimum(1, 0.55 + 3.2 * t) * (1 - 0.60 * np.clip((t - 0.45) / 0.55, 0, 1))
    return y, brows.thickness * body


def paint_brows(surface: Surface, person: Person, tile: Floats) -> None:
    """Brow hair over the brow ridge, denser in the middle, feathered at both ends."""
    brows = person.brows
    colour = linear(person.hair_colour) * np.float32(0.75)
    if person.hair_colour[0] > 0.5:
        colour = 0.5 * colour + 0.5 * linear((0.30, 0.22, 0.16))
    for side in (-1.0, 1.0):
        where, part = surface.frame.window(side * 0.5 - 0.62, side * 0.5 + 0.62, brows.y - 0.30, brows.y + 0.26)
        u, v = side * (part.x - side * 0.5), part.y
        middle, half = _brow_axis(person, u)
        ends = smoothstep(-0.27, -0.14, u) * smoothstep(brows.reach + 0.02, brows.reach - 0.10, u)
        slant = 40 * (u + 0.6 * (v - middle) * smoothstep(0.4, -0.2, u)) + 3.1 * side
        hairs = strand_noise(tile, slant + 0 * v, 9 * (v - middle))
        body = smoothstep(1.45, 0.25, np.abs(v - middle) / half + 0.10 * hairs)
        surface.tint(where, brows.density * ends * body * np.clip(0.86 + 0.14 * hairs, 0, 1), colour)


def brow_lines(person: Person, rng: np.random.Generator) -> list[Line]:
    """Short hairs along both brows, upright at the nose and swept outwards."""
    brows = person.brows
    pale = 1.1 - 0.6 * float(np.mean(person.hair_colour))
    lines: list[Line] = []
    for side in (-1.0, 1.0):
        u = np.linspace(-0.25, brows.reach - 0.08, 46) + rng.normal(0, 0.008, 46)
        middle, half = _brow_axis(person, u)
        t = np.clip((u + 0.24) / (brows.reach + 0.24), 0, 1)
        low = middle + half * rng.uniform(0.2, 1.0, 46)
        length = 0.07 + 0.06 * t
        rise = (1.6 * (1 - t) ** 2 + 0.35 - 0.6 * t) * half * 1.4
        step = np.linspace(0, 1, 5)[None, :]
        x = u[:, None] + step * (length * (0.35 + 0.65 * t))[:, None]
        root = low - 0.25 * half - middle
        y = root[:, None] - step * rise[:, None] + _brow_axis(person, x)[0]
        pressure = 0.52 * pale * brows.density * np.clip(0.55 + 1.2 * t, 0, 1)  # light at the nose
        lines.extend(Line(curve_of(side * (0.5 + x[k]), y[k]), float(pressure[k]), 0.018) for k in range(len(u)))
    return lines


def paint_nose(surface: Surface, person: Person) -> None:
    """Nostrils, wing creases, underside; the ridge itself is relief."""
    nose = person.nose
    x0, base = midline(person, nose.tip_y), nose.tip_y + 0.125
    where, part = surface.frame.window(x0 - 0.5, x0 + 0.5, nose.tip_y - 0.2, nose.tip_y + 0.35)
    dark = np.zeros(part.shape, dtype=np.float32)
    crease = np.zeros(part.shape, dtype=np.float32)
    for side in (-1.0, 1.0):
        u = side * (part.x - x0)
        hole = ((u - 0.125) / (0.072 * nose.nostril)) ** 2 + ((part.y - base + 0.22 * (u - 0.125)) / 0.032) ** 2
        dark = np.maximum(dark, smoothstep(1.5, 0.5, hole.astype(np.float32)))
        ring = np.hypot((u - nose.wing + 0.10) / 0.105, (part.y - nose.tip_y - 0.05) / 0.125)
        outer = smoothstep(-0.2, 0.45, u - nose.wing + 0.12) * smoothstep(nose.tip_y - 0.10, nose.tip_y, part.y)
        crease += bell(ring - 1, 0.13) * outer * smoothstep(0.0, 0.1, u)
    under = bump(part, x0, base + 0.035, 0.15, 0.035)
    surface.scale(where, (1 - 0.42 * np.clip(crease, 0, 1)) * (1 - 0.12 * under), (0.85, 1.0, 1.0))
    surface.tint(where, 0.85 * dark, linear((0.22, 0.10, 0.08)))


def nose_lines(person: Person) -> list[Line]:
    """Wings, nostrils, tip, and a broken line down one side of the bridge, away from the light."""
    nose = person.nose
    x0, base = midline(person, nose.tip_y), nose.tip_y + 0.125
    shadow = -1.0 if person.light.direction[0] > 0 else 1.0
    lines: list[Line] = []
    for side in (-1.0, 1.0):
        angle = np.linspace(-1.1, 1.9, 24)
        wing = curve_of(
            x0 + side * (nose.wing - 0.10 + 0.105 * np.cos(angle)), nose.tip_y + 0.05 + 0.12 * np.sin(angle)
        )
        lines.append(Line(wing, 0.85 if side == shadow else 0.65, 0.022))
        x = np.linspace(0.06, 0.195, 12)
        hole = base - 0.22 * (x - 0.125) - 0.03 * np.sin(np.pi * (x - 0.06) / 0.135)
        lines.append(Line(curve_of(x0 + side * x, hole + 0.012), 1.5, 0.036))
        lines.append(Line(curve_of(x0 + side * x, hole + 0.026), 0.8, 0.024))
        tip = np.linspace(0.02, 0.09, 8)
        lines.append(Line(curve_of(x0 + side * tip, base + 0.035 - 0.25 * tip), 0.6, 0.02))
    y = np.linspace(-0.16, nose.tip_y - 0.06, 24)
    rise = np.clip((y + 0.2) / (nose.tip_y + 0.2), 0, 1)
    width = 1.15 * (nose.bridge + (nose.tip_width - nose.bridge) * rise**2) + 0.05 * np.clip(-y / 0.16, 0, 1) ** 2
    lines.append(Line(curve_of(x0 * rise + shadow * width, y), 0.20, 0.05))
    return lines


def lips(person: Person, t: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Heights of the upper lip's two edges and the lower lip's two at t in [-1, 1]; teeth show between."""
    mouth = person.mouth
    t = np.clip(t, -1, 1)
    line = mouth.y - mouth.curl * t * t + 0.010 * np.cos(3 * np.pi * t) * (1 - t * t)
    bow = 1 - mouth.bow * bell(t, 0.13) + 0.10 * bell(np.abs(t) - 0.22, 0.12)
    upper = line - mouth.upper * bow * np.clip(1 - np.abs(t) ** 1.9, 0, 1)
    parted = line + mouth.opening * np.clip(1 - np.abs(t) ** 2.4, 0, 1)
    lower = parted + mouth.lower * np.clip(1 - np.abs(t) ** 2.2, 0, 1) ** 0.9
    return upper, line, parted, lower


def paint_mouth(surface: Surface, person: Person) -> None:
    """Lips, the line between them, the corners and the shade under the lower lip."""
    mouth = person.mouth
    x0 = midline(person, mouth.y)
    reach = mouth.half_width + 0.15
    where, part = surface.frame.window(x0 - reach, x0 + reach, mouth.y - 0.3, mouth.y + 0.4)
    t = (part.x - x0) / mouth.half_width
    upper, line, parted, lower = lips(person, t)
    inside = np.minimum(np.minimum(part.y - upper, lower - part.y), (1 - np.abs(t)) * mouth.half_width * 0.5)
    red = np.asarray((0.72, 0.27, 0.28), dtype=np.float32) * (1 - 0.45 * person.melanin)
    strength = 0.30 + 0.45 * mouth.redness
    colour = (1 - strength) * linear(person.skin) * np.float32(0.9) + strength * linear(tuple(red))
    level = 1 - 0.22 * smoothstep(0.02, -0.02, part.y - line)
    surface.tint(where, 0.92 * cover(inside, part.scale, 2.2), colour[:, None, None] * level)
    surface.planes[GLOSS][where] += 0.25 * cover(inside, part.scale, 3) * smoothstep(-0.02, 0.02, part.y - line)
    teeth = cover(np.minimum(part.y - line, parted - part.y), part.scale, 1.5) * smoothstep(1.0, 0.6, np.abs(t))
    white = np.asarray((0.66, 0.62, 0.56), dtype=np.float32)[:, None, None] * (1 - 0.35 * np.abs(t))
    surface.tint(where, teeth * min(1.0, mouth.opening / 0.03), white.astype(np.float32))
    seam = bell(part.y - line, 0.016) * smoothstep(1.04, 0.86, np.abs(t))
    corner = bump(part, x0 - mouth.half_width, mouth.y - mouth.curl, 0.030, 0.026)
    corner = corner + bump(part, x0 + mouth.half_width, mouth.y - mouth.curl, 0.035, 0.028)
    seam = (1 - min(0.6, 8 * mouth.opening)) * (
        seam + (mouth.opening > 0) * bell(part.y - parted, 0.016) * smoothstep(1.04, 0.86, np.abs(t))
    )
    surface.tint(where, np.clip(0.78 * seam + 0.30 * corner, 0, 0.9), linear((0.26, 0.11, 0.10)))
    under = bell(part.y - lower - 0.035, 0.03) * smoothstep(0.75, 0.25, np.abs(t))
    surface.scale(where, 1 - 0.16 * under, (0.9, 1.0, 1.0))


def mouth_lines(person: Person) -> list[Line]:
    """The seam, stressed at the corners, both lip edges broken, the shade below."""
    mouth = person.mouth
    x0 = midline(person, mouth.y)
    t = np.linspace(-1, 1, 48)
    upper, line, parted, lower = lips(person, t)
    x = x0 + t * mouth.half_width
    lines = [Line(curve_of(x, line), 0.6, 0.026), Line(curve_of(x[4:-4], upper[4:-4]), 0.5, 0.018)]
    lines.append(Line(curve_of(x[12:-12], lower[12:-12]), 0.6, 0.022))
    lines.append(Line(curve_of(x[15:-15], lower[15:-15] + 0.04), 0.35, 0.03))
    if mouth.opening:
        lines.append(Line(curve_of(x[2:-2], parted[2:-2]), 0.6, 0.022))
    corners = (slice(0, 6), slice(-6, None))
    return lines + [Line(curve_of(x[end], line[end]), 0.9, 0.03) for end in corners]


def fold_lines(person: Person) -> list[Line]:
    """Folds from nose to mouth, deeper with age."""
    nose, mouth = person.nose, person.mouth
    lines: list[Line] = []
    for side in (-1.0, 1.0):
        t = np.linspace(0, 1, 16)
        x = midline(person, nose.tip_y) + side * (nose.wing + 0.04 + (mouth.half_width + 0.10 - nose.wing) * t**0.8)
        y = nose.tip_y + 0.02 + (mouth.y - 0.06 - nose.tip_y) * t
        lines.append(Line(curve_of(x, y), 0.04 + 0.5 * max(0.0, person.age - 0.3), 0.030))
    return lines


def paint_folds(surface: Surface, person: Person) -> None:
    """The same folds, and forehead lines, as faint shade on the skin."""
    mouth, nose = person.mouth, person.nose
    where, part = surface.frame.window(-1.0, 1.0, nose.tip_y - 0.1, mouth.y + 0.15)
    span = mouth.y - 0.06 - nose.tip_y
    t = np.clip((part.y - nose.tip_y - 0.02) / span, 0, 1)
    fold = np.zeros(part.shape, dtype=np.float32)
    for side in (-1.0, 1.0):
        u = side * (part.x - midline(person, nose.tip_y))
        at = nose.wing + 0.04 + (mouth.half_width + 0.10 - nose.wing) * t**0.8
        fold += bell(u - at, 0.03) * smoothstep(0, 0.15, t) * smoothstep(1, 0.8, t)
    surface.scale(where, 1 - (0.02 + 0.24 * person.age) * fold)
    where, part = surface.frame.window(-0.8, 0.8, -1.1, -0.5)
    depth = 0.16 * max(0.0, person.age - 0.45)
    for y in (-0.98, -0.82, -0.66):
        crease = bell(part.y - y - 0.05 * part.x**2 + 0.01 * np.sin(7 * part.x + 9 * y), 0.016)
        surface.scale(where, 1 - depth * crease * smoothstep(0.7, 0.35, np.abs(part.x)))
