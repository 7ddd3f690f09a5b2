"""Large banks: built in parts, killed and taken up again, in constant memory; verified by several processes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bank_files import SETTINGS, content, run, some_pairs
from commands import call, told_once
from filelock import FileLock

from idekernels import BankError, InputError, open_bank, verify, write_bank
from idekernels.bank import parts
from idekernels.bank.parts import PairSource, build_bank


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 4)


class Pairs:
    """Ten pairs that count how often each is read, and fail where they are told to."""

    def __init__(self, count: int = 10, fails_at: int | None = None, size: tuple[int, int] = (20, 18)) -> None:
        self.images = some_pairs(count=count, size=size)
        self.read_names: list[str] = []
        self.fails_at = fails_at

    def sources(self, key: Callable[[str], str] = str) -> list[PairSource]:
        return [
            PairSource(name, partial(key, name), partial(self._read, number))
            for number, (name, _, _) in enumerate(self.images)
        ]

    def _read(self, number: int) -> tuple[Any, Any]:
        if number == self.fails_at:
            raise InputError("this one is broken")
        name, photo, sketch = self.images[number]
        self.read_names.append(name)
        return photo, sketch


def flip(path: Path, pairs: tuple[int, ...]) -> None:
    """Change one pixel of these pairs."""
    with h5py.File(path) as file:
        places = [file["source"].id.get_chunk_info(number).byte_offset for number in pairs]
    whole = bytearray(path.read_bytes())
    for place in places:
        whole[place + 100] ^= 1
    path.write_bytes(whole)


def without_time(path: Path) -> Any:
    with open_bank(path) as bank:
        *rest, _, tool = content(bank)
        return rest, tool, bank.hashes.tobytes(), bank.descriptions().tobytes()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("count", [4, 10, 12])
def test_a_bank_built_in_parts_is_that_written_at_once(tmp_path: Path, count: int, compress: bool) -> None:
    if compress:
        pytest.importorskip("hdf5plugin")
    told: list[tuple[int, int]] = []
    pairs = Pairs(count)
    write_bank(tmp_path / "once.h5", pairs.images, SETTINGS, compress=compress)
    there = build_bank(
        tmp_path / "parts.h5", pairs.sources(), SETTINGS, compress=compress,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert there == 0
    assert without_time(tmp_path / "parts.h5") == without_time(tmp_path / "once.h5")
    assert told == [(done, count) for done in range(1, count + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["once.h5", "parts.h5"]
    verify(tmp_path / "parts.h5")


def test_a_build_that_failed_goes_on_after_the_parts_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    with pytest.raises(InputError, match="this one is broken"):
        build_bank(path, Pairs(fails_at=9).sources(), SETTINGS)
    assert not path.exists()
    pairs = Pairs()
    assert build_bank(path, pairs.sources(), SETTINGS) == 8
    assert pairs.read_names == ["pair-0", "pair-8", "pair-9"]  # the first for its size
    write_bank(tmp_path / "once.h5", pairs.images, SETTINGS)
    assert without_time(path) == without_time(tmp_path / "once.h5")


def test_parts_of_other_images_or_settings_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    with pytest.raises(InputError):
        build_bank(path, Pairs(fails_at=9).sources(), SETTINGS)
    with pytest.raises(InputError):
        build_bank(path, Pairs(fails_at=8).sources(lambda name: "altered" if name == "pair-5" else name), SETTINGS)
    pairs = Pairs()
    assert build_bank(path, pairs.sources(lambda name: "new" if name == "pair-1" else name), SETTINGS) == 4
    assert "pair-1" in pairs.read_names and "pair-5" not in pairs.read_names


def test_a_part_that_is_cut_short_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    with pytest.raises(InputError):
        build_bank(path, Pairs(fails_at=9).sources(), SETTINGS)
    part, *_ = (tmp_path / ".bank.h5.parts").glob("*.h5")
    part.write_bytes(part.read_bytes()[:-100])
    assert build_bank(path, Pairs().sources(), SETTINGS) == 4
    verify(path)


def test_a_part_with_a_flipped_byte_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    with pytest.raises(InputError):
        build_bank(path, Pairs(fails_at=9).sources(), SETTINGS)
    part, *_ = (tmp_path / ".bank.h5.parts").glob("*.h5")
    flip(part, (1,))
    with pytest.raises(InputError, match="this part was damaged, and is removed; run the same command again"):
        build_bank(path, Pairs().sources(), SETTINGS)
    assert not path.exists()
    assert build_bank(path, Pairs().sources(), SETTINGS) == 6
    verify(path)


def test_a_pair_of_another_size_is_named_when_it_is_read(tmp_path: Path) -> None:
    pairs = Pairs()
    name, _, sketch = pairs.images[8]
    pairs.images[8] = (name, np.zeros((20, 19), np.uint8), np.zeros((20, 19), np.uint8))
    with pytest.raises(InputError, match=r"pair 'pair-8': is 20 x 19, the bank's first 20 x 18; bring all pairs"):
        build_bank(tmp_path / "bank.h5", pairs.sources(), SETTINGS)
    assert "pair-9" not in pairs.read_names


def test_two_processes_do_not_build_one_bank(tmp_path: Path) -> None:
    (tmp_path / ".bank.h5.parts").mkdir()
    with (
        FileLock(tmp_path / ".bank.h5.parts" / "lock"),
        pytest.raises(InputError, match="is being built by another process; wait for it"),
    ):
        build_bank(tmp_path / "bank.h5", Pairs().sources(), SETTINGS)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        build_bank(tmp_path / "nowhere" / "bank.h5", Pairs().sources(), SETTINGS)
    assert caught.value.filename == str(tmp_path / "nowhere")


_KILLED = """
    import os, signal, sys
    from idecli import bank
    from idecli.main import run
    from idekernels.bank import parts

    parts.PART, whole, reads = 4, bank._read, []
    def read(pair, *more):
        reads.append(pair.name)
        if len(reads) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(pair, *more)
    bank._read = read
    code = run(["bank", "build", sys.argv[1], sys.argv[2]])
    print(len(reads))
    sys.exit(code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_build_that_is_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pairs, path = tmp_path / "pairs", tmp_path / "bank.h5"
    assert call("data", "phantom", pairs, "--pairs", 14, "--size", "64x48") == 0
    path.write_bytes(b"what stood there")
    for reads in (7, 7):  # once in the second part; once in the third, the first being there
        assert run(_KILLED, pairs, path, str(reads)).returncode == -signal.SIGKILL
        assert path.read_bytes() == b"what stood there"
    done = run(_KILLED, pairs, path, "0")
    assert done.returncode == 0, done.stderr
    assert "8 of 14 pairs were there from a build that was ended" in done.stderr
    assert done.stdout.splitlines()[-1] == str(1 + 14 - 8)  # the first once more for its size
    assert run(_KILLED, pairs, tmp_path / "straight.h5", "0").returncode == 0
    assert without_time(path) == without_time(tmp_path / "straight.h5")
    verify(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bank.h5", "pairs", "straight.h5"]


_MEMORY = """
    import resource, sys
    import numpy as np
    from idekernels.bank.parts import PairSource, build_bank

    def read(number):
        image = np.full((250, 200), number % 251, np.uint8)
        return image, image
    def build(count):
        build_bank(sys.argv[1], [PairSource(str(n), str, lambda n=n: read(n)) for n in range(count)])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 2**20)
    few, many = build(100), build(700)
    print(few, many)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_seven_times_the_pairs_take_no_more_memory(tmp_path: Path) -> None:
    """600 pairs more are 60 MB more of pixels; what is kept of each is its hash and its description, 0.3 MB of all."""
    done = run(_MEMORY, tmp_path / "bank.h5")
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many - few < 20, (few, many)


def verdict(path: Path, jobs: int | None) -> str:
    try:
        verify(path, jobs)
    except BankError as error:
        return str(error)
    return "sound"


@pytest.mark.parametrize("damaged", [(), (3,), (0, 4, 5, 8, 9, 7)])
def test_any_number_of_processes_verifies_alike(tmp_path: Path, damaged: tuple[int, ...]) -> None:
    path = tmp_path / "bank.h5"
    write_bank(path, some_pairs(count=10), SETTINGS)
    flip(path, damaged)
    said = [verdict(path, jobs) for jobs in (1, 3, None)]
    names = ", ".join(f"pair-{number}" for number in sorted(damaged)[:5]) + (" ..." if len(damaged) > 5 else "")
    bad = f"{path}: {len(damaged)} of 10 pairs are damaged ({names}); build the bank anew"
    assert said == [bad if damaged else "sound"] * 3


def test_the_command_takes_the_number_of_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bank.h5"
    write_bank(path, some_pairs(count=5), SETTINGS)
    assert call("bank", "verify", path, "--jobs", 2) == 0
    assert "sound" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:-50])
    assert str(path) in told_once(capsys, "bank", "verify", path, "--jobs", 2)
