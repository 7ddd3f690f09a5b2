"""Owns the photograph: light on the surface, exposure, lens blur, sensor noise; knows nothing of anatomy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import DEPTH, GLOSS, HAIR, RED, SKIN, SLOPE_X, SLOPE_Y, STRAND_X, STRAND_Y, Surface
from .person import Light
from .raster import Floats, blur


def light_up(surface: Surface, light: Light) -> Floats:
    """Linear light (3, H, W) leaving the surface: wrapped Lambert, soft shadows, occlusion, gloss."""
    planes = surface.planes
    gx, gy, hair = planes[SLOPE_X], planes[SLOPE_Y], planes[HAIR]
    gx, gy = gx / (1 + np.abs(gx) * 0.22), gy / (1 + np.abs(gy) * 0.22)
    lx, ly, lz = light.direction
    norm = 1 / np.sqrt(1 + gx * gx + gy * gy)
    facing = (lz - gx * lx - gy * ly) * norm
    strand, sheen = _strand_light(planes, (gx, gy), light)
    facing = facing + hair * (0.42 * strand + 0.30 * facing - facing)
    lit = np.clip((facing + 0.12) / 1.12, 0, 1)
    key = lit * _shadow(planes[DEPTH], surface.frame.scale, light)
    sky = light.ambient * _openness(planes[DEPTH], surface.frame.scale) * (0.85 - 0.15 * gy * norm)
    half = np.array([lx, ly, lz + 1]) / np.linalg.norm([lx, ly, lz + 1])
    mirror = np.clip((half[2] - gx * half[0] - gy * half[1]) * norm, 0, 1)
    gloss = planes[GLOSS] * ((1 - hair) * _power(mirror, 5) * 0.35 + hair * sheen * 0.08) * key
    # Light scattered under the skin reddens the edge of the shade.
    edge = planes[SKIN] * lit * (1 - lit)
    power = 1.15 * (1 - light.ambient) + 0.30
    total = np.empty((3, *surface.frame.shape), dtype=np.float32)
    for channel, glow, sky_tint in ((0, 0.22, 0.96), (1, 0.03, 1.0), (2, 0.0, 1.05)):
        irradiance = power * (key + glow * edge) + sky_tint * sky
        total[channel] = planes[RED + channel] * irradiance + gloss
    _backdrop(total, surface, light)
    return total * np.float32(light.exposure)


def _power(base: Floats, doublings: int) -> Floats:
    """base to the power 2^doublings, by squaring."""
    for _ in range(doublings):
        base = base * base
    return base


def _strand_light(planes: Floats, slopes: tuple[Floats, Floats], light: Light) -> tuple[Floats, Floats]:
    """Diffuse and mirrored light on thin cylinders (Kajiya and Kay, 1989)."""
    tx, ty = planes[STRAND_X], planes[STRAND_Y]
    tz = tx * slopes[0] + ty * slopes[1]
    norm = 1 / np.sqrt(tx * tx + ty * ty + tz * tz + np.float32(1e-6))
    lx, ly, lz = light.direction
    along = (tx * lx + ty * ly + tz * lz) * norm
    half = np.array([lx, ly, lz + 1]) / np.linalg.norm([lx, ly, lz + 1])
    mirror = (tx * half[0] + ty * half[1] + tz * half[2]) * norm
    diffuse = np.sqrt(np.clip(1 - along * along, 0, 1))
    return diffuse, _power(np.clip(1 - mirror * mirror, 0, 1), 4)


def _shadow(depth: Floats, scale: float, light: Light) -> Floats:
    """How much of the lamp each pixel sees, by marching the relief towards the lamp."""
    lx, ly, lz = light.direction
    height, width = depth.shape
    blocked: Floats = np.zeros(depth.shape, dtype=np.float32)
    for distance in (0.05, 0.09, 0.15, 0.23, 0.33, 0.45):
        dx, dy = round(lx / lz * distance * scale), round(ly / lz * distance * scale)
        r0, r1 = max(0, -dy), min(height, height - dy)
        c0, c1 = max(0, -dx), min(width, width - dx)
        rise = depth[r0 + dy : r1 + dy, c0 + dx : c1 + dx] - depth[r0:r1, c0:c1] - np.float32(distance + 0.02)
        shade = np.clip(rise * np.float32(6), 0, 1)
        blocked[r0:r1, c0:c1] = np.maximum(blocked[r0:r1, c0:c1], shade)
    return 1 - np.float32(0.62) * blur(blocked, 0.045 * scale)


def _openness(depth: Floats, scale: float) -> Floats:
    """Sky seen by each pixel, from how far it lies below its surroundings at two ranges."""
    small = scale / 2
    near = np.clip(blur(depth, 0.06 * scale) - depth, 0, 0.3)
    coarse = depth[::2, ::2]
    far = np.clip(blur(coarse, 0.30 * small) - coarse, 0, 0.6)
    far = np.repeat(np.repeat(far, 2, axis=0), 2, axis=1)[: depth.shape[0], : depth.shape[1]]
    openness: Floats = np.clip(1 - 2.2 * near - 0.9 * blur(far, 0.05 * scale), 0.25, 1)
    return openness


def _backdrop(total: Floats, surface: Surface, light: Light) -> None:
    """The bare background is lit evenly, with a slight fall-off."""
    bare = surface.covers["backdrop"]
    fall = 1 + light.falloff[0] * surface.frame.x + light.falloff[1] * surface.frame.y
    for channel in range(3):
        total[channel] += bare * (surface.planes[RED + channel] * fall - total[channel])


def develop(radiance: Floats, light: Light, scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The uint8 photo (H, W, 3): lens blur, soft shoulder, gamma, sensor noise."""
    warm = np.array([1 + light.warmth, 1.0, 1 - light.warmth], dtype=np.float32)[:, None, None]
    exposed = radiance * warm
    exposed = exposed * (1 + exposed * np.float32(0.12)) / (1 + exposed * np.float32(0.30))
    value = np.clip(exposed, 0, 1) ** np.float32(1 / 2.2)
    sigma = 0.008 * scale
    value = np.stack([blur(plane, sigma) for plane in value], axis=-1)
    noise = rng.standard_normal(value.shape, dtype=np.float32)
    shared = rng.standard_normal(value.shape[:2], dtype=np.float32)[..., None]
    value += (0.007 * noise + 0.006 * shared) * (1.25 - 0.5 * value)
    picture: NDArray[np.uint8] = (np.clip(value, 0, 1) * 255 + 0.5).astype(np.uint8)
    return picture


def luminance(radiance: Floats) -> Floats:
    """Display brightness (H, W) in [0, 1] of linear light, before lens and sensor."""
    y = 0.30 * radiance[0] + 0.59 * radiance[1] + 0.11 * radiance[2]
    bright: Floats = np.sqrt(np.clip(y, 0, 1))
    return bright
