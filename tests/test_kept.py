"""What is kept in the cache folder: made once, never believed where it is damaged, and no error where it cannot be."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from idekernels.files.cache import VARIABLE
from idekernels.files.kept import keep, kept, read_kept


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and an empty one for temporary files beside it."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def made_times(name: str = "x", content: bytes = b"abc") -> int:
    """How often it is made, asked for once."""
    calls: list[int] = []

    def make() -> bytes:
        calls.append(1)
        return content

    assert kept(name, make) == content
    return len(calls)


def test_what_was_made_is_not_made_again(folder: Path) -> None:
    assert [made_times(), made_times(), made_times("below/y"), made_times("below/y")] == [1, 0, 1, 0]
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["x", "y"]
    assert not list(Path(tempfile.gettempdir()).iterdir())  # the other folder is not needed


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[:20]),
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"d"),
        lambda file: file.write_bytes(b"\0" + file.read_bytes()[1:]),
    ],
)
def test_what_is_damaged_is_made_anew_in_its_place(folder: Path, spoil: Callable[[Path], object]) -> None:
    made_times()
    spoil(folder / "x")
    assert read_kept("x") is None
    assert [made_times(), made_times()] == [1, 0]


def test_where_the_folder_cannot_be_written_the_users_own_temporary_one_serves(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    assert [made_times(), made_times()] == [1, 0]


def test_where_nothing_can_be_written_it_is_made_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert [made_times(), made_times()] == [1, 1]
    assert keep("x", b"") is None


def test_a_folder_in_its_place_costs_no_more_than_making_it(folder: Path, tmp_path: Path) -> None:
    (folder / "x").mkdir(parents=True)
    assert [made_times(), made_times()] == [1, 0]  # kept among the temporary files


def test_many_threads_at_once_get_the_same(folder: Path) -> None:
    contents = [bytes([number]) * 10**5 for number in range(6)]
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda one=one: found.append(kept("x", lambda: one))) for one in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= set(contents) and read_kept("x") in contents
    assert [path.name for path in folder.iterdir()] == ["x"]
