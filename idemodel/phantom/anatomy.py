"""Owns head, ears, neck and shoulders: outlines, relief, skin, cloth; knows nothing of hair or features."""

from __future__ import annotations

from typing import Any

import numpy as np

from .canvas import BLUE, GLOSS, GREEN, RED, SKIN, Surface, linear
from .curves import Line, Outline, Points, curve_of, spline, symmetric_outline
from .person import Head, Person
from .raster import Floats, Frame, bell, bump, cover, smooth_noise, smoothstep


def head_outline(head: Head) -> Outline:
    """The bare head seen from the front: skull, temples, cheeks, jaw, chin."""
    cheek, jaw, chin_y = head.cheek, head.jaw, head.chin_y
    half = [
        (0.0, -1.66),
        (0.48 * head.skull, -1.57),
        (0.85 * head.skull, -1.26),
        (1.02 * head.skull, -0.70),
        (0.99 * cheek, -0.15),
        (cheek, 0.25),
        (0.5 * (cheek + jaw) + 0.045, 0.72),
        (jaw, head.jaw_y),
        (0.52 * jaw + 0.5 * head.chin + 0.02, 0.5 * (head.jaw_y + chin_y) + 0.09),
        (head.chin, chin_y - 0.06),
        (0.0, chin_y),
    ]
    return symmetric_outline(half, (0.0, 0.15), head.lean)


def midline(person: Person, y: float) -> float:
    """Abscissa of the face's middle at height y: a slight turn moves what stands out, the eyes stay."""
    head = person.head
    return 0.05 * head.yaw * float(np.exp(-0.5 * ((y - 0.65) / 0.5) ** 2)) + head.lean * y


def head_relief(frame: Frame, person: Person, rho: Floats) -> Floats:
    """Height of the face over the picture plane, without hair."""
    head, nose, mouth = person.head, person.nose, person.mouth
    inside = np.clip(1 - np.clip(rho, 0, 1) ** 2.6, 1e-3, 1)
    z = np.float32(0.92) * np.sqrt(inside)
    z += _nose_relief(frame, person)
    mx = midline(person, mouth.y)
    for side in (-1, 1):
        z -= 0.105 * bump(frame, side * 0.44, -0.04, 0.22, 0.13)
        z += 0.075 * bump(frame, side * 0.50, 0.0, 0.19, 0.11)
        z += 0.045 * bump(frame, side * 0.50, person.brows.y + 0.02, 0.30, 0.09)
        z += head.cheekbone * bump(frame, side * 0.68, 0.50, 0.26, 0.22)
        z -= 0.035 * bump(frame, side * 0.74, 1.02, 0.20, 0.24)
        z -= (0.012 + 0.035 * person.age) * bump(
            frame, mx + side * (mouth.half_width + 0.05), mouth.y + 0.03, 0.06, 0.12
        )
    z += 0.10 * bump(frame, mx, mouth.y - 0.02, 0.42, 0.26)
    z += 0.045 * bump(frame, mx, mouth.y - 0.55 * mouth.upper, 0.30, 0.045)
    z += 0.065 * bump(frame, mx, mouth.y + 0.60 * mouth.lower, 0.24, 0.055)
    z -= 0.030 * bump(frame, mx, mouth.y, 0.34, 0.022)
    z -= 0.055 * bump(frame, mx, mouth.y + mouth.lower + 0.12, 0.26, 0.07)
    z += 0.085 * bump(frame, mx, head.chin_y - 0.20, 0.20, 0.12)
    z -= 0.022 * bump(frame, midline(person, nose.tip_y + 0.25), 0.5 * (nose.tip_y + 0.16 + mouth.y), 0.035, 0.09)
    return z


def _nose_relief(frame: Frame, person: Person) -> Floats:
    """Bridge, tip and wings; the ridge rises to the tip and drops below it."""
    nose = person.nose
    x0 = midline(person, nose.tip_y)
    y = frame.y
    rise = np.clip((y + 0.20) / (nose.tip_y + 0.20), 0, 1)
    profile = nose.height * (0.16 * smoothstep(-0.32, 0.0, y) + 0.84 * rise**1.5)
    profile = profile * (1 - smoothstep(nose.tip_y - 0.03, nose.tip_y + 0.26, y))
    width = nose.bridge + (nose.tip_width - nose.bridge) * rise**2
    centre = x0 * rise
    z = profile * np.exp(-(np.abs((frame.x - centre) / (width * 1.05)) ** 2.0))
    z = z + 0.06 * bump(frame, x0, nose.tip_y - 0.01, 0.10, 0.10)
    for side in (-1, 1):
        z = z + 0.19 * bump(frame, x0 + side * (nose.wing - 0.085), nose.tip_y + 0.045, 0.070, 0.085)
    relief: Floats = z.astype(np.float32)
    return relief


