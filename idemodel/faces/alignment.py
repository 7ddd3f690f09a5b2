"""The geometry of alignment: eyes, the similarity that moves them, pictures warped by it and back; finds no faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

HEIGHT, WIDTH = 250, 200  # of the CUFS / CUFSF literature
EYE_ROW, LEFT_EYE, RIGHT_EYE = 0.5, 0.375, 0.625  # of height and width: row 125, columns 75 and 125 of 250 x 200
PADS = ("auto", "reflect", "edge", "white")

PLAIN = 12.0  # grey levels (standard deviation) up to which the border of a picture is a plain backdrop
DEEPEST_MIRROR = 0.2  # of the aligned picture's side; a deeper reflection would show parts of the face again
_REACH = 3  # pixels that the bicubic filter may look beyond a position, and one to spare
_STRIP = 3  # pixels at a border that say whether it is plain
_FEATHER = 0.08  # of the sketch's width, where a sketch that is put back fades into the picture

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Eyes:
    """The two eyes of a face, as points x + iy (column, row) in pixels; 0 is the centre of the first pixel.

    left, right : complex
        The eye on the left of the picture (the person's right eye) and the other one.
    """

    left: complex
    right: complex

    @property
    def distance(self) -> float:
        """Pixels between the eyes."""
        return abs(self.right - self.left)

    @property
    def degrees(self) -> float:
        """How far the face is turned in the picture's plane, clockwise as seen."""
        return float(np.degrees(np.angle(self.right - self.left)))


@dataclass(frozen=True)
class Similarity:
    """z -> turn z + shift on points x + iy: a rotation, one scale for both axes, and a shift."""

    turn: complex
    shift: complex

    @classmethod
    def between(cls, source: Eyes, target: Eyes) -> Similarity:
        """The one that takes a face's eyes to others.

        Raises
        ------
        ValueError
            The eyes of ``source`` or ``target`` coincide.
        """
        if not source.distance or not target.distance:
            raise ValueError("two eyes at one place say nothing of a face's size")
        turn = (target.right - target.left) / (source.right - source.left)
        return cls(turn, target.left - turn * source.left)

    @property
    def scale(self) -> float:
        """How many pixels one pixel becomes."""
        return abs(self.turn)

    @property
    def inverse(self) -> Similarity:
        """The way back."""
        return Similarity(1 / self.turn, -self.shift / self.turn)

    @overload
    def __call__(self, point: complex) -> complex: ...

    @overload
    def __call__(self, point: NDArray[np.complex128]) -> NDArray[np.complex128]: ...

    def __call__(self, point: complex | NDArray[np.complex128]) -> complex | NDArray[np.complex128]:
        """Where a point goes, or each of an array of them."""
        return self.turn * point + self.shift

    def after(self, first: Similarity) -> Similarity:
        """``first``, then this one."""
        return Similarity(self.turn * first.turn, self(first.shift))

    def eyes(self, eyes: Eyes) -> Eyes:
        """Where a face's eyes go."""
        return Eyes(self(eyes.left), self(eyes.right))


def standard_eyes(height: int = HEIGHT, width: int = WIDTH) -> Eyes:
    """Where the eyes of an aligned picture are: row H / 2, columns 3/8 W and 5/8 W (125, 75, 125 at 250 x 200)."""
    row = EYE_ROW * height
    return Eyes(complex(LEFT_EYE * width, row), complex(RIGHT_EYE * width, row))


def corners(height: int, width: int) -> tuple[complex, complex, complex, complex]:
    """The corners of a picture's outermost pixels' centres, clockwise from the top left."""
    return 0j, complex(width - 1, 0), complex(width - 1, height - 1), complex(0, height - 1)


def warp(image: Image, move: Similarity, height: int, width: int, pad: str = "auto") -> Image:
    """Move a picture by a similarity into a frame of another size.

    What shrinks is filtered first (Pillow's antialiased bicubic), what is left of the motion is sampled
    bicubically. A motion by whole pixels copies them exactly.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
    move : Similarity
        From positions in ``image`` to positions in the frame.
    height, width : int
        Of the frame.
    pad : {"auto", "reflect", "edge", "white"}
        What lies beyond the picture: its reflection, its border's pixels repeated, or white. ``auto`` repeats a side
        whose border is plain (a backdrop), reflects one that is not, and repeats where the reflection would be
        deeper than a fifth of the frame and bring parts of the face in again.

    Returns
    -------
    (height, width) or (height, width, 3) uint8

    Raises
    ------
    ValueError
        Another name of ``pad``, or the frame shows nothing of the picture.
    """
    if pad not in PADS:
        raise ValueError(f"pad is one of {', '.join(PADS)}, not {pad!r}")
    back = move.inverse
    seen = np.array([back(corner) for corner in corners(height, width)])
    reach = _REACH * max(1.0, 1 / move.scale)
    low = np.floor([seen.real.min() - reach, seen.imag.min() - reach]).astype(int)
    high = np.ceil([seen.real.max() + reach, seen.imag.max() + reach]).astype(int) + 1
    start = np.maximum(low, 0)
    stop = np.minimum(high, (image.shape[1], image.shape[0]))
    if (start >= stop).any():
        raise ValueError("the frame shows nothing of the picture")
    small, steps = _shrunk(image[start[1] : stop[1], start[0] : stop[0]], 1 / move.scale)
    before, after = np.ceil((start - low) / steps).astype(int), np.ceil((high - stop) / steps).astype(int)
    limit = DEEPEST_MIRROR / max(1.0, move.scale) * np.array([width, height])
    padded = _padded(small, (before[1], after[1], before[0], after[0]), pad, limit)
    return _sampled(padded, back, height, width, start - before * steps, steps)


def depths(move: Similarity, shape: tuple[int, ...], height: int, width: int) -> NDArray[np.float64]:
    """How deep each pixel of a frame lies inside a picture that is moved into it.

    Parameters
    ----------
    move : Similarity
        From positions in the picture to positions in the frame.
    shape : (H, W, ...)
        Of the picture.
    height, width : int
        Of the frame.

    Returns
    -------
    (4, height, width) float64
        Pixels of the frame from a pixel's centre to the picture's left, upper, right and lower border; negative beyond.
    """
    rows, columns = np.mgrid[:height, :width]
    back = move.inverse(columns + 1j * rows)
    across, down = back.real + 0.5, back.imag + 0.5
    return move.scale * np.stack([across, down, shape[1] - across, shape[0] - down])


def paste_back(sketch: Image, picture: Image, move: Similarity) -> Image:
    """Put what was made of an aligned picture back into the picture it came from.

    Parameters
    ----------
    sketch : (h, w) or (h, w, 3) uint8
        Of the aligned frame; a sketch of a multiple of the frame's size needs ``move`` scaled likewise.
    picture : (H, W, 3) uint8
        What was aligned.
    move : Similarity
        From ``picture`` to the sketch.

    Returns
    -------
    (H, W) or (H, W, 3) uint8
        Grey where the sketch is: the picture in its own grey levels (ITU-R 601), the sketch over it, its border fading
        over 8 percent of its width.
    """
    frame = np.array(Pillow.fromarray(picture).convert("L" if sketch.ndim == 2 else "RGB"))
    height, width = sketch.shape[:2]
    placed = np.array([move.inverse(corner) for corner in corners(height, width)])
    left, top = max(int(placed.real.min()), 0), max(int(placed.imag.min()), 0)
    right = min(int(placed.real.max()) + 2, frame.shape[1])
    bottom = min(int(placed.imag.max()) + 2, frame.shape[0])
    if left >= right or top >= bottom:
        return frame
    way = Similarity(1, -complex(left, top)).after(move.inverse)
    inside = warp(sketch, way, bottom - top, right - left, "edge")
    mask = warp(_feather(height, width), way, bottom - top, right - left, "edge")
    region = Pillow.fromarray(frame[top:bottom, left:right])
    frame[top:bottom, left:right] = np.array(Pillow.composite(Pillow.fromarray(inside), region, Pillow.fromarray(mask)))
    return frame


def _feather(height: int, width: int) -> Image:
    """Opacity that rises from 0 at the border to 255."""
    ramp = max(1.0, _FEATHER * width)
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in (height, width))
    return (255 * np.minimum(1.0, np.minimum.outer(rows, columns) / ramp)).astype(np.uint8)


