"""Owns the hair of the head: silhouettes, hairlines, flow of the strands; knows nothing of light or pencil."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from .canvas import GLOSS, HAIR, RED, STRAND_X, STRAND_Y, Surface, linear
from .curves import Line, Outline, curve_of, symmetric_outline
from .person import Hair, Head, Person
from .raster import Floats, Frame, bell, cover, smoothstep, strand_noise


@dataclass(frozen=True)
class Flow:
    """Strand coordinates in face units: `across` is constant along a strand, `along` runs with it.

    `strand` and `lock` are the fine and the coarse texture read there, about unit deviation.
    """

    across: Floats
    along: Floats
    strand: Floats
    lock: Floats


def strand_tile(rng: np.random.Generator) -> Floats:
    """The (512, 64) periodic noise that every strand texture reads, unit deviation."""
    raw = rng.standard_normal((512, 64)).astype(np.float32)
    long = ndimage.gaussian_filter(raw, (1.3, 1.3), mode="wrap")
    tile: Floats = (long / long.std()).astype(np.float32)
    return tile


def hair_outline(hair: Hair, head: Head) -> Outline:
    """The silhouette of the hair; short cuts close over the ears, long ones hang beside the neck."""
    top, v, length = hair.top, hair.volume, hair.length
    width = head.skull + v
    if length < 1:
        width = max(width - 0.07, head.skull + 0.03)
    half = [
        (0.0, top),
        (0.45 * width, top + 0.11),
        (0.81 * width, top + 0.42),
        (1.02 * width + 0.02, top + 1.0),
    ]
    if length < 1:
        side = head.cheek + 0.5 * v
        half += [(side + 0.07, -0.35), (side + 0.03, 0.0), (side - 0.03, 0.35), (0.8, 0.75), (0.0, 1.0)]
    elif length < 2.2:
        half += [
            (1.10 * width + 0.04, -0.3),
            (1.15 * width + 0.07, 0.35),
            (1.13 * width + 0.06, 0.5 * (0.35 + length)),
        ]
        half += [(1.05 * width, length), (0.72, length + 0.12), (0.0, length + 0.15)]
    else:
        half += [(1.10 * width + 0.04, -0.2), (1.16 * width + 0.08, 0.7), (1.22 * width + 0.10, 1.6)]
        half += [(1.26 * width + 0.12, 2.6), (0.9, 3.4), (0.0, 3.6)]
    return symmetric_outline(half, (0.0, -0.1), head.lean)


def hairline(person: Person, x: Floats) -> Floats:
    """Height of the hair's front edge at x: the face is bare below it."""
    hair = person.hair
    far = np.abs(x)
    if hair.front == "fringe":
        low = -0.50 if hair.cut != "crop" else -0.86
        line: Floats = low + 0.10 * hair.part * x + 0.06 * np.cos(2.2 * x) - 0.05 * far
        return line
    line = hair.hairline + 0.30 * (far / 0.95) ** 3.5 - hair.recession * bell(far - 0.55, 0.20)
    if hair.front == "part":
        u = np.abs(x - hair.part)
        drop = 0.34 if hair.length < 1 and hair.cut != "curtains" else 0.72
        line = hair.hairline - 0.06 + drop * (u / (1 + 0.55 * abs(hair.part))) ** 1.25 + 0.16 * (far / 0.95) ** 3.5
    return line


def _side_opening(person: Person, y: Floats) -> Floats:
    """Half-width of the bare face at height y, between sideburns or curtains of hair."""
    hair, head = person.hair, person.head
    if hair.tucked:
        return head.cheek - 0.08 + 0.30 * smoothstep(-0.7, -0.1, y)
    if hair.length < 1:
        return head.cheek - 0.10 + 0.10 * smoothstep(-0.35, 0.35, y) + 0.05 * smoothstep(0.2, 0.5, y)
    side: Floats = hair.side + 0.03 * np.sin(2.1 * y + 4 * hair.part) - 0.16 * smoothstep(0.7, 1.8, y)
    return side