def paint_body(surface: Surface, person: Person, noise: Floats) -> None:
    """Shoulders, collar and neck, behind the head."""
    frame, head = surface.frame, person.head
    x = np.abs(frame.x)
    neck = head.neck + 0.10 * smoothstep(1.9, 2.5, frame.y) + 0.03 * smoothstep(1.5, 1.1, frame.y)
    z = -0.75 + 0.55 * np.sqrt(np.clip(1 - (x / (neck * 1.02)) ** 2, 0.02, 1))
    z = z + 0.03 * bump(frame, -0.30, 2.35, 0.09, 0.30) + 0.03 * bump(frame, 0.30, 2.35, 0.09, 0.30)
    mask = cover(np.minimum(neck - x, frame.y - 0.6), frame.scale)
    skin = linear(person.skin) * np.float32(0.90)
    chin = 1 - 0.45 * smoothstep(0.42, 0.0, frame.y - head.chin_y + 0.30 * x * x)
    surface.lay(
        mask,
        {
            RED: skin[0] * chin,
            GREEN: skin[1] * chin * 0.97,
            BLUE: skin[2] * chin * 0.95,
            GLOSS: 0.06,
            SKIN: 1.0,
        },
        z.astype(np.float32),
    )
    surface.mark("body")
    _paint_cloth(surface, person, noise)


def _paint_cloth(surface: Surface, person: Person, noise: Floats) -> None:
    """The garment, over the neck below the collar's edge."""
    frame = surface.frame
    x = np.abs(frame.x)
    edge = collar_edge(person, x)
    shoulder = shoulder_edge(person, x)
    distance = frame.y - np.where(x < person.head.neck + 0.12, np.maximum(edge, shoulder), shoulder)
    z = -0.62 + 0.10 * np.sqrt(np.clip(frame.y - shoulder, 0, 1)) - 0.10 * x + 0.012 * noise
    z = z + 0.05 * bell(frame.y - edge - 0.07, 0.05) * smoothstep(1.3, 0.8, x)
    cloth = linear(person.extras.cloth)
    weave = 1 + 0.03 * noise
    colours: dict[int, Any] = {RED + k: cloth[k] * weave for k in range(3)}
    surface.lay(cover(distance.astype(np.float32), frame.scale), colours | {GLOSS: 0.02}, z.astype(np.float32))
    surface.mark("cloth")
    if person.extras.collar != "vee":
        band = bell(distance - 0.10, 0.018) * smoothstep(1.15, 0.95, x)
        surface.scale((slice(None), slice(None)), 1 - 0.35 * band)


def shoulder_edge(person: Person, x: Floats) -> Floats:
    """Height of the shoulder line at |x|."""
    start = person.head.neck + 0.06
    line: Floats = 2.10 + 0.42 * np.clip(x - start, 0, None) - 0.25 * smoothstep(start + 0.1, start - 0.12, x)
    return line


def collar_edge(person: Person, x: Floats) -> Floats:
    """Height of the collar's upper edge at |x|, where the neck ends and the cloth begins."""
    width = person.head.neck + 0.12
    t = np.clip(x / width, 0, 1)
    if person.extras.collar == "crew":
        edge: Floats = 2.00 + 0.36 * np.sqrt(np.clip(1 - t * t, 0, 1))
    elif person.extras.collar == "vee":
        edge = 2.02 + 0.75 * (1 - t)
    else:
        edge = 1.92 + 0.62 * np.clip(1 - t, 0, 1) ** 0.8
    return edge


def body_lines(person: Person) -> list[Line]:
    """Neck sides, collar, shoulders."""
    head = person.head
    lines = []
    for side in (-1.0, 1.0):
        y = np.linspace(1.25, 2.12, 20)
        spread = head.neck + 0.10 * np.clip((y - 1.9) / 0.6, 0, 1) ** 2
        lines.append(Line(curve_of(side * spread, y), 0.75, 0.022, "body"))
        x = np.linspace(head.neck + 0.05, 2.0, 40).astype(np.float32)
        lines.append(Line(curve_of(side * x, shoulder_edge(person, x)), 0.6, 0.022, "cloth"))
        x = np.linspace(head.neck + 0.10, 0.0, 30).astype(np.float32)
        edge = np.maximum(collar_edge(person, x), shoulder_edge(person, x))
        lines.append(Line(curve_of(side * x, edge), 0.7, 0.022, "cloth"))
        if person.extras.collar != "vee":
            lines.append(Line(curve_of(side * x, edge + 0.10), 0.4, 0.018, "cloth"))
    return lines


