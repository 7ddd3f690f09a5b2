"""The bank file cut short, altered, foreign: one clear error, never other pixels than were written."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from bank_files import SETTINGS, a_bank_in, assert_refused, content, run, some_pairs

from idekernels import BankError, match, open_bank, verify, write_bank
from idemodel.files.images import write_image


@pytest.fixture
def path(tmp_path):
    return a_bank_in(tmp_path)


_FLIPS = """
    import json, sys
    from idekernels import BankError
    from idekernels.bank.file import FileBank

    path, whole = sys.argv[1], open(sys.argv[1], "rb").read()
    sys.path.insert(0, sys.argv[3])
    from bank_files import content
    with FileBank(path) as bank:
        truth = content(bank)
    for line in sys.stdin:
        offset, mask = map(int, line.split())
        altered = bytearray(whole)
        altered[offset] ^= mask
        with open(sys.argv[2], "wb") as file:
            file.write(altered)
        print("try", offset, mask, flush=True)  # if the process dies now, the parent knows where
        try:
            with FileBank(sys.argv[2]) as bank:
                read = "same" if content(bank) == truth else "WRONG"
        except BankError as error:
            assert "\\n" not in str(error) and sys.argv[2] in str(error)
            read = "error"
        try:
            with FileBank(sys.argv[2]) as bank:
                check = "damaged" if list(bank.damaged()) else "fine"
        except BankError:
            check = "damaged"
        print(read, check, flush=True)
