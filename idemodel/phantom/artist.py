"""Owns how the artist draws a portrait: tones, hatching, strands, contours; never sees the finished photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import EYE, HAIR, SKIN, STRAND_X, STRAND_Y, linear
from .modelling import left_to_lines, modelling
from .pencil import Paper
from .person import Person
from .photo import luminance
from .portrait import Portrait
from .raster import Floats, Frame, blur

_HATCH_LENGTH, _HATCH_STEPS = 0.17, 6
_STRAND_STEP, _STRAND_STEPS = 0.030, 18


def draw_sketch(portrait: Portrait, radiance: Floats, person: Person, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The uint8 sketch (H, W) of a portrait whose clean linear light is `radiance` (3, H, W)."""
    surface = portrait.surface
    skin_tone, hair_tone, cloth_tone = tones(portrait, radiance, person)
    skin_tone = skin_tone * (1 - 0.4 * left_to_lines(surface.frame, person))
    paper = Paper(surface.frame, rng)
    form = modelling(surface.frame, person, portrait.head) * np.clip(surface.planes[SKIN] - surface.planes[HAIR], 0, 1)
    paper.smudge(0.6 * form)
    paper.smudge(0.50 * skin_tone + 0.50 * hair_tone + 0.15 * cloth_tone)
    face = blur(skin_tone, 0.02 * surface.frame.scale) + cloth_tone + 0.6 * form
    slant = float(rng.normal(0.95, 0.06))
    hatch(paper, face, slant, rng)
    hatch(paper, np.clip(face - 0.38, 0, 1), slant - 0.55, rng)
    strands(paper, surface.planes[STRAND_X], surface.planes[STRAND_Y], hair_tone, rng)
    paper.lines(portrait.lines, surface.covers)
    return paper.picture()


def tones(portrait: Portrait, radiance: Floats, person: Person) -> tuple[Floats, Floats, Floats]:
    """Darkness in [0, 1] that the artist gives to skin, hair and cloth (H, W each).

    Skin is drawn relative to its own colour, so that shading counts and complexion only a little.
    """
    planes, light = portrait.surface.planes, person.light
    bright = luminance(radiance / np.float32(light.exposure))
    reference = float(luminance(linear(person.skin)[:, None, None] * np.float32(0.88))[0, 0])
    hair = np.clip(planes[HAIR], 0, 1)
    skin = np.clip(planes[SKIN], 0, 1) * (1 - hair)
    cloth = np.clip(1 - portrait.surface.covers["backdrop"] - np.maximum(planes[SKIN], hair), 0, 1)
    relative = bright / reference
    shade = np.clip(0.95 - relative, 0, 1)
    # The white of the eye is left to the paper; only iris and lashes are dark enough to be drawn.
    shade = shade - np.clip(planes[EYE], 0, 1) * np.clip(0.42 - 0.4 * shade, 0, shade)
    skin_tone = skin * np.clip(1.0 * shade + 0.10 * person.melanin * (1.05 - relative), 0, 1)
    hair_tone = hair * np.clip(1.06 - 1.25 * bright, 0.06, 1)
    cloth_tone = cloth * np.clip(0.42 - 0.5 * bright, 0.03, 1)
    return skin_tone.astype(np.float32), hair_tone.astype(np.float32), cloth_tone.astype(np.float32)


def _seeds(frame: Frame, spacing: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """One jittered point (N, 2) per cell of a square lattice, so that strokes spread evenly."""
    x = np.arange(frame.x0, frame.x0 + frame.cols / frame.scale, spacing)
    y = np.arange(frame.y0, frame.y0 + frame.rows / frame.scale, spacing)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return grid + rng.uniform(0, spacing, grid.shape)


def hatch(paper: Paper, tone: Floats, slant: float, rng: np.random.Generator) -> None:
    """Parallel strokes over the tone (H, W): pressed where it is dark, left out where it is light."""
    frame = paper.frame
    seeds = _seeds(frame, 0.058, rng)
    there = frame.lookup(tone, seeds)
    seeds = seeds[there > 0.05 + 0.22 * rng.random(len(seeds)) ** 2]
    angle = slant + rng.normal(0, 0.10, len(seeds))
    length = _HATCH_LENGTH * rng.uniform(0.6, 1.3, len(seeds))
    t = np.linspace(-0.5, 0.5, _HATCH_STEPS)[None, :]
    bow = 0.012 * (1 - 4 * t * t)
    along = length[:, None] * t
    dx, dy = np.cos(angle)[:, None], -np.sin(angle)[:, None]
    points = seeds[:, None, :] + np.stack([along * dx - bow * dy, along * dy + bow * dx], axis=-1)
    pressure = np.clip(1.35 * frame.lookup(tone, points), 0, 1.1) * rng.uniform(0.6, 1.2, len(seeds))[:, None]
    paper.strokes(points, pressure * (1.1 - 1.2 * np.abs(t)), 0.018)


def strands(paper: Paper, strand_x: Floats, strand_y: Floats, tone: Floats, rng: np.random.Generator) -> None:
    """Long strokes that follow the strands over hair of a given tone (H, W)."""
    frame = paper.frame
    seeds = _seeds(frame, 0.082, rng)
    seeds = seeds[frame.lookup(tone, seeds) > 0.05]
    points = np.empty((len(seeds), _STRAND_STEPS, 2))
    points[:, 0] = seeds
    sense = rng.choice((-1.0, 1.0), len(seeds))
    for k in range(1, _STRAND_STEPS):
        here = points[:, k - 1]
        step = np.stack([frame.lookup(strand_x, here), frame.lookup(strand_y, here)], axis=-1)
        points[:, k] = here + (_STRAND_STEP * sense)[:, None] * step
    t = np.linspace(0, 1, _STRAND_STEPS)[None, :]
    force = rng.uniform(0.35, 1.35, len(seeds))[:, None]
    pressure = (
        np.clip(1.35 * frame.lookup(tone, points), 0, 1.3) * force * np.clip(6 * np.minimum(t, 1 - t) + 0.2, 0, 1)
    )
    paper.strokes(points, pressure, 0.020)
