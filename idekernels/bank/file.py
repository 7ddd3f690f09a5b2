"""The bank as an HDF5 file: written whole or not at all, checked at every read; knows layout and checksums, no patches.

Layout (schema version 1), libhdf5's newest format, whose metadata carry checksums of their own:

- ``source`` (n, L, H, W) and ``target`` (n, C, H, W), uint8, one image a chunk, Fletcher-32;
- ``names``: the pairs' names as UTF-8 JSON, ``hashes`` (n, 32): SHA-256 of each pair's source and target bytes;
- attributes: ``format``, ``version``, the settings, ``created``, ``tool``; ``digest``: SHA-256 over all the above.
  Of the settings ``direction`` is absent in older files: photo-to-sketch.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PHOTO_TO_SKETCH, BankSettings, JoinedBank, PatchBank, as_planes
from idekernels.bank.layout import ZSTANDARD, check_frame, check_layout, new_enough
from idekernels.errors import BankError, InputError, in_short
from idekernels.files.atomic import replace_when_done
from idekernels.files.patient import PatientFile
from idekernels.files.regular import regular_file
from idekernels.representations import planes_of

FORMAT = "idesketch patch bank"
VERSION = 1

_HEAD = ("patch", "overlap", "radius", "representations", "weights", "created", "tool")
_DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError)
_Pair = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]


def write_bank(
    path: str | os.PathLike[str],
    pairs: Iterable[_Pair],
    settings: BankSettings | None = None,
    *,
    compress: bool = False,
) -> None:
    """Write ``(name, photo, sketch)`` pairs, one at a time, to a bank that replaces ``path`` when it is complete.

    The settings' direction says which of photo and sketch becomes the source and which the target.

    Parameters
    ----------
    path : path
        The file; what stood there stays until the new bank is complete and flushed to the disk.
    pairs : iterable of (str, (H, W[, 3]) uint8, (H, W[, 3]) uint8)
        All of one size, at least one, no name twice.
    settings : BankSettings, optional
    compress : bool
        Zstandard through hdf5plugin (extra ``compress``): smaller and slower to read.

    Raises
    ------
    InputError
        No pairs, a pair of another size, a name twice or not UTF-8, or hdf5plugin missing.
    OSError
        The folder is missing or read-only, or the disk is full.
    """
    settings = settings or BankSettings()
    filters = _zstandard() if compress else {}
    with (
        replace_when_done(path) as partial,
        closing(PatientFile(partial)) as disk,
        h5py.File(disk, "w", libver="latest") as file,
    ):
        names, hashes = _write_pairs(file, _checked(pairs, disk), settings, filters)
        _write_head(file, names, hashes, settings)


def open_bank(*paths: str | os.PathLike[str], direction: str | None = None) -> PatchBank:
    """Open a bank for reading, or several as one (see :class:`idekernels.bank.JoinedBank`).

    Parameters
    ----------
    *paths : path
    direction : str, optional
        Refuse a bank of the other direction.

    Raises
    ------
    BankError
        Missing, not a bank, of a newer version, truncated or altered; or of another direction.
    """
    with ExitStack() as until_all_fit:
        banks = [until_all_fit.enter_context(FileBank(path)) for path in paths]
        for bank in banks:
            if direction not in (None, bank.direction):
                raise BankError(
                    f"{bank.path}: is a bank for {bank.direction}, not {direction}; "
                    f"build one with: idesketch bank build --direction {direction}"
                )
        joined = banks[0] if len(banks) == 1 else JoinedBank(banks)
        until_all_fit.pop_all()
    return joined


class FileBank(PatchBank):
    """A bank that reads its images from the file when they are asked for; every read checks the chunks' checksums."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            with _damage(self.path):
                self._read_head()
        except BaseException:
            self._file.close()
            raise

    def _read_head(self) -> None:
        attributes, file = self._file.attrs, self._file
        if attributes.get("format") != FORMAT:
            raise BankError(f"{self.path}: an HDF5 file, but not a patch bank; make one with: idesketch bank build")
        if int(attributes["version"]) > VERSION:
            raise BankError(
                f"{self.path}: bank version {int(attributes['version'])} is newer than this idesketch reads "
                f"({VERSION}); install a newer idesketch"
            )
        self.created, self.tool = str(attributes["created"]), str(attributes["tool"])
        check_layout(file, file.id.get_filesize())
        self.hashes = file["hashes"][()]
        source, target, names = file["source"], file["target"], json.loads(bytes(file["names"][()]))
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise TypeError("names that are no texts")
        self._compressed = _need_filters(self.path, source), _need_filters(self.path, target)
        patch, overlap, radius = (int(attributes[name]) for name in ("patch", "overlap", "radius"))
        settings = BankSettings(
            patch,
            overlap,
            radius,
            tuple(json.loads(attributes["representations"])),
            tuple(int(weight) for weight in attributes["weights"]),
            _direction(attributes),
        )
        expected = (len(names), len(settings.weights), *source.shape[2:])
        if (
            source.shape != expected
            or target.shape != (len(names), target.shape[1], *source.shape[2:])
            or target.shape[1] not in (1, 3)
            or {source.dtype, target.dtype, self.hashes.dtype} != {np.dtype(np.uint8)}
            or self.hashes.shape != (len(names), 32)
            or len(set(names)) != len(names)
            or not names
        ):
            raise BankError(f"{self.path}: names, source {source.shape} and target {target.shape} do not fit together")
        if attributes["digest"] != _digest(attributes, names, self.hashes, source.shape, target.shape):
            raise BankError(f"{self.path}: names or settings were altered; build the bank anew")
        self._describe(source.shape[2:], target.shape[1], names, settings)

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop; BankError where the file is damaged."""
        return self._read("source", start, stop)

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop; BankError where the file is damaged."""
        return self._read("target", start, stop)

    def _read(self, side: str, start: int, stop: int) -> NDArray[np.uint8]:
        with _damage(self.path):
            data = self._file[side]
            if self._compressed[side == "target"]:
                for number in range(*slice(start, stop).indices(self.images)):
                    check_frame(data, number)
            planes: NDArray[np.uint8] = data[start:stop]
        return planes

    def damaged(self, progress: Callable[[], None] = lambda: None) -> Iterator[str]:
        """Yield the name of every pair whose bytes are not those that were written."""
        for i, name in enumerate(self.names):
            try:
                whole = _hash(self.source(i, i + 1), self.target(i, i + 1)) == bytes(self.hashes[i])
            except BankError:
                whole = False
            if not whole:
                yield name
            progress()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def verify(path: str | os.PathLike[str]) -> None:
    """Check every byte of a bank's content, in a process of its own: libhdf5 itself may crash on a hostile file.

    Raises
    ------
    BankError
        What is wrong with the bank.
    """
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"  # what is found here must be found there, whatever lies around
        "from idekernels.bank.file import verify_here; verify_here(sys.argv[1])"
    )
    result = subprocess.run([sys.executable, "-c", code, os.fspath(path)], capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return
    if result.returncode == 3:
        raise BankError(result.stdout.strip())
    raise BankError(f"{path}: damaged so badly that reading it crashed (status {result.returncode}); build it anew")


def verify_here(path: str) -> None:
    """Verify in this process; on a fault, print it and exit with status 3 (what :func:`verify` runs)."""
    try:
        with FileBank(path) as bank:
            bad = list(bank.damaged()) if isinstance(bank, FileBank) else []
        if bad:
            shown = ", ".join(bad[:5]) + (" ..." if len(bad) > 5 else "")
            raise BankError(f"{path}: {len(bad)} of {bank.images} pairs are damaged ({shown}); build the bank anew")
    except BankError as error:
        print(error)
        sys.exit(3)


def _write_pairs(
    file: h5py.File, pairs: Iterable[_Pair], settings: BankSettings, filters: dict[str, Any]
) -> tuple[list[str], NDArray[np.uint8]]:
    names: dict[str, bytes] = {}
    for name, photo, sketch in pairs:
        _check_name(name, names)
        if photo.shape[:2] != sketch.shape[:2]:
            raise InputError(
                f"pair {name!r}: the photo is {photo.shape[0]} x {photo.shape[1]} (rows x columns), the sketch "
                f"{sketch.shape[0]} x {sketch.shape[1]}; align or scale them to one size"
            )
        queried, copied = settings.ordered(photo, sketch)
        source, target = planes_of(queried, settings.representations), as_planes(copied)
        if not names:
            for side, planes in (("source", source), ("target", target)):
                file.create_dataset(
                    side, (0, *planes.shape), np.uint8, chunks=(1, *planes.shape), maxshape=(None, *planes.shape),
                    fletcher32=True, **filters,
                )  # fmt: skip
        for side, planes in (("source", source), ("target", target)):
            data = file[side]
            if data.shape[1:] != planes.shape:
                raise InputError(
                    f"pair {name!r}: {side} is {planes.shape[1]} x {planes.shape[2]} with {planes.shape[0]} planes, the"
                    f" bank's are {data.shape[2]} x {data.shape[3]} with {data.shape[1]}; bring all pairs to one size"
                )
            data.resize(len(names) + 1, axis=0)
            data[len(names)] = planes
        names[name] = _hash(source, target)
    if not names:
        raise InputError("no pairs to build a bank from")
    return list(names), np.frombuffer(b"".join(names.values()), np.uint8).reshape(-1, 32)


def _check_name(name: str, names: dict[str, bytes]) -> None:
    if name in names:
        raise InputError(f"pair {name!r} comes twice")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"pair {name!r}: the name is not UTF-8; rename the files") from None


