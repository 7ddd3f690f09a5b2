"""The bank file as it is read: what was written comes back, alone and joined, whatever happens to the file."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from bank_files import SETTINGS, a_bank_in, content, run, some_pairs

from idekernels import BankError, BankSettings, JoinedBank, open_bank, verify, write_bank
from idekernels.bank.header import FORMAT, VERSION


@pytest.fixture
def path(tmp_path):
    return a_bank_in(tmp_path)


def test_a_bank_comes_back_as_it_was_written(path):
    pairs = some_pairs()
    with open_bank(path) as bank:
        assert (bank.images, bank.planes, bank.channels, bank.height, bank.width) == (6, 2, 1, 20, 18)
        assert bank.names == tuple(name for name, _, _ in pairs)
        assert bank.settings == SETTINGS
        assert bank.tool.startswith("idesketch ") and bank.created[:2] == "20"
        for i, (_, photo, sketch) in enumerate(pairs):
            np.testing.assert_array_equal(bank.source(i, i + 1)[0], bank.query(photo))
            np.testing.assert_array_equal(bank.target(i, i + 1)[0, 0], sketch)
        np.testing.assert_array_equal(bank.source(1, 5), np.concatenate([bank.source(i, i + 1) for i in range(1, 5)]))
        assert list(bank.damaged()) == []
        assert {part.dtype for part in (bank.source(0, 2), bank.target(0, 2))} == {np.dtype(np.uint8)}
    verify(path)
    assert [file.name for file in path.parent.iterdir()] == ["bank.h5"]


def test_colour_sketches_and_odd_names_come_back(tmp_path):
    names = ["Ø 'quoted' \"x\"", "line\nbreak", "日本", "a" * 300, "[*?].png", ""]
    rng = np.random.default_rng(1)
    photos, sketches = rng.integers(0, 256, (2, 6, 9, 8, 3), dtype=np.uint8)
    target = tmp_path / "bank [1]*.h5"
    write_bank(target, zip(names, photos, sketches, strict=True), BankSettings(4, 2, 1))
    with open_bank(target) as bank:
        assert bank.names == tuple(names)
        assert bank.channels == 3
        np.testing.assert_array_equal(bank.target(0, 6), np.moveaxis(sketches, 3, 1))
    verify(target)


def test_one_image_a_chunk_with_checksums(path):
    with h5py.File(path) as file:
        for side, planes in (("source", 2), ("target", 1)):
            data = file[side]
            assert data.chunks == (1, planes, 20, 18)
            assert data.fletcher32 and data.compression is None
        assert file.attrs["format"] == FORMAT and file.attrs["version"] == VERSION == 1


def test_a_compressed_bank_comes_back(tmp_path):
    pytest.importorskip("hdf5plugin")
    pairs = [(name, photo // 64, sketch // 64) for name, photo, sketch in some_pairs(size=(60, 50))]
    for name, compress in (("plain.h5", False), ("small.h5", True)):
        write_bank(tmp_path / name, pairs, SETTINGS, compress=compress)
    plain, small = tmp_path / "plain.h5", tmp_path / "small.h5"

    assert small.stat().st_size < 0.6 * plain.stat().st_size
    with open_bank(plain) as one, open_bank(small) as other:
        np.testing.assert_array_equal(one.source(0, 6), other.source(0, 6))
        np.testing.assert_array_equal(one.target(0, 6), other.target(0, 6))
    verify(small)
    fresh = run("import sys; from idekernels import open_bank; print(open_bank(sys.argv[1]).source(0, 6).sum())", small)
    assert fresh.returncode == 0, fresh.stderr


def test_progress_is_told_pair_by_pair(path):
    told = []
    with open_bank(path) as bank:
        assert list(bank.damaged(lambda: told.append(1))) == []
    assert len(told) == 6


def test_a_reader_keeps_its_bank_while_another_replaces_it(path):
    with open_bank(path) as bank:
        before = content(bank)
        write_bank(path, some_pairs(seed=9), BankSettings(5, 2, 1))
        assert content(bank) == before
    with open_bank(path) as bank:
        assert content(bank) != before


def test_several_files_open_as_one(tmp_path):
    pairs = some_pairs(count=6)
    for i in range(3):
        write_bank(tmp_path / f"{i}.h5", pairs[2 * i : 2 * i + 2], SETTINGS)
    write_bank(tmp_path / "whole.h5", pairs, SETTINGS)
    paths = [tmp_path / f"{i}.h5" for i in range(3)]
    with open_bank(*paths) as joined, open_bank(tmp_path / "whole.h5") as whole:
        assert isinstance(joined, JoinedBank)
        assert joined.names == whole.names
        for start, stop in ((0, 6), (1, 3), (3, 4), (5, 6)):
            np.testing.assert_array_equal(joined.source(start, stop), whole.source(start, stop))
            np.testing.assert_array_equal(joined.target(start, stop), whole.target(start, stop))
    with pytest.raises(BankError, match="share pair 'pair-0'"):
        open_bank(paths[0], tmp_path / "whole.h5")
    with pytest.raises(BankError, match="no such bank"):
        open_bank(paths[0], tmp_path / "missing.h5")
    with pytest.raises(ValueError, match="no banks"):
        open_bank()


def test_names_are_plain_json_for_other_readers(path):
    with h5py.File(path) as file:
        assert json.loads(bytes(file["names"][()])) == [f"pair-{i}" for i in range(6)]


@pytest.mark.parametrize("how", ["open", "readers"])
def test_a_bank_that_is_being_written_is_told_from_a_damaged_one(path, how):
    """It needs no building anew; when the other program is done, the bank opens."""
    with h5py.File(path, "r+", libver="latest") as writer:
        if how == "readers":
            writer.swmr_mode = True
        with pytest.raises(BankError, match=r"bank\.h5: is being written by another.*try again when that is done"):
            open_bank(path)
    open_bank(path).close()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BankError, match="cut short or altered"):
        open_bank(path)


def test_a_closed_bank_is_not_called_damaged(tmp_path):
    image = np.zeros((12, 10), np.uint8)
    write_bank(tmp_path / "bank.h5", [("a", image, image)])
    with open_bank(tmp_path / "bank.h5") as bank:
        pass
    with pytest.raises(BankError, match=r"bank\.h5: the bank is closed; open it again"):
        bank.source(0, 1)