def ear_points(person: Person, side: float) -> Points:
    """The ear's outer rim, top to lobe."""
    head = person.head
    x, size = head.cheek, head.ear
    rim = [
        (-0.04, -0.20),
        (0.07, -0.30),
        (0.17, -0.22),
        (0.19, 0.0),
        (0.14, 0.22),
        (0.09, 0.40),
        (0.02, 0.46),
        (-0.05, 0.36),
    ]
    knots = np.array([(side * (x + u * size), 0.16 + v * size) for u, v in rim])
    return spline(knots, per_span=8)


def paint_ears(surface: Surface, person: Person) -> None:
    """Both ears, behind the face: rim, hollow, lobe."""
    skin = linear(person.skin) * np.asarray((1.0, 0.92, 0.90), dtype=np.float32)
    for side in (-1.0, 1.0):
        rim = ear_points(person, side)
        outline = Outline((side * (person.head.cheek + 0.03), 0.22), rim)
        frame = surface.frame
        rho, distance, _ = outline.polar(frame)
        z = -0.15 + 0.16 * np.sqrt(np.clip(1 - rho**4, 1e-3, 1)) - 0.10 * bell(rho, 0.45)
        planes: dict[int, Any] = {RED + k: skin[k] for k in range(3)}
        hollow = 1 - 0.45 * bell(rho - 0.35, 0.22)
        planes = {k: v * hollow for k, v in planes.items()} | {GLOSS: 0.06, SKIN: 1.0}
        surface.lay(cover(distance, frame.scale), planes, z.astype(np.float32))


def ear_lines(person: Person) -> list[Line]:
    """Rim and inner fold of both ears."""
    lines = []
    for side in (-1.0, 1.0):
        rim = ear_points(person, side)
        inner = (rim - (side * person.head.cheek, 0.2)) * (0.55, 0.62) + (
            side * (person.head.cheek + 0.02),
            0.18,
        )
        lines.append(Line(rim, 0.8, 0.022, "ears"))
        lines.append(Line(inner[8:36], 0.55, 0.02, "ears"))
    return lines


def paint_head(surface: Surface, person: Person, outline: Outline, rng: np.random.Generator) -> None:
    """The bare face: skin with blush, mottle, freckles, tired eyes, and its relief."""
    frame = surface.frame
    rho, distance, _ = outline.polar(frame)
    tone = linear(person.skin)
    mottle = smooth_noise(rng, frame, 0.16) * 0.022 + smooth_noise(rng, frame, 0.05) * 0.028
    blush = np.zeros(frame.shape, dtype=np.float32)
    for side in (-1, 1):
        blush += 0.8 * bump(frame, side * 0.68, 0.58, 0.24, 0.20)
    blush += 0.7 * bump(frame, midline(person, 0.6), person.nose.tip_y + 0.02, 0.17, 0.13)
    blush += 0.35 * bump(frame, 0.0, person.head.chin_y - 0.15, 0.20, 0.12)
    red = (0.16 - 0.06 * person.melanin) * blush
    tired = np.zeros(frame.shape, dtype=np.float32)
    for side in (-1, 1):
        tired += bump(frame, side * 0.46, 0.20, 0.19, 0.05) * (0.05 + 0.13 * person.eyes.bag)
        tired += bump(frame, side * 0.30, -0.02, 0.09, 0.13) * 0.16
        tired += bump(frame, side * 0.50, -0.16, 0.22, 0.055) * 0.10
    level = (1 + mottle) * (1 - tired)
    planes: dict[int, Any] = {
        RED: tone[0] * level * (1 - 0.25 * red),
        GREEN: tone[1] * level * (1 - 1.3 * red),
        BLUE: tone[2] * level * (1 - 1.2 * red),
        GLOSS: 0.16 + 0.10 * bump(frame, 0, -0.7, 0.5, 0.4) + 0.05 * bump(frame, 0, 0.5, 0.12, 0.2),
        SKIN: 1.0,
    }
    surface.lay(cover(distance, frame.scale), planes, head_relief(frame, person, rho))
    surface.mark("face")


def head_lines(person: Person, outline: Outline) -> list[Line]:
    """The jaw from ear to ear (the skull above is under the hair), stressed under the chin."""
    points = outline.points
    low = points[points[:, 1] > -0.9]
    order = np.argsort(np.arctan2(low[:, 0], low[:, 1] + 0.3), kind="stable")
    skull = points[points[:, 1] < -0.2]
    lines = [Line(low[order], 0.65, 0.024, "face")]
    if person.hair.front == "none" or person.hair.cut == "buzz":
        order = np.argsort(np.arctan2(skull[:, 0], -skull[:, 1] - 0.2), kind="stable")
        lines.append(Line(skull[order], 0.7, 0.022, "face"))
    chin = low[(np.abs(low[:, 0]) < 0.5) & (low[:, 1] > 1.2)]
    chin = chin[np.argsort(chin[:, 0], kind="stable")]
    lines.append(Line(chin, 0.25, 0.03, "face"))
    return lines