def _strands(tile: Floats, across: Floats, along: Floats, curl: float, locks: float = 13) -> Flow:
    fine = strand_noise(tile, across * 42, along * 4.0)
    lock = strand_noise(tile, across * locks + 40, along * (1.6 + 2 * curl) + 11)
    return Flow(across, along, fine, lock)


def _flow(person: Person, frame: Frame, tile: Floats, fields: tuple[Floats, ...], noise: Floats) -> Flow:
    """Where the strands run: beside the parting, fanning back from the brow, or falling from the crown."""
    hair = person.hair
    inner, outer, theta = fields
    if hair.front == "part":
        share = np.clip(inner, 0, None) / (np.clip(inner, 0, None) + np.clip(outer, 0, None) + 0.05)
        across, along = 0.75 * share, theta * 1.4
    elif hair.front == "fringe":
        dx, dy = frame.x - 0.3 * hair.part, frame.y - hair.top + 0.35
        across, along = 1.5 * np.arctan2(dx, dy), np.sqrt(dx * dx + dy * dy)
    else:
        dx, dy = frame.x - 0.2 * hair.part, frame.y - 0.55
        across, along = 1.6 * np.arctan2(dx, -dy), np.sqrt(dx * dx + dy * dy)
    wave = 0.035 * hair.wave * np.sin(4.4 * frame.y + 9 * hair.part + 1.5 * np.sign(frame.x))
    across = across + wave * smoothstep(-0.9, 0.3, frame.y) + 0.012 * noise
    if hair.curl:
        across = across + 0.13 * hair.curl * noise
    return _strands(
        tile,
        across.astype(np.float32),
        along.astype(np.float32),
        hair.curl,
        24 if hair.front == "fringe" else 13,
    )


def _hair_planes(person: Person, flow: Flow, shade: Floats | float) -> dict[int, Any]:
    """Colour, gloss and unit strand directions of hair along a flow."""
    down, right = np.gradient(flow.across)
    norm = 1 / (np.hypot(down, right) + 1e-6)
    colour = linear(person.hair_colour)
    level = shade * np.clip(1 + 0.20 * flow.strand + 0.13 * flow.lock, 0.25, 1.9)
    planes: dict[int, Any] = {RED + k: colour[k] * level for k in range(3)}
    gloss = np.clip(0.5 + 0.28 * flow.strand + 0.25 * flow.lock, 0.05, 1.6)
    return planes | {GLOSS: gloss, STRAND_X: -down * norm, STRAND_Y: right * norm, HAIR: 1.0}


def paint_back_hair(surface: Surface, person: Person, outline: Outline, tile: Floats, noise: Floats) -> None:
    """What falls behind ears and neck, and the bun."""
    hair, frame = person.hair, surface.frame
    if hair.cut == "bun":
        bun = Outline((0.10 * hair.part, -1.90), curve_of(*_circle(0.10 * hair.part, -1.90, 0.42, 0.34)))
        rho, distance, theta = bun.polar(frame)
        across = np.float32(0.4) * rho + np.float32(0.10) * theta + 0.02 * noise
        flow = _strands(tile, across, theta, 0.0)
        z = -0.3 + 0.35 * np.sqrt(np.clip(1 - rho**2, 0.01, 1))
        surface.lay(cover(distance + 0.012 * flow.strand, frame.scale, 1.5), _hair_planes(person, flow, 0.9), z)
    if hair.length < 0.4:
        return
    rho, distance, theta = outline.polar(frame)
    across = (
        frame.x / (1.1 + 0.12 * np.clip(frame.y, -3, 4))
        + 0.03 * hair.wave * np.sin(4.4 * frame.y)
        + (0.012 + 0.12 * hair.curl) * noise
    )
    flow = _strands(tile, across.astype(np.float32), (frame.y + 0 * across) * 1.2, hair.curl)
    rim = distance + 0.02 * flow.lock + 0.012 * flow.strand + 0.05 * hair.curl * noise
    edge = np.minimum(rim, hair.length + 0.05 * flow.lock + 0.05 * flow.strand - frame.y)
    z = -0.75 + 0.30 * np.sqrt(np.clip(distance, 0, 1)) + 0.015 * flow.lock
    shade = 0.45 + 0.55 * smoothstep(0.35, 0.05, distance)
    surface.lay(cover(edge, frame.scale, 1.6), _hair_planes(person, flow, shade), z)