"""


def flip_bytes(path, altered, flips):
    """Read and verify the file with each byte flipped; what kills the reader is listed as ('crash', ...)."""
    outcomes, waiting = [], list(flips)
    while waiting:
        lines = "".join(f"{offset} {mask}\n" for offset, mask in waiting)
        code = textwrap.dedent(_FLIPS)
        done = subprocess.run(
            [sys.executable, "-c", code, path, altered, os.path.dirname(__file__)],  # noqa: PTH120
            input=lines, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        answers = [line.split() for line in done.stdout.splitlines() if not line.startswith("try")]
        outcomes += [(*flip, *answer) for flip, answer in zip(waiting, answers, strict=False)]
        if done.returncode == 0:
            break
        assert done.returncode < 0, done.stderr  # a Python error is a fault of ours, a signal is libhdf5's
        outcomes.append((*waiting[len(answers)], "crash", "crash"))
        waiting = waiting[len(answers) + 1 :]
    return outcomes


@pytest.mark.parametrize("compress", [False, True])
def test_no_flipped_byte_is_read_as_truth(tmp_path, compress):
    if compress:
        pytest.importorskip("hdf5plugin")
    path, altered = tmp_path / "bank.h5", tmp_path / "altered.h5"
    write_bank(path, some_pairs(count=5), SETTINGS, compress=compress)
    size = path.stat().st_size
    rng = np.random.default_rng(2)
    flips = [(int(rng.integers(size)), int(rng.integers(1, 256))) for _ in range(200)]
    with h5py.File(path) as file:  # as many again where the file describes itself: hostile to libhdf5
        first = min(file[side].id.get_chunk_info(0).byte_offset for side in ("source", "target"))
    flips += [(int(rng.integers(min(first, size))), int(rng.integers(1, 256))) for _ in range(100)]
    outcomes = flip_bytes(path, altered, flips)

    assert len(outcomes) == 300
    kinds = {(read, check) for _, _, read, check in outcomes}
    assert kinds <= {("same", "fine"), ("error", "damaged"), ("crash", "crash")}, kinds
    assert sum(check != "fine" for *_, check in outcomes) > 150
    for offset, mask, read, _ in outcomes:
        if read == "crash":  # the command verifies in a process of its own, and reports this too
            flipped = bytearray(path.read_bytes())
            flipped[offset] ^= mask
            altered.write_bytes(flipped)
            with pytest.raises(BankError, match="damaged"):
                verify(altered)


def chunk_of(path, side, image):
    with h5py.File(path) as file:
        info = file[side].id.get_chunk_info(image)
        return info.byte_offset, info.size


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_damaged_chunk_spoils_its_pair_alone(path, side):
    offset, size = chunk_of(path, side, 3)
    whole = bytearray(path.read_bytes())
    whole[offset + size // 2] ^= 1
    path.write_bytes(whole)
    with open_bank(path) as bank:
        for start, stop in ((0, 3), (4, 6)):
            bank.source(start, stop), bank.target(start, stop)
        for start, stop in ((3, 4), (0, 6)):
            with pytest.raises(BankError, match=r"bank\.h5: damaged \(.*build the bank anew") as caught:
                getattr(bank, side)(start, stop)
            assert "\n" not in str(caught.value)
        assert list(bank.damaged()) == ["pair-3"]
        if side == "source":
            with pytest.raises(BankError, match="damaged"):
                match(np.zeros((1, 2, 20, 18), np.uint8), bank, k=1)
    with pytest.raises(BankError, match=r"1 of 6 pairs are damaged \(pair-3\); build the bank anew"):
        verify(path)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_bank_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * share))])
    assert_refused(path, "bank.h5")


def test_a_lengthened_bank_is_read_or_refused_never_wrong(path):
    with open_bank(path) as bank:
        truth = content(bank)
    path.write_bytes(path.read_bytes() + b"\0" * 1000)
    try:
        with open_bank(path) as bank:
            assert content(bank) == truth
    except BankError:
        pass


def test_what_is_no_bank_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.h5").write_text("photo,sketch\n1,2\n")
    (tmp_path / "empty.h5").touch()
    write_image(tmp_path / "image.h5", np.zeros((5, 5), np.uint8))
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["source"] = np.zeros(3)
    with h5py.File(tmp_path / "foreign2.h5", "w") as file:
        file.attrs["format"] = np.zeros(4)

    assert_refused(tmp_path / "folder", "is a folder, not a patch bank")
    assert_refused(tmp_path / "text.h5", "not a patch bank")
    assert_refused(tmp_path / "empty.h5", "is empty, not a patch bank")
    assert_refused(tmp_path / "image.h5", "not a patch bank")
    assert_refused(tmp_path / "missing.h5", "no such bank; make one with: idesketch bank build")
    assert_refused(tmp_path / "text.h5" / "bank.h5", "no such bank")
    assert_refused(tmp_path / "foreign.h5", "an HDF5 file, but not a patch bank")
    assert_refused(tmp_path / "foreign2.h5", "damaged|not a patch bank")


def _delete(name):
    def change(file):
        del file[name]

    return change


def _attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def _replace(name, value, **options):
    def change(file):
        del file[name]
        file.create_dataset(name, data=value, **options)

    return change


def _declare(name, shape):
    """A data set that claims to be huge and holds nothing."""

    def change(file):
        del file[name]
        file.create_dataset(name, shape, np.uint8, chunks=(1, *shape[1:]))

    return change


def _group(name):
    def change(file):
        del file[name]
        file.create_group(name)

    return change


ALTERATIONS = {
    "newer": (_attribute("version", 2), "bank version 2 is newer than this idesketch reads"),
    "older": (_attribute("version", 0), "altered"),
    "odd version": (_attribute("version", "one"), "damaged"),
    "no names": (_delete("names"), "damaged"),
    "no hashes": (_delete("hashes"), "damaged"),
    "no source": (_delete("source"), "damaged"),
    "no target": (_delete("target"), "damaged"),
    "no patch": (lambda file: file.attrs.__delitem__("patch"), "damaged"),
    "no digest": (lambda file: file.attrs.__delitem__("digest"), "damaged"),
    "other patch": (_attribute("patch", 7), "altered"),
    "other radius": (_attribute("radius", 3), "altered"),
    "impossible overlap": (_attribute("overlap", 99), "damaged"),
    "other weights": (_attribute("weights", [1, 1]), "altered"),
    "one weight": (_attribute("weights", [1]), "damaged"),
    "other direction": (_attribute("direction", np.bytes_("sketch-to-photo")), "altered"),
    "no direction": (lambda file: file.attrs.__delitem__("direction"), "altered"),
    "unknown direction": (_attribute("direction", np.bytes_("photo-to-photo")), "damaged"),
    "direction a number": (_attribute("direction", 2**40), "damaged"),
    "direction no UTF-8": (_attribute("direction", np.bytes_(b"\xff")), "damaged"),
    "other creation": (_attribute("created", "2001-01-01"), "altered"),
    "unknown representation": (_attribute("representations", '["sift", "lbp"]'), "damaged"),
    "representations no JSON": (_attribute("representations", "["), "damaged"),
    "other names": (_replace("names", np.frombuffer(b'["a","b","c","d","e","f"]', np.uint8)), "altered"),
    "names twice": (_replace("names", np.frombuffer(b'["a","a","c","d","e","f"]', np.uint8)), "do not fit together"),
    "too few names": (_replace("names", np.frombuffer(b'["a"]', np.uint8)), "do not fit together"),
    "names no JSON": (_replace("names", np.zeros(9, np.uint8)), "damaged"),
    "names no UTF-8": (_replace("names", np.full(9, 0xFF, np.uint8)), "damaged"),
    "names of numbers": (_replace("names", np.frombuffer(b"[1,2,3,4,5,6]", np.uint8)), "altered"),
    "names of lists": (_replace("names", np.frombuffer(b"[[],1,2,3,4,5]", np.uint8)), "damaged"),
    "name a number": (_replace("names", np.frombuffer(b"7", np.uint8)), "damaged"),
    "names a group": (_group("names"), "damaged"),
    "source a group": (_group("source"), "damaged"),
    "flat source": (_replace("source", np.zeros(6, np.uint8)), "do not fit together"),
    "flat target": (_replace("target", np.zeros(6, np.uint8)), "damaged|do not fit together"),
    "scalar target": (_replace("target", np.uint8(6)), "damaged|do not fit together"),
    "wide target": (_replace("target", np.zeros((6, 1, 20, 19), np.uint8)), "do not fit together"),
    "two channels": (_replace("target", np.zeros((6, 2, 20, 18), np.uint8)), "do not fit together"),
    "float source": (_replace("source", np.zeros((6, 2, 20, 18))), "damaged"),
    "fewer images": (_replace("source", np.zeros((5, 2, 20, 18), np.uint8)), "do not fit together"),
    "short hashes": (_replace("hashes", np.zeros((6, 16), np.uint8)), "do not fit together"),
    "other hashes": (_replace("hashes", np.zeros((6, 32), np.uint8)), "altered"),
    "huge hashes": (_declare("hashes", (2**35, 32)), "claims more than it holds"),
    "huge names": (_declare("names", (2**50,)), "claims more than it holds"),
    "huge source": (_declare("source", (2**40, 2, 20, 18)), "claims more than it holds"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_bank_is_refused(path, name):
    change, says = ALTERATIONS[name]
    with h5py.File(path, "r+", libver="latest") as file:
        change(file)
    with pytest.raises(BankError, match=says) as caught:
        open_bank(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_swapped_chunks_are_found_by_verify(path):
    """Two pairs' photos exchanged, each with a good checksum of its own."""
    with h5py.File(path, "r+", libver="latest") as file:
        file["source"][0:2] = file["source"][0:2][::-1]
    with pytest.raises(BankError, match="2 of 6 pairs are damaged"):
        verify(path)


def test_verify_looks_where_this_process_looks(path, tmp_path, monkeypatch):
    """A stray numpy.py in the working folder must not make a sound bank look damaged."""
    (tmp_path / "numpy.py").write_text("raise RuntimeError('stray')")
    monkeypatch.chdir(tmp_path)
    verify(path)


def test_an_unreadable_bank_is_refused(path, bound_by_permissions):
    path.chmod(0)
    code = """
        import sys
        from idekernels import BankError, open_bank
        try:
            open_bank(sys.argv[1])
        except BankError as error:
            print(error)
    """
    done = run(code, path, before=bound_by_permissions)
    assert done.stdout == f"{path}: may not be read (permission denied); wanted is a patch bank\n", done.stderr
