"""The kinds of bank: one abstract base, siblings that say and give the same, all fit to be handed to a process."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bank_files import SETTINGS, a_bank_in, some_pairs

import idekernels
from idekernels import (
    BankError,
    BankSettings,
    FileBank,
    JoinedBank,
    MemoryBank,
    PatchBank,
    match,
    open_bank,
    write_bank,
)
from idekernels.bank import BankHead

KINDS: dict[str, Callable[[Path], PatchBank]] = {
    "memory": lambda folder: in_memory(some_pairs()),
    "file": lambda folder: FileBank(a_bank_in(folder)),
    "joined": lambda folder: JoinedBank([in_memory(some_pairs()[:2]), in_memory(some_pairs()[2:])]),
    "joined files": lambda folder: open_bank(*shards_in(folder)),
}


def in_memory(pairs: list[Any]) -> MemoryBank:
    names, photos, sketches = zip(*pairs, strict=True)
    return PatchBank.from_images(photos, sketches, names, SETTINGS)


def shards_in(folder: Path) -> list[Path]:
    paths = [folder / "one.h5", folder / "two.h5"]
    for path, pairs in zip(paths, (some_pairs()[:2], some_pairs()[2:]), strict=True):
        write_bank(path, pairs, SETTINGS)
    return paths


def said(bank: PatchBank) -> Any:
    """All that any bank says."""
    facts = (bank.names, bank.settings, bank.height, bank.width, bank.channels, bank.images, bank.planes)
    planes = (bank.source(0, 6).tobytes(), bank.target(0, 6).tobytes(), bank.source(1, 3).tobytes())
    return (*facts, bank.weights, bank.direction, bank.grid(), bank.query(some_pairs()[0][1]).tobytes(), *planes)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_and_gives_the_same(kind: str, tmp_path: Path) -> None:
    with KINDS[kind](tmp_path) as bank:
        assert isinstance(bank, PatchBank)
        assert said(bank) == said(in_memory(some_pairs()))


def test_the_base_is_abstract_and_names_what_to_call() -> None:
    planes = np.zeros((1, 1, 9, 9), np.uint8)
    for arguments in ((), (planes, planes, ["a"])):
        with pytest.raises(TypeError, match=r"PatchBank is abstract: make a bank in memory with MemoryBank\(source"):
            PatchBank(*arguments)

    class Half(PatchBank):
        """Forgets the targets."""

        def source(self, start: int, stop: int) -> Any:
            return None

    with pytest.raises(TypeError, match=r"abstract.*target"):
        Half(BankHead(9, 9, 1, ("a",), BankSettings()))


def test_a_bank_of_ones_own_needs_the_two_readers_alone() -> None:
    class Grey(PatchBank):
        """As many equal images as wanted."""

        def source(self, start: int, stop: int) -> Any:
            return np.full((stop - start, 1, self.height, self.width), 7, np.uint8)

        target = source

    with Grey(BankHead(9, 8, 1, ("a", "b"), BankSettings(4, 2, 1))) as bank:
        found = match(np.full((1, 1, 9, 8), 7, np.uint8), bank, k=3)
        assert bank.images == 2 and (found.distance == 0).all()


def test_from_images_makes_a_bank_in_memory_and_a_subclass_one_of_its_own() -> None:
    class Own(MemoryBank):
        """As somebody may derive."""

    names, photos, sketches = zip(*some_pairs(), strict=True)
    assert type(PatchBank.from_images(photos, sketches)) is MemoryBank
    assert type(FileBank.from_images(photos, sketches)) is MemoryBank
    assert type(Own.from_images(photos, sketches, names, SETTINGS)) is Own
    assert PatchBank.from_images(photos, sketches).names == tuple(f"{i:04d}" for i in range(6))


def test_signatures_are_those_of_the_constructors() -> None:
    assert list(inspect.signature(MemoryBank).parameters) == ["source", "target", "names", "settings"]
    assert list(inspect.signature(FileBank).parameters) == ["path"]
    assert list(inspect.signature(JoinedBank).parameters) == ["banks"]


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"source": np.zeros((2, 2, 9, 8))}, TypeError, "planes are uint8, not float64 and uint8"),
        ({"source": np.zeros((2, 9, 8), np.uint8)}, ValueError, r"needs source \(n, L, H, W\)"),
        ({"target": np.zeros((2, 1, 8, 8), np.uint8)}, ValueError, r"needs source \(n, L, H, W\)"),
        ({"target": np.zeros((3, 1, 9, 8), np.uint8)}, ValueError, "2 sources, 3 targets and 2 different names"),
        ({"names": ["a", "a"]}, ValueError, "2 sources, 2 targets and 1 different names"),
        ({"target": np.zeros((2, 2, 9, 8), np.uint8)}, ValueError, "2 channels"),
        ({"settings": BankSettings()}, ValueError, "2 planes for"),
    ],
)
def test_arrays_that_make_no_bank_are_refused(change: Any, kind: type[Exception], says: str) -> None:
    planes = {"source": np.zeros((2, 2, 9, 8), np.uint8), "target": np.zeros((2, 1, 9, 8), np.uint8)}
    with pytest.raises(kind, match=says):
        MemoryBank(**{**planes, "names": ["a", "b"], "settings": SETTINGS, **change})


def test_a_joined_bank_tells_its_shards_and_where_they_start() -> None:
    shards = [in_memory(some_pairs()[:1]), in_memory(some_pairs()[1:4]), in_memory(some_pairs()[4:])]
    bank = JoinedBank(shards)
    assert bank.banks == tuple(shards) and bank.starts == (0, 1, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_bank_is_the_same_bank(kind: str, tmp_path: Path) -> None:
    with KINDS[kind](tmp_path) as bank, pickle.loads(pickle.dumps(bank)) as again:
        assert type(again) is type(bank) and again is not bank
        assert said(again) == said(bank)


def test_no_pixels_travel_with_a_file(tmp_path: Path) -> None:
    write_bank(tmp_path / "large.h5", some_pairs(count=40, size=(60, 50)), SETTINGS)
    with FileBank(tmp_path / "large.h5") as bank:
        assert bank.size == (tmp_path / "large.h5").stat().st_size > 100_000
        assert len(bank.digest) == 64 and int(bank.digest, 16)
        assert len(pickle.dumps(bank)) < 1000
        assert len(pickle.dumps(JoinedBank([bank]))) < 1000


def test_a_closed_bank_opens_again_elsewhere(tmp_path: Path) -> None:
    with FileBank(a_bank_in(tmp_path)) as bank:
        truth = said(bank)
    with pickle.loads(pickle.dumps(bank)) as again:
        assert said(again) == truth


def test_a_relative_path_means_the_folder_it_was_opened_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_bank_in(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with FileBank("bank.h5") as bank:
        assert bank.path == Path("bank.h5")
        monkeypatch.chdir("elsewhere")
        with pickle.loads(pickle.dumps(bank)) as again:
            assert said(again) == said(bank) and again.path == tmp_path / "bank.h5"


def _vanish(path: Path) -> None:
    path.unlink()


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _other_pixels(path: Path) -> None:
    write_bank(path, some_pairs(seed=1), SETTINGS)


def _other_settings(path: Path) -> None:
    write_bank(path, some_pairs(), BankSettings(6, 3, 1, ("intensity", "lbp"), (2, 1)))


def _other_names(path: Path) -> None:
    write_bank(path, [(name.upper(), photo, sketch) for name, photo, sketch in some_pairs()], SETTINGS)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(1000))


def _other_file(path: Path) -> None:
    path.write_text("photo,sketch\n1,2\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_vanish, "the bank is gone since it was opened; put it back, or open another"),
        (_become_a_folder, "is a folder, not a patch bank"),
        (_other_pixels, "the bank has changed since it was opened; open it anew"),
        (_other_settings, "the bank has changed since it was opened; open it anew"),
        (_other_names, "the bank has changed since it was opened; open it anew"),
        (_cut_short, "cut short or altered"),
        (_lengthened, "the bank has changed since it was opened; open it anew"),
        (_other_file, "not a patch bank"),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_bank_that_has_changed_is_refused(change: Any, says: str, joined: bool, tmp_path: Path) -> None:
    with FileBank(a_bank_in(tmp_path)) as bank:
        pickled = pickle.dumps(JoinedBank([bank]) if joined else bank)
    change(bank.path)
    with pytest.raises(BankError, match=says) as caught:
        pickle.loads(pickled)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{tmp_path / 'bank.h5'}: ")


def test_the_same_bank_at_the_same_path_is_taken(tmp_path: Path) -> None:
    """Content counts, not the file's times or number: a copy that was put back is the bank."""
    with FileBank(a_bank_in(tmp_path)) as bank:
        truth, pickled = said(bank), pickle.dumps(bank)
    whole = bank.path.read_bytes()
    bank.path.unlink()
    bank.path.write_bytes(whole)
    os.utime(bank.path, (0, 0))
    with pickle.loads(pickled) as again:
        assert said(again) == truth


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_can_be_handed_a_bank(kind: str, tmp_path: Path) -> None:
    with KINDS[kind](tmp_path) as bank, multiprocessing.get_context("spawn").Pool(1) as pool:
        query = bank.query(some_pairs()[3][1])[None]
        there, here = pool.apply(match, (query, bank), {"k": 4, "backend": "reference"}), match(query, bank, k=4)
    for axis in ("image", "row", "column", "distance"):
        np.testing.assert_array_equal(getattr(there, axis), getattr(here, axis))


def test_another_process_says_when_the_bank_has_changed(tmp_path: Path) -> None:
    with FileBank(a_bank_in(tmp_path)) as bank:
        (tmp_path / "pickled").write_bytes(pickle.dumps(bank))
    _other_pixels(bank.path)
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "pickled"], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(f"{bank.path}: the bank has changed since it was opened; open it anew")


def test_banks_in_memory_need_no_h5py() -> None:
    code = "import sys, idekernels.bank, idekernels; idekernels.MemoryBank; assert 'h5py' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert idekernels.FileBank is FileBank