def _circle(cx: float, cy: float, rx: float, ry: float) -> tuple[Floats, Floats]:
    angle = np.linspace(-np.pi, np.pi, 72, endpoint=False)
    return cx + rx * np.cos(angle), cy + ry * np.sin(angle)


def paint_front_hair(surface: Surface, person: Person, outline: Outline, tile: Floats, noise: Floats) -> None:
    """The hair over forehead, temples and, for curtains, cheeks."""
    hair, frame = person.hair, surface.frame
    if hair.front == "none":
        return
    rho, outer, theta = outline.polar(frame)
    line, side = hairline(person, frame.x), _side_opening(person, frame.y)
    inner = -_soft_min(frame.y - line, side - np.abs(frame.x), 0.30 if hair.front == "fringe" else 0.10)
    flow = _flow(person, frame, tile, (inner, outer, theta), noise)
    rough = 0.5 * flow.strand + 0.5 * flow.lock
    tips = strand_noise(tile, flow.across * 95, flow.along)
    # Tips show where strands end at the brow; beside the face they run along the edge.
    jag = (0.055 if hair.front == "fringe" else 0.028) * smoothstep(1.0, 0.7, np.abs(frame.x))
    end = hair.length
    frizz = (0.012 + 0.05 * hair.curl) * flow.strand + 0.05 * hair.curl * noise
    edge = np.minimum(
        np.minimum(outer + frizz, inner + jag * (0.6 * tips + 0.4 * flow.strand)),
        end + 0.09 * rough - frame.y,
    )
    mask = hair.density * cover(
        edge, frame.scale, {"buzz": 6.0, "bun": 2.5}.get(hair.cut, 3.0 if hair.front == "fringe" else 2.0)
    )
    z = np.float32(0.97) * np.sqrt(np.clip(1 - np.clip(rho, 0, 1) ** 3, 1e-3, 1)) + 0.025 * flow.lock
    lift = 0.05 if hair.cut in ("buzz", "bun") else 0.13
    z = z + lift * smoothstep(-0.04, 0.24, inner) + 0.04 * hair.curl * noise
    shade = 1 - 0.30 * bell(inner, 0.05)
    surface.lay(mask, _hair_planes(person, flow, shade), z.astype(np.float32))
    if hair.front == "part":
        _paint_parting(surface, person)


def _paint_parting(surface: Surface, person: Person) -> None:
    """The scalp seen along the parting."""
    hair = person.hair
    start, stop = hair.hairline - 0.02, hair.top + 0.10
    where, part = surface.frame.window(hair.part - 0.2, hair.part + 0.2, stop, start + 0.05)
    t = (part.y - start) / (stop - start)
    strip = bell(part.x - hair.part * (1 - 0.15 * t), 0.016 * (1.1 - 0.6 * t)) * smoothstep(1.0, 0.6, t)
    surface.tint(where, 0.62 * strip, linear(person.skin) * np.float32(0.75))


def _soft_min(a: Floats, b: Floats, width: float) -> Floats:
    """A minimum without the corner (polynomial, rounding of size `width`)."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    low: Floats = b + (a - b) * h - width * h * (1 - h)
    return low


def hair_lines(person: Person, outline: Outline) -> list[Line]:
    """The silhouette, where it is seen."""
    hair = person.hair
    if hair.front == "none" or hair.curl:  # curls have no rim to follow
        return []
    points = outline.points[outline.points[:, 1] < min(hair.length, 2.7)]
    order = np.argsort(np.arctan2(points[:, 0], -points[:, 1] + 0.2), kind="stable")
    return [Line(points[order], 0.55, 0.026, "top")]
