"""The header of a bank's file: names, hashes, settings and the digest of them all, written and read here; no planes.

Layout (schema version 1), libhdf5's newest format, whose metadata carry checksums of their own:

- ``source`` (n, L, H, W) and ``target`` (n, C, H, W), uint8, one image a chunk, Fletcher-32;
- ``names``: the pairs' names as UTF-8 JSON, ``hashes`` (n, 32): SHA-256 of each pair's source and target bytes;
- attributes: ``format``, ``version``, the settings, ``created``, ``tool``; ``digest``: SHA-256 over all the above.
  Of the settings ``direction`` is absent in older files: photo-to-sketch;
- ``descriptions`` (n, L, R, S), uint8, of every source image, with the attributes ``description_version`` and
  ``description_digest`` (SHA-256 over version, descriptions and ``digest``). Older files have none, and older versions
  of idesketch do not look at them: what they say follows from the images, so ``digest`` leaves them out. Those of
  another version than this one's are computed anew of the images when they are needed.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idekernels.bank.base import BankHead
from idekernels.bank.description import VERSION as DESCRIPTION
from idekernels.bank.description import shape_of
from idekernels.bank.layout import DESCRIPTIONS, check_layout
from idekernels.bank.settings import PHOTO_TO_SKETCH, BankSettings
from idekernels.errors import BankError

FORMAT = "idesketch patch bank"
VERSION = 1

_DIGESTED = ("patch", "overlap", "radius", "representations", "weights", "created", "tool", "version")


@dataclass(frozen=True)
class PairTable:
    """What is noted of every pair: names; hashes, (n, 32) uint8; descriptions of the sources, (n, L, R, S) uint8."""

    names: list[str]
    hashes: NDArray[np.uint8]
    descriptions: NDArray[np.uint8]


@dataclass(frozen=True)
class Header:
    """What a bank's file says of its content.

    head : BankHead. hashes : (n, 32) uint8, SHA-256 of each pair. created : ISO 8601 time. tool : what wrote it.
    digest : 64 hexadecimal digits; two banks of one digest have equal content. described : whether it holds the images'
    descriptions, as this version of idesketch makes them.
    """

    head: BankHead
    hashes: NDArray[np.uint8]
    created: str
    tool: str
    digest: str
    described: bool


def write_header(
    file: h5py.File,
    pairs: PairTable,
    settings: BankSettings,
    created: datetime.datetime | None = None,
) -> None:
    """Write all but the planes, which must be complete: their shapes enter the digest. ``created``: now if None."""
    names, hashes = pairs.names, pairs.hashes
    created = created or datetime.datetime.now(datetime.timezone.utc)
    encoded = np.frombuffer(json.dumps(names, ensure_ascii=False).encode(), np.uint8)
    file.create_dataset("names", data=encoded, chunks=encoded.shape, fletcher32=True)
    file.create_dataset("hashes", data=hashes, chunks=hashes.shape, fletcher32=True)
    file.create_dataset(DESCRIPTIONS, data=pairs.descriptions, chunks=pairs.descriptions.shape, fletcher32=True)
    attributes = file.attrs
    attributes.update(patch=settings.patch, overlap=settings.overlap, radius=settings.radius)
    attributes["representations"] = json.dumps(settings.representations)
    attributes["weights"] = np.array(settings.weights, np.int64)
    attributes["direction"] = np.bytes_(settings.direction)  # in the attribute itself, where a checksum covers it
    attributes["created"] = created.isoformat(timespec="seconds")
    attributes["tool"] = f"idesketch {_tool_version()}"
    attributes["version"] = VERSION
    attributes["digest"] = digest(attributes, names, hashes, file["source"].shape, file["target"].shape)
    attributes["description_version"] = DESCRIPTION
    attributes["description_digest"] = description_digest(DESCRIPTION, pairs.descriptions, attributes["digest"])
    attributes["format"] = FORMAT


def read_header(file: h5py.File, path: Path) -> Header:
    """Read all but the planes and check that it fits together; ``path`` is for the messages.

    Raises
    ------
    BankError
        Not a bank, of a newer version, or its parts do not fit together or were altered.
    Exception
        What h5py, json and :class:`BankSettings` say of damaged values; the caller makes a BankError of it.
    """
    attributes = file.attrs
    _check_version(attributes, path)
    created, tool = str(attributes["created"]), str(attributes["tool"])
    check_layout(file, file.id.get_filesize())
    hashes, names, settings = file["hashes"][()], _read_names(file), _read_settings(attributes)
    source, target = file["source"], file["target"]
    if not _fits(names, hashes, settings, source, target):
        raise BankError(f"{path}: names, source {source.shape} and target {target.shape} do not fit together")
    stored = attributes["digest"]
    if stored != digest(attributes, names, hashes, source.shape, target.shape):
        raise BankError(f"{path}: names or settings were altered; build the bank anew")
    height, width = (int(side) for side in source.shape[2:])
    head = BankHead(height, width, int(target.shape[1]), tuple(names), settings)
    described = _is_described(file, path, (len(names), *shape_of(*source.shape[1:])))
    return Header(head, hashes, created, tool, str(stored), described)


def digest(attributes: Any, names: list[str], hashes: NDArray[np.uint8], *shapes: tuple[int, ...]) -> str:
    """SHA-256, in hexadecimal, over settings, names, hashes and the shapes of source and target."""
    head = {name: np.asarray(attributes[name]).tolist() for name in _DIGESTED}
    if "direction" in attributes:
        head["direction"] = _read_direction(attributes)
    text = json.dumps([head, names, [list(map(int, shape)) for shape in shapes]], sort_keys=True)
    return hashlib.sha256(text.encode() + hashes.tobytes()).hexdigest()


def description_digest(version: int, descriptions: NDArray[np.uint8], bank: str) -> str:
    """SHA-256, in hexadecimal, over the descriptions' version and bytes and the bank's own digest."""
    return hashlib.sha256(f"{version} {descriptions.shape} {bank} ".encode() + descriptions.tobytes()).hexdigest()


def pair_hash(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> bytes:
    """SHA-256 of a pair's source and target bytes."""
    return hashlib.sha256(source.tobytes() + target.tobytes()).digest()