def _write_head(file: h5py.File, names: list[str], hashes: NDArray[np.uint8], settings: BankSettings) -> None:
    encoded = np.frombuffer(json.dumps(names, ensure_ascii=False).encode(), np.uint8)
    file.create_dataset("names", data=encoded, chunks=encoded.shape, fletcher32=True)
    file.create_dataset("hashes", data=hashes, chunks=hashes.shape, fletcher32=True)
    attributes = file.attrs
    attributes.update(patch=settings.patch, overlap=settings.overlap, radius=settings.radius)
    attributes["representations"] = json.dumps(settings.representations)
    attributes["weights"] = np.array(settings.weights, np.int64)
    attributes["direction"] = np.bytes_(settings.direction)  # in the attribute itself, where a checksum covers it
    attributes["created"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    attributes["tool"] = f"idesketch {_tool_version()}"
    attributes["version"] = VERSION
    attributes["digest"] = _digest(attributes, names, hashes, file["source"].shape, file["target"].shape)
    attributes["format"] = FORMAT


def _digest(attributes: Any, names: list[str], hashes: NDArray[np.uint8], *shapes: tuple[int, ...]) -> str:
    head = {name: np.asarray(attributes[name]).tolist() for name in (*_HEAD, "version")}
    if "direction" in attributes:
        head["direction"] = _direction(attributes)
    text = json.dumps([head, names, [list(map(int, shape)) for shape in shapes]], sort_keys=True)
    return hashlib.sha256(text.encode() + hashes.tobytes()).hexdigest()


def _direction(attributes: Any) -> str:
    return str(attributes["direction"].decode()) if "direction" in attributes else PHOTO_TO_SKETCH


def _hash(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(source.tobytes() + target.tobytes()).digest()


def _open(path: Path) -> h5py.File:
    if path.is_dir():
        raise BankError(f"{path}: is a folder, not a patch bank")
    if not path.exists():
        raise BankError(f"{path}: no such bank; make one with: idesketch bank build PAIRS {path}")
    if not regular_file(path, "a patch bank", error=BankError):
        raise BankError(f"{path}: is empty, not a patch bank; build it anew")
    with path.open("rb") as file:
        head = file.read(9)
    if not new_enough(head):
        raise BankError(f"{path}: {'an HDF5 file, but ' if b'HDF' in head else ''}not a patch bank; build it anew")
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        raise BankError(
            f"{path}: not a patch bank, or cut short or altered ({in_short(error)}); build it anew"
        ) from error


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What libhdf5 and the decoders say of a damaged file, as one line."""
    try:
        yield
    except BankError:
        raise
    except _DAMAGE as error:
        raise BankError(f"{path}: damaged ({in_short(error)}); build the bank anew") from error


def _checked(pairs: Iterable[_Pair], disk: PatientFile) -> Iterator[_Pair]:
    """The pairs, until the disk fails."""
    for pair in pairs:
        disk.check()
        yield pair


def _zstandard() -> dict[str, Any]:
    try:
        import hdf5plugin
    except ImportError:
        raise InputError(
            "a compressed bank needs hdf5plugin; install it with: pip install 'idesketch[compress]'"
        ) from None
    return dict(hdf5plugin.Zstd())


def _need_filters(path: Path, data: h5py.Dataset) -> bool:
    """Whether data are compressed with Zstandard; that is read by hdf5plugin, which registers itself when imported."""
    properties = data.id.get_create_plist()
    codes = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if ZSTANDARD in codes and not h5py.h5z.filter_avail(ZSTANDARD):
        try:
            import hdf5plugin  # noqa: F401
        except ImportError:
            raise BankError(
                f"{path}: is compressed; install the reader with: pip install 'idesketch[compress]'"
            ) from None
    return ZSTANDARD in codes


def _tool_version() -> str:
    try:
        return version("idesketch")
    except PackageNotFoundError:
        return "unknown"
