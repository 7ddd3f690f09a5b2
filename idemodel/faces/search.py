"""Where the faces of a picture are: sizes and turns tried one after another, eyes corrected for the detector's bias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idemodel.faces.alignment import HEIGHT, WIDTH, Eyes, Similarity, corners, standard_eyes, warp
from idemodel.faces.detectors import Detector, Sighting

Image = NDArray[np.uint8]

FACE_WIDTH = 2.5  # eye distances that a face is wide: dlib's box on aligned photos is 125 of their 200 columns

DOUBTFUL = 0.2  # of the surest face's score; beside a face, what scores less is a badge or a fold

_SAME = 0.5  # eye distances between the eyes of one face seen twice


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    eyes : Eyes
        In the picture's pixels. score : float or None, the detector's; None where a person gave the eyes.
    box : tuple of complex
        The corners of the detector's box, empty where a person gave the eyes.
    aside : float
        How far the nose is from the middle between the eyes, in eye distances along the line of the eyes; near 0 seen
        from the front, and positive where the face looks to the right of the picture. 0 where a person gave the eyes.
    """

    eyes: Eyes
    score: float | None = None
    box: tuple[complex, ...] = ()
    aside: float = 0.0

    @property
    def width(self) -> float:
        """Of the face, in pixels."""
        return FACE_WIDTH * self.eyes.distance


@dataclass(frozen=True)
class _Attempt:
    """One way to look: the copy's longest side, how often it may be enlarged, its turn and its margin."""

    longest: int
    enlarged: int = 1
    degrees: int = 0
    margin: float = 0.0  # of each side, the border repeated: a face that the border cuts is found there


_UPRIGHT = ((_Attempt(800),), (_Attempt(2000, enlarged=4),))
_TURNED = tuple(_Attempt(800, degrees=degrees) for degrees in (30, -30, 90, -90, 180))
_CUT = _Attempt(800, margin=0.3)
_LARGEST = _Attempt(2000)
_SLENDER = 50  # a picture so many times as long as wide holds no face that would be found, and costs memory to turn
_ANY = (_UPRIGHT[0], _UPRIGHT[1] + _TURNED, (_CUT,))


def find_faces(image: Image, detector: Detector, upright: bool = False) -> list[Face]:
    """The faces of a picture, largest first.

    A copy of at most 800 pixels is searched. Where it shows none, one of 2000 for small faces (small pictures enlarged
    up to four times) and, unless ``upright``, turned copies, of which the one with the surest face counts; at last one
    with a margin, for a face that the border cuts. Every face is looked at again upright and of one size, which makes
    the eyes' accuracy independent of its size and turn; what is not seen again is none, nor what scores less than a
    fifth of the surest.

    Parameters
    ----------
    image : (H, W, 3) uint8
    detector : Detector
    upright : bool
        No turned copies.

    Returns
    -------
    list of Face
        Empty where no face is found.
    """
    if min(image.shape[:2]) * _SLENDER < max(image.shape[:2]):
        return []
    copy, shrink = _moved(image, _LARGEST)  # what is larger is shrunk once, not for every attempt
    for attempts in _UPRIGHT if upright else _ANY:
        seen = [list(_look(image, copy, shrink, detector, attempt)) for attempt in attempts]
        faces = max(seen, key=_surest)
        if faces:
            sure = [face for face in faces if _surest([face]) >= DOUBTFUL * _surest(faces)]
            return sorted(sure, key=lambda face: -face.eyes.distance)
    return []


def _surest(faces: Sequence[Face]) -> float:
    return max((face.score or 0.0 for face in faces), default=-1.0)


def _look(image: Image, copy: Image, shrink: Similarity, detector: Detector, attempt: _Attempt) -> Iterator[Face]:
    moved, move = _moved(copy, attempt)
    back = move.after(shrink).inverse
    for sighting in detector.find(moved):
        again = _looked_at_again(image, detector, _face(sighting, back, detector))
        if again:  # a detection is kept only if it is confirmed in the upright crop of the standard size
            yield again


def _moved(image: Image, attempt: _Attempt) -> tuple[Image, Similarity]:
    """The attempt's copy of a picture, and the motion into it."""
    height, width = image.shape[:2]
    scale = min(float(attempt.enlarged), attempt.longest / max(height, width))
    if scale == 1 and not attempt.degrees and not attempt.margin:
        return image, Similarity(1, 0)
    turn = complex(scale * np.exp(1j * np.radians(attempt.degrees)))
    places = np.array([turn * corner for corner in corners(height, width)])
    size = np.array([np.ptp(places.real), np.ptp(places.imag)]) + scale
    margin = np.ceil(attempt.margin * size)
    shift = complex(margin[0] - places.real.min(), margin[1] - places.imag.min())
    columns, rows = (int(side) for side in np.maximum(1, np.round(size)) + 2 * margin)
    move = Similarity(turn, shift)
    return warp(image, move, rows, columns, "edge"), move


def _looked_at_again(image: Image, detector: Detector, face: Face) -> Face | None:
    """The same face as seen in an upright crop of the standard size; None where it is not seen there."""
    standard = standard_eyes()
    move = Similarity.between(face.eyes, standard)
    seen = [
        _face(sighting, move.inverse, detector) for sighting in detector.find(warp(image, move, HEIGHT, WIDTH, "edge"))
    ]
    near = [other for other in seen if _apart(other.eyes, face.eyes) < _SAME]
    return min(near, key=lambda other: _apart(other.eyes, face.eyes), default=None)


def _face(sighting: Sighting, back: Similarity, detector: Detector) -> Face:
    """A sighting in a moved copy as a face of the picture."""
    # map the detected eyes onto the detector's mean eye positions on aligned faces, which corrects its bias
    aligned = Similarity.between(sighting.eyes, detector.bias)
    eyes = back.eyes(aligned.inverse.eyes(standard_eyes()))
    middle = (sighting.eyes.left + sighting.eyes.right) / 2
    aside = ((sighting.nose - middle) / (sighting.eyes.right - sighting.eyes.left)).real
    left, top, right, bottom = sighting.box
    box = (complex(left, top), complex(right, top), complex(right, bottom), complex(left, bottom))
    return Face(eyes, sighting.score, tuple(back(corner) for corner in box), aside)


def _apart(one: Eyes, other: Eyes) -> float:
    """The larger distance of two faces' eyes, in eye distances."""
    return max(abs(one.left - other.left), abs(one.right - other.right)) / other.distance
