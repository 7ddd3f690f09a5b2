"""Owns beards: stubble, moustache, goatee, full beard; knows nothing of the hair on the head or of light."""

from __future__ import annotations

import numpy as np

from .anatomy import midline
from .canvas import GLOSS, Surface, linear
from .curves import Outline
from .person import Person
from .raster import Floats, blur, cover, smoothstep, strand_noise


def paint_beard(surface: Surface, person: Person, head: Outline, tile: Floats) -> None:
    """Stubble darkens the skin; moustache, goatee and full beard cover it with hair."""
    extras = person.extras
    if extras.stubble == 0:
        return
    where, part = surface.frame.window(-1.25, 1.25, -0.05, person.head.chin_y + 0.12)
    x0 = midline(person, person.mouth.y)
    u, y = np.abs(part.x - x0), part.y
    inside = cover(head.polar(part)[1], part.scale)
    jaw, chin, lip = _jaw(person, u, y) * inside, _chin(person, u, y) * inside, _lip(person, u, y)
    field = np.maximum(np.maximum(jaw, lip), chin)
    shaved = blur(field, 0.05 * part.scale) * inside
    surface.scale(where, 1 - 0.30 * extras.stubble * shaved, (1.15, 1.0, 0.9))
    amount = np.maximum(np.maximum(jaw * extras.full_beard, chin * extras.chin_beard), lip * extras.moustache)
    if float(amount.max()) == 0:
        return
    across = part.x * 0.9 - 0.25 * np.sign(part.x - x0) * (y - person.mouth.y)
    hairs = strand_noise(tile, across * 30, 4 * y + 0 * across)
    mask = amount * smoothstep(-2.2, 0.0, hairs + 4 * (amount - 0.42))
    colour = linear(person.hair_colour)[:, None, None] * np.clip(0.95 + 0.25 * hairs, 0.3, 2)
    surface.tint(where, mask, colour)
    surface.comb(where, mask, 0.28 * np.sign(part.x - x0) + 0 * y, np.ones(part.shape, dtype=np.float32))
    surface.planes[GLOSS][where] *= 1 - 0.7 * mask


def _jaw(person: Person, u: Floats, y: Floats) -> Floats:
    """From the sideburns along the jaw, at a distance u from the face's middle."""
    mouth = person.mouth
    cheek = mouth.y - 0.06 - 0.95 * np.clip((u - 0.42) / 0.55, 0, 1) ** 1.6
    below = np.clip(y - mouth.y, 0, 1)
    return smoothstep(-0.03, 0.14, y - cheek) * smoothstep(0.30, 0.50, u + 0.9 * below) * smoothstep(0.0, 0.4, y)


def _chin(person: Person, u: Floats, y: Floats) -> Floats:
    """The chin and the strips that join it to the moustache."""
    mouth, bottom = person.mouth, person.head.chin_y
    patch = smoothstep(1.2, 0.65, np.hypot(u / 0.44, (y - bottom + 0.12) / (bottom - mouth.y - 0.22)))
    strip = smoothstep(0.15, 0.04, np.abs(u - mouth.half_width - 0.01))
    strip = strip * smoothstep(mouth.y - 0.12, mouth.y + 0.05, y) * smoothstep(bottom, mouth.y + 0.3, y)
    return np.maximum(patch, strip)


def _lip(person: Person, u: Floats, y: Floats) -> Floats:
    """The moustache between nose and upper lip, drooping past the corners."""
    mouth, nose = person.mouth, person.nose
    low = mouth.y - 0.3 * mouth.upper + 0.10 * smoothstep(0.35, 0.60, u)
    high = nose.tip_y + 0.20 + 0.22 * smoothstep(0.10, 0.65, u) * (mouth.y - nose.tip_y)
    return smoothstep(-0.02, 0.06, y - high) * smoothstep(0.03, -0.03, y - low) * smoothstep(0.62, 0.50, u)