def _shrunk(region: Image, factor: float) -> tuple[Image, NDArray[np.float64]]:
    """The region with one pixel for about ``factor`` of its own where that is more than one; pixels a step (x, y)."""
    size = np.array([region.shape[1], region.shape[0]])
    small = np.maximum(1, np.round(size / factor)).astype(int) if factor > 1 else size
    if (small == size).all():
        return region, np.ones(2)
    resized = Pillow.fromarray(region).resize((int(small[0]), int(small[1])), Pillow.Resampling.BICUBIC)
    return np.array(resized), size / small


def _padded(image: Image, amounts: tuple[int, int, int, int], pad: str, limit: NDArray[np.float64]) -> Image:
    """Grow a picture by (top, bottom, left, right) pixels."""
    sides = ((0, False), (0, True), (1, False), (1, True))  # axis, at its end
    for amount, (axis, end) in zip(amounts, sides, strict=True):
        if amount:
            widths = [(0, 0)] * image.ndim
            widths[axis] = (0, int(amount)) if end else (int(amount), 0)
            depth = amount - _REACH
            mode = _mode(image, axis, end, depth > limit[1 - axis]) if pad == "auto" else pad
            if mode == "white":
                image = np.pad(image, widths, constant_values=255)
            else:
                image = np.pad(image, widths, mode="reflect" if mode == "reflect" else "edge")
    return image


def _mode(image: Image, axis: int, end: bool, deep: bool) -> str:
    """What ``auto`` does at one side."""
    if deep:
        return "edge"
    strip = np.take(image, np.arange(min(_STRIP, image.shape[axis])) * (-1 if end else 1) - end, axis)
    return "edge" if strip.reshape(-1, *image.shape[2:]).std(axis=0).mean() <= PLAIN else "reflect"


def _sampled(
    image: Image, back: Similarity, height: int, width: int, origin: NDArray[np.float64], steps: NDArray[np.float64]
) -> Image:
    """Bicubic samples; ``image`` holds pixels of ``steps`` source pixels from ``origin`` on."""
    # Pillow counts from the corner of the first pixel, not from its centre
    shift = back.shift - back.turn * (0.5 + 0.5j) + (0.5 + 0.5j) - complex(*origin)
    across, down = steps
    matrix = (
        back.turn.real / across, -back.turn.imag / across, shift.real / across,
        back.turn.imag / down, back.turn.real / down, shift.imag / down,
    )  # fmt: skip
    moved = Pillow.fromarray(image).transform(
        (width, height), Pillow.Transform.AFFINE, matrix, Pillow.Resampling.BICUBIC
    )
    return np.array(moved)
