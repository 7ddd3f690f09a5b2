"""From a photo's pixels to aligned faces: found or given, chosen, judged and warped; reads and writes no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idemodel.faces.alignment import HEIGHT, WIDTH, Eyes, Similarity, standard_eyes, warp
from idemodel.faces.detectors import Detector, open_detector
from idemodel.faces.errors import EyesWanted
from idemodel.faces.eye_table import LEAST_DISTANCE, EyeTable
from idemodel.faces.search import Face, find_faces
from idemodel.files.images import MAX_PIXELS

Image = NDArray[np.uint8]

SMALL_FACE = 60  # pixels of face width under which a warning says that detail is missing
TURNED, PROFILE = 0.2, 0.4  # of Face.aside: from a warning, from a refusal on
NEAR = 0.12  # eye distances from the standard position up to which the eyes of a photo count as aligned

_INNER = (-0.6, 1.6, -0.6, 1.6)  # left, right, top, bottom of brows to chin, in eye distances from the left eye
_SHOWN = 0.05  # tolerance: eye distances by which the corners of _INNER may lie outside the picture
_GIVE_EYES = "give its eyes with idesketch align --eyes FILE.csv"


@dataclass(frozen=True)
class AlignSettings:
    """How photos are aligned.

    height, width : int
        Of the aligned photo. face : "largest", "all" or a number from 1 on, largest first (rows of a table in their
        order). pad : see :func:`idemodel.faces.alignment.warp`.
    """

    height: int = HEIGHT
    width: int = WIDTH
    face: str | int = "largest"
    pad: str = "auto"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 16 or self.height * self.width > MAX_PIXELS:
            raise InputError(
                f"an aligned photo of {self.height} x {self.width} cannot be made; "
                f"at least 16 x 16, at most {MAX_PIXELS // 10**6} million pixels"
            )


@dataclass(frozen=True)
class Aligned:
    """One face, aligned.

    image : (height, width, 3) uint8
    move : Similarity
        From the photo's pixels to the aligned ones. number : int, of the face, from 1 on.
    warnings : tuple of str
        What may spoil a sketch of it.
    """

    image: Image
    move: Similarity
    number: int
    warnings: tuple[str, ...] = ()


class Aligner:
    """Finds the faces of photos and aligns the chosen ones.

    Parameters
    ----------
    settings : AlignSettings
    detector : Detector, optional
        Without one, only photos with given eyes can be aligned.
    table : EyeTable, optional
        Eyes that a person gave; they go before the detector.
    """

    def __init__(
        self, settings: AlignSettings, detector: Detector | None = None, table: EyeTable | None = None
    ) -> None:
        self.settings = settings
        self.detector = detector
        self.table = table

    def faces(self, file: Path, image: Image) -> list[Face]:
        """The faces of a photo: the table's, else those that the detector finds, largest first.

        Raises
        ------
        InputError
            Given eyes outside the photo, or neither given eyes nor a detector.
        """
        given = self.table.of(file) if self.table else []
        if given:
            where = f" in {self.table.path}" if self.table else ""
            return [given_face(file, image, eyes, where) for eyes in given]
        return find_faces(image, self.detector or open_detector())

    def align(self, name: str | Path, image: Image, faces: Sequence[Face]) -> list[Aligned]:
        """The chosen faces, aligned; ``name`` is what errors call the photo.

        Raises
        ------
        InputError
            No face, or none of that number; a profile, or a face that the border cuts, found by a detector (with
            ``face="all"`` such a face is left out with a warning of the others, and an error where none is left).
        """
        if not faces:
            raise EyesWanted(
                f"{name}: no face found (a profile, a covered or a very small face is not seen)", _GIVE_EYES
            )
        numbers = self._chosen(name, faces)
        faults = {number: _fault(faces[number - 1], image) for number in numbers}
        good = [number for number in numbers if not faults[number]]
        told = [f"face {number} {faults[number]}, left out" for number in numbers if faults[number] and good]
        if not good:
            raise EyesWanted(f"{name}: the face {faults[numbers[0]]}", _GIVE_EYES)
        if len(faces) > 1 and self.settings.face != "all":
            order = "in the order of the table" if faces[0].score is None else "counted from the largest"
            told.append(f"{len(faces)} faces, took number {good[0]} {order}")
        return [self._aligned(image, faces[number - 1], number, told) for number in good]

    def _chosen(self, name: str | Path, faces: Sequence[Face]) -> list[int]:
        face = self.settings.face
        if face == "all":
            return list(range(1, len(faces) + 1))
        if isinstance(face, int):
            if not 1 <= face <= len(faces):
                raise InputError(f"{name}: has no face {face}, only {len(faces)}")
            return [face]
        return [1 + max(range(len(faces)), key=lambda index: faces[index].eyes.distance)]

    def _aligned(self, image: Image, face: Face, number: int, told: Sequence[str]) -> Aligned:
        height, width = self.settings.height, self.settings.width
        move = Similarity.between(face.eyes, standard_eyes(height, width))
        made = warp(image, move, height, width, self.settings.pad)
        return Aligned(made, move, number, (*told, *_warnings(face, move)))


def given_face(name: str | Path, image: Image, eyes: Eyes, where: str = "") -> Face:
    """The face whose eyes a person gave.

    Parameters
    ----------
    name : str or Path
        What errors call the photo.
    image : (H, W, 3) uint8
    eyes : Eyes
        In the photo's pixels.
    where : str
        Where they were given, for the error.

    Raises
    ------
    InputError
        They are outside the photo, one is right of the other that should be left of it, or they are too near.
    """
    if not all(_inside(point, image, 0.0) for point in (eyes.left, eyes.right)):
        raise InputError(
            f"{name}: the eyes given{where} are outside the picture of "
            f"{image.shape[1]} x {image.shape[0]} (columns x rows)"
        )
    if eyes.left.real >= eyes.right.real:
        raise InputError(f"{name}: the left eye given{where} is not left of the right one, as seen in the picture")
    if eyes.distance < LEAST_DISTANCE:
        raise InputError(f"{name}: the eyes given{where} are {eyes.distance:.1f} pixels apart, too near for a face")
    return Face(eyes)


def may_stay(image: Image, detector: Detector | None) -> bool:
    """Whether a photo (H, W, 3) uint8 of the wanted size need not be aligned.

    It need not where a face's eyes are where they should be, where no usable face is found, or without a detector.
    """
    faces = find_faces(image, detector, upright=True) if detector else []
    usable = [face for face in faces if not _fault(face, image)]
    height, width = image.shape[:2]
    return not usable or any(is_standard(face.eyes, height, width) for face in usable)


def is_standard(eyes: Eyes, height: int, width: int) -> bool:
    """Whether eyes are where those of an aligned photo are, within ``NEAR`` eye distances (and 3 pixels)."""
    standard = standard_eyes(height, width)
    limit = max(NEAR * standard.distance, 3.0)
    return max(abs(eyes.left - standard.left), abs(eyes.right - standard.right)) <= limit


def _fault(face: Face, image: Image) -> str | None:
    """Why a face that a detector found cannot be used."""
    if face.score is None:
        return None
    if abs(face.aside) > PROFILE:
        return "is seen from the side"
    left, right, top, bottom = _INNER
    ahead = face.eyes.right - face.eyes.left
    inner = [face.eyes.left + ahead * complex(x, y) for x in (left, right) for y in (top, bottom)]
    if not all(_inside(point, image, _SHOWN * face.eyes.distance) for point in inner):
        return "is cut by the border of the picture"
    return None


def _warnings(face: Face, move: Similarity) -> list[str]:
    told = []
    if face.width < SMALL_FACE and move.scale > 1:
        told.append(f"the face is only {face.width:.0f} pixels wide and is enlarged {move.scale:.1f} times: no detail")
    if abs(face.aside) > TURNED:
        told.append("the face is turned to the side; a sketch of it will be skewed")
    return told


def _inside(point: complex, image: Image, margin: float) -> bool:
    height, width = image.shape[:2]
    return -margin - 0.5 <= point.real <= width - 0.5 + margin and -margin - 0.5 <= point.imag <= height - 0.5 + margin
