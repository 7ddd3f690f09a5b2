"""Which images of several folders belong together, and whether they can be read and are of one size; scores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idekernels.errors import InputError
from idemodel.datasets.patterns import keys
from idemodel.files.images import read_grey
from idemodel.files.pairs import images_by_stem
from idemodel.files.shapes import shape_text

STEM = "stem"
_RULE = "partners have the same name up to the suffix; --match pairs others"


@dataclass(frozen=True)
class Row:
    """One image: its name, each method's file and the truth's."""

    name: str
    files: Mapping[str, Path]
    truth: Path


@dataclass(frozen=True)
class Pairing:
    """The folders of the methods and of the truth, their images, and those that every folder has.

    ``files`` is by method (``""`` is the truth) and name; ``alone`` holds each name that some folder lacks, with the
    folders that lack it; ``passed`` has a line for each folder in which something was passed over.
    """

    methods: Mapping[str, Path]
    truth: Path
    files: Mapping[str, Mapping[str, Path]]
    rows: tuple[Row, ...]
    alone: tuple[tuple[str, tuple[Path, ...]], ...]
    passed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """What is wrong with a row: files that cannot be read, sizes that differ; and its truth's size (rows, columns)."""

    unreadable: tuple[str, ...]
    mismatches: tuple[str, ...]
    truth: Path
    size: tuple[int, ...]


def pair_folders(methods: Mapping[str, Path], truth: Path, match: str = STEM) -> Pairing:
    """Find the images that the truth's folder and every method's folder have.

    ``match`` is ``stem``, for names without suffix, or a regular expression: partners are equal in what its groups
    find in the names (joined by ``-``), or in all that it finds; a name in which it finds nothing stands for itself.

    Raises
    ------
    InputError
        A folder is missing, no image has a partner, ``match`` is no regular expression, or two images of a folder
        are equal by it.
    """
    passed: list[str] = []
    files = {name: _by_name(folder, match, passed) for name, folder in methods.items()}
    truths = _by_name(truth, match, passed)
    names = sorted(truths.keys() & set.intersection(*(set(stems) for stems in files.values())))
    if not names:
        first = next(iter(methods.values()))
        rule = _RULE if match == STEM else f"looked for by --match {match!r}"
        raise InputError(f"{first}: no image has a partner in {truth}; {rule}")
    rows = tuple(Row(name, {method: files[method][name] for method in methods}, truths[name]) for name in names)
    stems = {folder: set(files[name]) for name, folder in methods.items()}
    return Pairing(
        dict(methods),
        truth,
        {**files, "": truths},
        rows,
        _alone({**stems, truth: set(truths)}),
        tuple(dict.fromkeys(passed)),
    )


def check_row(row: Row) -> Check:
    """Read the files of a row and say what is wrong with them."""
    sizes: dict[Path, tuple[int, ...]] = {}
    unreadable: list[str] = []
    for file in (*row.files.values(), row.truth):
        size_or_error = _size(file)
        if isinstance(size_or_error, str):
            unreadable.append(size_or_error)
        else:
            sizes[file] = size_or_error
    if unreadable:
        return Check(tuple(unreadable), (), row.truth, ())
    size = sizes[row.truth]
    text = shape_text(size)
    mismatches = [
        f"{file}: is {shape_text(sizes[file])} but its truth is {text}"
        for file in row.files.values()
        if sizes[file] != size
    ]
    return Check((), tuple(mismatches), row.truth, size)


def refuse_mismatches(checks: Sequence[Check]) -> None:
    """InputError where an image differs from its truth in size."""
    mismatches = [line for check in checks for line in check.mismatches]
    if mismatches:
        more = f" (and {len(mismatches) - 1} more)" if len(mismatches) > 1 else ""
        raise InputError(f"{mismatches[0]}{more}; --resize scales the synthesised images to their truths")


def _by_name(folder: Path, match: str, passed: list[str]) -> dict[str, Path]:
    """Images by the name that they are paired by, sorted; what was passed over is added to ``passed``."""
    files = images_by_stem(folder, passed.append)
    if match == STEM:
        return files
    named: dict[str, Path] = {}
    for (stem, file), key in zip(files.items(), keys(match, list(files)), strict=True):
        name = key or stem
        if name in named:
            raise InputError(f"{file}: is called {name!r} by --match, as {named[name].name} is; keep one of the two")
        named[name] = file
    return dict(sorted(named.items()))


def _size(file: Path) -> tuple[int, ...] | str:
    """The size of an image, or in words why it cannot be read."""
    try:
        return read_grey(file).shape
    except InputError as error:
        return str(error)


def _alone(stems: Mapping[Path, set[str]]) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    everything = sorted(set.union(*stems.values()))
    lacking = ((name, tuple(folder for folder in stems if name not in stems[folder])) for name in everything)
    return tuple((name, folders) for name, folders in lacking if folders)