def _check_version(attributes: Any, path: Path) -> None:
    if attributes.get("format") != FORMAT:
        raise BankError(f"{path}: an HDF5 file, but not a patch bank; make one with: idesketch bank build")
    if int(attributes["version"]) > VERSION:
        raise BankError(
            f"{path}: bank version {int(attributes['version'])} is newer than this idesketch reads "
            f"({VERSION}); install a newer idesketch"
        )


def _is_described(file: h5py.File, path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file holds descriptions of this version; BankError where they were altered."""
    attributes = file.attrs
    if "description_version" not in attributes or int(attributes["description_version"]) != DESCRIPTION:
        return False
    found = file[DESCRIPTIONS][()]
    told = description_digest(DESCRIPTION, found, attributes["digest"])
    if found.shape != shape or attributes["description_digest"] != told:
        raise BankError(f"{path}: the faces' descriptions were altered; build the bank anew")
    return True


def _read_names(file: h5py.File) -> list[str]:
    names = json.loads(bytes(file["names"][()]))
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise TypeError("names that are no texts")
    return names


def _read_settings(attributes: Any) -> BankSettings:
    patch, overlap, radius = (int(attributes[name]) for name in ("patch", "overlap", "radius"))
    representations = tuple(json.loads(attributes["representations"]))
    weights = tuple(int(weight) for weight in attributes["weights"])
    return BankSettings(patch, overlap, radius, representations, weights, _read_direction(attributes))


def _read_direction(attributes: Any) -> str:
    return str(attributes["direction"].decode()) if "direction" in attributes else PHOTO_TO_SKETCH


def _fits(
    names: list[str], hashes: NDArray[np.uint8], settings: BankSettings, source: h5py.Dataset, target: h5py.Dataset
) -> bool:
    size = source.shape[2:]
    return (
        source.shape == (len(names), len(settings.weights), *size)
        and target.shape == (len(names), target.shape[1], *size)
        and target.shape[1] in (1, 3)
        and {source.dtype, target.dtype, hashes.dtype} == {np.dtype(np.uint8)}
        and hashes.shape == (len(names), 32)
        and 0 < len(names) == len(set(names))
    )


def _tool_version() -> str:
    try:
        return version("idesketch")
    except PackageNotFoundError:
        return "unknown"
