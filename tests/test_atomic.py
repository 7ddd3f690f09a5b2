"""Files that appear whole or not at all, where names are long, folders full and file systems poor."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from idekernels.errors import InputError
from idekernels.files import atomic, notices
from idekernels.files.atomic import replace_when_done


def write(path, text="new"):
    with replace_when_done(path) as partial:
        partial.write_text(text)


@pytest.mark.parametrize("stem", ["人" * 81, "a" * 235, "b" * 251])
def test_a_name_without_room_for_the_temporary_files_name_is_written(tmp_path, stem):
    write(tmp_path / f"{stem}.png")
    assert [path.name for path in tmp_path.iterdir()] == [f"{stem}.png"]


def test_leftovers_of_a_long_name_are_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    target = tmp_path / f"{'a' * 240}.png"
    dead = tmp_path / f"{atomic._start_of_name(target)}0.{gone.pid}.partial"
    dead.touch()
    write(target)
    assert not dead.exists() and target.exists()


def test_writing_many_files_lists_their_folder_once(tmp_path, monkeypatch):
    listed, real = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real(path))
    monkeypatch.setattr(os, "scandir", lambda path: pytest.fail("the folder is looked through"))
    for number in range(20):
        write(tmp_path / f"{number}.png")
    assert len(listed) == 1


@pytest.mark.skipif(os.name != "posix", reason="only there folders are flushed")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_folder_that_cannot_be_flushed_is_told_of_once_and_written(tmp_path, monkeypatch, caplog, number):
    real = os.fsync

    def fsync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(notices, "_told", set())
    for name in ("a", "b"):
        write(tmp_path / name)
        assert (tmp_path / name).read_text() == "new"
    assert len(caplog.records) == 1 and str(tmp_path) in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="only there folders are flushed")
def test_a_folder_that_may_not_be_opened_for_reading_is_written(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, *arguments):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(notices, "_told", set())
    write(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_of_the_disk_itself_is_still_an_error(tmp_path, monkeypatch, number):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(number)):
        write(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes there")
def test_a_pipe_or_a_device_is_never_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(os.devnull)
    for name in ("pipe", "link"):
        with pytest.raises(InputError, match=f"{name}: is a pipe or a device"):
            write(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        write(tmp_path)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_a_read_only_file_system_is_told_by_the_name_that_was_asked_for(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="Read-only") as told:
        write(tmp_path / "a.json")
    assert told.value.filename == os.fspath(tmp_path / "a.json")
