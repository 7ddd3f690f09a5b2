"""Photos made ready for a bank: read, aligned, normalised; what was done and what may spoil a sketch is returned.

A photo is a path, the bytes of an image file, or an array. Nothing here prints, and any thread may call it::

    from idekernels import coarse_sketch, open_bank
    from idemodel.preparation import PhotoPreparer

    with open_bank("bank.h5") as bank:
        photo = PhotoPreparer(bank).prepare("me.jpg")
        sketch = coarse_sketch(photo.image, bank).images()[0]
        print(*photo.notes, sep="\\n")
        framed = photo.paste_back(sketch)  # the sketch in its place in me.jpg, in grey
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments
from idekernels.bank import PHOTO_TO_SKETCH, PatchBank
from idekernels.errors import InputError
from idemodel.faces.aligner import Aligned, Aligner, AlignSettings, given_face, may_stay
from idemodel.faces.alignment import PADS, Eyes, Similarity, paste_back, standard_eyes, warp
from idemodel.faces.bars import mended
from idemodel.faces.detectors import Detector, any_detector, open_detector
from idemodel.faces.errors import EyesWanted
from idemodel.faces.normalise import METHODS, Normaliser, can_normalise, require_grey
from idemodel.faces.padding import Surroundings
from idemodel.faces.search import Face, find_faces
from idemodel.files.images import as_colour, decode_colour, misfit, read_colour, require_size
from idemodel.files.listing import one_form, stem_of

Image = NDArray[np.uint8]
PhotoLike = str | os.PathLike[str] | bytes | NDArray[np.uint8]
Value = TypeVar("Value")
Measured = tuple[Any, ...]  # of a bank, see PhotoPreparer.measures

ALIGN_MODES = ("auto", "always", "never")

_UNNAMED = "the photo"  # what errors call a photo that is no file
_REMEDIES = {  # of a photo of another size, by how photos are aligned
    "auto": "pip install 'idesketch[align]' finds the face and aligns it; or give its eyes to "
    "idesketch align --eyes FILE.csv",
    "never": "align the photo to the bank's size, or drop --align never",
}


@dataclass(frozen=True)
class PreparationSettings:
    """How photos are made ready for a bank.

    Parameters
    ----------
    align : {"auto", "always", "never"}
        ``auto`` leaves a photo of the bank's size alone when its eyes are where they should be, when no usable face
        is found in it, or when there is no detector, and aligns every other; ``never`` refuses another size.
    normalise : str
        One of :data:`idemodel.faces.normalise.METHODS`; ``auto`` does nothing where the bank does not allow it.
    face : "largest" or int
        Which of several faces. A number, from 1 on, counted from the largest, has every photo aligned.
    pad : {"auto", "reflect", "edge", "white"}
        What lies beyond a photo's border: ``auto`` is what the bank's photos have there, see
        :class:`idemodel.faces.padding.Surroundings`, and with a bank without grey levels as the others are, see
        :func:`idemodel.faces.alignment.warp`.

    Raises
    ------
    ValueError
        Another value, or a face chosen by number where photos are never aligned.
    """

    align: str = "auto"
    normalise: str = "auto"
    face: str | int = "largest"
    pad: str = "auto"

    def __post_init__(self) -> None:
        if self.align not in ALIGN_MODES:
            raise ValueError(f"align is one of {', '.join(ALIGN_MODES)}, not {self.align!r}")
        arguments.choice("normalise", self.normalise, tuple(METHODS))
        arguments.choice("pad", self.pad, PADS)
        if self.face != "largest":
            arguments.whole("face", self.face, 1)
            if self.align == "never":
                raise ValueError("a face is chosen by its number, but align='never' looks for none")

    @property
    def as_they_are(self) -> bool:
        """Whether photos are taken as they are, neither aligned nor normalised."""
        return self.align == "never" and self.normalise == "none"


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photo of the bank's size, and how it came to be.

    Parameters
    ----------
    image : (height, width, 3) uint8
        Of the bank's size; the very array that was given where nothing was to be done to it.
    source : Path, bytes or (H, W) or (H, W, 3) uint8
        The photo as it was given. A file is kept as its path, bytes as they are, and either is decoded again when its
        pixels are asked for: a batch of large photos would not fit the memory. Only an array is kept as pixels.
    name : str
        What messages call the photo.
    move : Similarity, optional
        From the photo's pixels to those of ``image``; None where they are the same.
    face : int, optional
        Which of the photo's faces, from 1 on; None where it was not aligned, or by eyes that a person gave.
    steps : tuple of str
        What was normalised, in order: of bars, noise, light, levels, background.
    warnings : tuple of str
        What may spoil a sketch of it, and which of several faces was taken.
    size : (int, int), optional
        Rows and columns of the photo as it was given, upright; a sketch is pasted back into no other frame.
    """

    image: Image = field(repr=False)
    source: Path | bytes | Image = field(repr=False)
    name: str = _UNNAMED
    move: Similarity | None = None
    face: int | None = None
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    size: tuple[int, int] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it: the warnings, and what was normalised."""
        return (*self.warnings, f"normalised ({', '.join(self.steps)})") if self.steps else self.warnings

    @property
    def eyes(self) -> Eyes | None:
        """The eyes that it was aligned by, in the pixels of the photo as it was given; None where it was not."""
        return self.move.inverse.eyes(standard_eyes(*self.image.shape[:2])) if self.move else None

    def frame(self) -> Image:
        """The photo as it was given, (H, W, 3) uint8, upright; a file is read again.

        Raises
        ------
        InputError
            The file cannot be read any more.
        """
        return read_photo(self.source, self.name)

    def paste_back(self, sketch: Image, frame: Image | None = None) -> Image:
        """A sketch of the photo in the photo's own frame.

        Parameters
        ----------
        sketch : (h, w) or (h, w, 3) uint8
            Of ``image``, of its size or a multiple of it.
        frame : (H, W, 3) uint8, optional
            The photo as it was given, if the caller has it still: then no file is read again.

        Returns
        -------
        (H, W) or (H, W, 3) uint8
            Of the frame's size: see :func:`idemodel.faces.alignment.paste_back`; the sketch alone, scaled where it
            must be, where the photo was not moved.

        Raises
        ------
        InputError
            The photo's file cannot be read any more, or holds a picture of another size by now.
        ValueError
            The sketch, or the frame that is given, has a size that does not belong to the photo.
        """
        rows, columns = self.image.shape[:2]
        times = sketch.shape[0] // rows
        if times < 1 or sketch.shape[:2] != (times * rows, times * columns):
            raise ValueError(
                f"a sketch of {sketch.shape[0]} x {sketch.shape[1]} is none of a photo of {rows} x {columns}, "
                "nor a multiple of it"
            )
        factor = sketch.shape[1] / self.image.shape[1]
        # about the picture's corner, half a pixel from the centre of its first pixel
        enlarged = Similarity(factor, (factor - 1) * (0.5 + 0.5j))
        if self.move is None:
            return warp(sketch, enlarged.inverse, self.image.shape[0], self.image.shape[1], "edge")
        return paste_back(sketch, self._checked(frame), enlarged.after(self.move))

    def _checked(self, frame: Image | None) -> Image:
        """The frame to paste into, the one given or the photo read again, if it has the size that the photo had."""
        found = self.frame() if frame is None else frame
        if self.size not in (None, found.shape[:2]):
            told = f"{self.name}: was {self.size[0]} x {self.size[1]} (rows x columns) when it was sketched, and is "
            told += f"{found.shape[0]} x {found.shape[1]}"
            raise InputError(f"{told} now; sketch it anew") if frame is None else ValueError(f"{told} in the frame")
        return found


class PhotoPreparer:
    """Makes photos ready for one bank.

    The bank is measured and the detector loaded when the first photo needs them, each once. Any number of threads
    may prepare photos at the same time; the bank must stay open meanwhile.

    Parameters
    ----------
    bank : PatchBank
    settings : PreparationSettings, optional

    Attributes
    ----------
    notes : tuple of str
        What a person should know before the first photo: that none is normalised, and why.

    Raises
    ------
    InputError
        ``align="always"`` without a detector, an explicit way to normalise and a bank without grey levels or one that
        is asked with sketches, or a bank of less than 16 pixels a side.
    """

    def __init__(self, bank: PatchBank, settings: PreparationSettings | None = None) -> None:
        self.settings = settings or PreparationSettings()
        self.size = (bank.height, bank.width)
        self._detector: Once[Detector | None] = Once(any_detector if self.settings.align == "auto" else open_detector)
        if self.settings.align == "always":
            self._detector()
        self._align = AlignSettings(*self.size, self.settings.face, self.settings.pad)
        normalises, self.notes = normalising(bank, self.settings.normalise)
        self._measured = Once(lambda: Normaliser.of(bank)) if normalises else None
        fills = self.settings.pad == "auto" and can_normalise(bank)
        self._surroundings = Once(lambda: Surroundings.of(bank)) if fills else None

    def load_detector(self) -> None:
        """Load the detector now, where faces are looked for, not for the first photo."""
        if self.settings.align != "never":
            self._detector()

    def measures(self) -> Measured:
        """What of the bank has been measured so far, for another one of the same bank and settings; picklable."""
        return tuple(once.made if once else None for once in self._measuring)

    def take_over(self, measures: Measured) -> None:
        """Use what another one, of the same bank and settings, has measured."""
        for once, value in zip(self._measuring, measures, strict=True):
            if once and value is not None:
                once.keep(value)

    @property
    def _measuring(self) -> tuple[Once[Any] | None, ...]:
        return self._measured, self._surroundings

    def prepare(
        self, photo: PhotoLike, *, eyes: Eyes | None = None, face: int | None = None, name: str | None = None
    ) -> PreparedPhoto:
        """Make one photo ready.

        Parameters
        ----------
        photo : path, bytes, or (H, W) or (H, W, 3) uint8
            A file, the content of a file, or pixels.
        eyes : Eyes, optional
            Where a person sees the eyes, in the photo's pixels (of the upright photo): no face is looked for.
        face : int, optional
            Which of the photo's faces, from 1 on, instead of the one that the settings name.
        name : str, optional
            What messages call a photo that is no file; "the photo" if not given. A file is called by its path.

        Returns
        -------
        PreparedPhoto

        Raises
        ------
        InputError
            Unreadable, of another size and not to be aligned, no usable face in it or none of that number, or eyes
            that cannot be a face's.
        TypeError, ValueError
            An array of another dtype or shape, or eyes or a face given where photos are never aligned.
        """
        source = photo if isinstance(photo, bytes | np.ndarray) else Path(photo)
        called = str(source) if isinstance(source, Path) else name or _UNNAMED
        frame = read_photo(source, called)
        made = self._aligned(called, frame, eyes, face)
        if made is None:
            image, steps = self._normalised(frame)
            return PreparedPhoto(image, source, called, steps=steps, size=frame.shape[:2])
        image, steps = self._surrounded(frame, made)
        number = None if eyes is not None else made.number  # of a face that was found
        return PreparedPhoto(image, source, called, made.move, number, steps, made.warnings, frame.shape[:2])

    def _aligned(self, name: str, frame: Image, eyes: Eyes | None, face: int | None) -> Aligned | None:
        """The face that was asked for, aligned; None where the photo stays as it is."""
        settings = self.settings if face is None else replace(self.settings, face=face)
        if eyes is not None and face is not None:
            raise ValueError("give the eyes of a photo or the number of a face, not both")
        if eyes is not None and settings.align == "never":
            raise ValueError("the eyes of a photo are given, but align='never' moves none")
        if eyes is not None:
            return self._warped(name, frame, [given_face(name, frame, eyes)], "largest")
        if settings.face == "largest" and not self._needs_aligning(name, frame):
            return None
        return self._warped(name, frame, find_faces(frame, self._detector() or open_detector()), settings.face)

    def _needs_aligning(self, name: str, frame: Image) -> bool:
        """Whether a photo without eyes or a face given is aligned; InputError where it must be and cannot."""
        mode = self.settings.align
        if mode == "always":
            return True
        if frame.shape[:2] == self.size:
            return mode == "auto" and not may_stay(frame, self._detector())
        if mode == "never":
            require_size(frame, name, self.size, remedy=_REMEDIES[mode])
        if self._detector() is None:
            raise EyesWanted(misfit(frame, name, self.size), _REMEDIES[mode])
        return True

    def _warped(self, name: str, frame: Image, faces: Sequence[Face], face: str | int) -> Aligned:
        return Aligner(replace(self._align, face=face)).align(name, frame, faces)[0]

    def _surrounded(self, frame: Image, made: Aligned) -> tuple[Image, tuple[str, ...]]:
        """An aligned photo normalised, and what lies beyond its border filled in."""
        around = self._surroundings() if self._surroundings else None
        opacity = around.opacity(frame, made.move) if around else None
        if around is None or opacity is None:
            return self._normalised(made.image)
        aligned = warp(frame, made.move, *self.size, "edge")
        # hair that a border cuts hangs beside the neck like a backdrop: what is seen of the real one stays
        image, steps = self._normalised(around.fill(aligned, opacity), without=("background",))
        # steps bring the photo to the bank's levels; what was filled in has them already and must not be brought twice
        return (around.fill(image, opacity) if steps else image), steps

    def _normalised(self, image: Image, without: Container[str] = ()) -> tuple[Image, tuple[str, ...]]:
        if self._measured is None:
            return image, ()
        whole = mended(image) if self.settings.normalise == "auto" else image
        made = self._measured().normalise(whole, self.settings.normalise, without)
        return made.photo, (*(("bars",) if whole is not image else ()), *made.steps)


def read_photo(photo: PhotoLike, name: str | None = None) -> Image:
    """The pixels of a photo that is a path, the bytes of an image file, or an array.

    Parameters
    ----------
    photo : path, bytes, or (H, W) or (H, W, 3) uint8
    name : str, optional
        What errors call a photo that is no file; "the photo" if not given.

    Returns
    -------
    (H, W, 3) uint8
        Turned upright as its EXIF data say; the very array where one of three channels was given.

    Raises
    ------
    InputError
        Missing, unreadable, animated, in floating point, or too large; see :func:`idemodel.files.images.read_colour`.
    TypeError, ValueError
        An array of another dtype or shape.
    """
    if isinstance(photo, bytes):
        return decode_colour(photo, name or _UNNAMED)
    if isinstance(photo, np.ndarray):
        return as_colour(photo, name or _UNNAMED)
    return read_colour(photo)


def normalising(bank: PatchBank, method: str) -> tuple[bool, tuple[str, ...]]:
    """Whether photos are normalised for a bank, and what a person should know of that.

    ``auto`` normalises photos where the bank keeps grey levels to bring them to; sketches are never normalised.

    Raises
    ------
    InputError
        A method other than auto and none, and a bank without grey levels, or one that is asked with sketches.
    """
    if method == "none" or (method == "auto" and bank.direction != PHOTO_TO_SKETCH):
        return False, ()
    if bank.direction != PHOTO_TO_SKETCH:
        raise InputError("--normalise is for photos, and this bank makes photos of sketches; drop the option")
    if method == "auto" and not can_normalise(bank):
        return False, ("photos are taken as they are: the bank has no plane of grey levels to normalise them by",)
    require_grey(bank)
    return True, ()


def number_in_bank(photo: str | os.PathLike[str], names: Sequence[str]) -> int:
    """The bank's pair that a photo belongs to, by the photo's file name without its suffix: what it must leave out.

    Parameters
    ----------
    photo : path or name
    names : sequence of str
        Of the bank's pairs.

    Raises
    ------
    InputError
        The bank has no pair of that name.
    """
    stem = stem_of(photo)
    names = [one_form(name) for name in names]
    if stem not in names:
        raise InputError(f"{os.fspath(photo)}: no pair {stem!r} in the bank to leave out; drop --leave-one-out for it")
    return names.index(stem)


class Once(Generic[Value]):
    """A value that is made when it is first asked for, once, whatever thread asks; an error is not kept."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._made: list[Value] = []
        self._lock = threading.Lock()

    @property
    def made(self) -> Value | None:
        """The value where it has been made, or kept; does not wait for that."""
        return self._made[0] if self._made else None

    def keep(self, value: Value) -> None:
        """Take this for the value, unless there is one."""
        with self._lock:
            self._made = self._made or [value]

    def __call__(self) -> Value:
        """The value."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]
