"""Every reader on what is no ordinary file: folders, pipes, devices, links, files that may not be read or never end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.harness import Worker
from tests.fuzz.reader import Reader
from tests.fuzz.readers import READERS

_SPARSE = 2**41  # bytes that a file claims and the disk does not hold


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)


def _piped(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _sparse(reader: Reader, path: Path) -> None:
    path.touch()
    os.truncate(path, _SPARSE)


def _lengthened(reader: Reader, path: Path) -> None:
    path.write_bytes(reader.wrap(reader.seeds[0]))
    os.truncate(path, _SPARSE)


PLACES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a link to a pipe": _piped,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a device without content": lambda path: path.symlink_to("/dev/null"),
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to itself": _circle,
    "a socket": _socket,
    "an unreadable file": _unreadable,
}
FILES: dict[str, Callable[[Reader, Path], None]] = {
    "an empty file": lambda reader, path: path.touch(),
    "zeros without end": _sparse,
    "a good file, and zeros without end": _lengthened,
}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_no_place_but_a_file_is_read(
    reader: Reader, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # and back afterwards
    for number, (name, make) in enumerate(PLACES.items()):
        path = tmp_path / str(number) / reader.file
        path.parent.mkdir(parents=True)
        make(path)
        told = worker.judge(reader, path)
        assert told != "read" or reader.may_be_absent, (name, told)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_files_of_any_length_are_read_or_refused(reader: Reader, worker: Worker, tmp_path: Path) -> None:
    for number, make in enumerate(FILES.values()):
        path = tmp_path / str(number) / reader.file
        path.parent.mkdir(parents=True)
        make(reader, path)
        worker.judge(reader, path)


@pytest.mark.parametrize("name", ["line\nbreak", "escape\x1b[31m", "half \udcff", "tab\t", "n" * 200])
def test_a_files_name_never_reaches_a_terminal_raw(name: str, tmp_path: Path) -> None:
    from idecli.console import one_line
    from idekernels.errors import InputError
    from idemodel.files.images import read_colour

    path = tmp_path / name
    path.write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        read_colour(path)
    told = one_line(caught.value)
    assert told.isprintable() and len(told.splitlines()) == 1
    told.encode()
