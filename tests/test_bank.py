"""The bank file, killed, cut short, altered, foreign, on a full disk, written twice: whole, or one clear error."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from idekernels import BankError, BankSettings, InputError, JoinedBank, match, open_bank, verify, write_bank
from idekernels.bank.header import FORMAT, VERSION
from idekernels.files.patient import PatientFile
from idemodel.files.images import write_image

SETTINGS = BankSettings(6, 3, 2, ("intensity", "lbp"), (2, 1))


def some_pairs(seed=0, count=6, size=(20, 18)):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 2, *size), dtype=np.uint8)
    return [(f"pair-{i}", photo, sketch) for i, (photo, sketch) in enumerate(images)]


def content(bank):
    """Everything that a bank says, for comparing."""
    planes = (bank.source(0, bank.images).tobytes(), bank.target(0, bank.images).tobytes())
    return (planes, bank.names, bank.settings, bank.height, bank.width, bank.channels, bank.created, bank.tool)


def run(code, *arguments, before=(), **options):
    """Python in a process of its own; warnings are errors there too."""
    command = [*before, sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bank.h5"
    write_bank(path, some_pairs(), SETTINGS)
    return path


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


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([], "no pairs to build a bank from"),
        ([*some_pairs(), some_pairs()[0]], "pair 'pair-0' comes twice"),
        (
            [*some_pairs(), ("wide", *np.zeros((2, 20, 19), np.uint8))],
            r"pair 'wide': source is 20 x 19 .*bring all pairs",
        ),
        ([*some_pairs(), ("rgb", np.zeros((20, 18), np.uint8), np.zeros((20, 18, 3), np.uint8))], "'rgb': target"),
        (
            [("differ", np.zeros((20, 18), np.uint8), np.zeros((20, 19), np.uint8))],
            r"'differ': the photo is 20 x 18 .*sketch 20 x 19",
        ),
        ([("caf\udce9", *np.zeros((2, 20, 18), np.uint8))], "not UTF-8; rename"),
    ],
)
def test_pairs_that_make_no_bank_leave_the_old_one(path, pairs, says):
    before = path.read_bytes()
    with pytest.raises(InputError, match=says):
        write_bank(path, pairs, SETTINGS)

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["bank.h5"]


def test_an_error_in_the_pairs_is_not_blamed_on_the_bank(path):
    def broken():
        yield from some_pairs()
        raise InputError("photo 7 is broken")

    with pytest.raises(InputError, match=r"^photo 7 is broken$"):
        write_bank(path, broken(), SETTINGS)
    assert [file.name for file in path.parent.iterdir()] == ["bank.h5"]


_KILLED = """
    import os, random, signal, sys, time
    import numpy as np
    from idekernels import BankSettings, InputError, open_bank, write_bank

    path, rng = sys.argv[1], np.random.default_rng(0)
    size, count = (64, 48), 24
    old, new = ([(f"{kind}-{i}", *rng.integers(0, 256, (2, *size), dtype=np.uint8)) for i in range(count)]
                for kind in ("old", "new"))
    began = time.perf_counter()
    write_bank(path, old)
    took = time.perf_counter() - began
    folder, inside, found = os.path.dirname(path), 0, set()
    random.seed(1)
    for moment in range(30):
        child = os.fork()
        if child == 0:
            while True:  # build until killed
                for pairs in (new, old):
                    write_bank(path, pairs)
        time.sleep(took / 3 + random.random() * 3 * took)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        inside += len(os.listdir(folder)) > 1  # killed between the first byte and the renaming
        with open_bank(path) as bank:
            kind = bank.names[0][:3]
            pairs = {"old": old, "new": new}[kind]
            assert bank.names == tuple(name for name, _, _ in pairs)
            assert (bank.source(0, count)[:, 0] == np.stack([photo for _, photo, _ in pairs])).all()
            assert (bank.target(0, count)[:, 0] == np.stack([sketch for _, _, sketch in pairs])).all()
            found.add(kind)
    write_bank(path, new)
    print(inside, sorted(found), os.listdir(folder))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_a_build_killed_at_any_moment_leaves_a_whole_bank(tmp_path):
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # since it forks
    done = run(_KILLED, tmp_path / "bank.h5", env={**os.environ, **one_thread})

    assert done.returncode == 0, done.stderr
    inside, rest = done.stdout.split(" ", 1)
    assert int(inside) >= 10  # the kills did fall inside builds
    assert rest.strip().endswith("['bank.h5']")  # and the next build swept up what they left


def test_leftovers_of_running_builds_and_other_files_stay(path):
    """Only what a dead process left for this very target is removed."""
    import socket

    host, parent = socket.gethostname(), path.parent
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = parent / f".bank.h5.{host}.{gone.pid}.partial"
    others = [
        parent / f".bank.h5.{host}.{os.getppid()}.partial",
        parent / f".bank.h5.elsewhere.{gone.pid}.partial",
        parent / f".other.h5.{host}.{gone.pid}.partial",
        parent / f".bank.h5.{host}.notes.partial",
    ]
    for file in (dead, *others):
        file.write_bytes(b"x")
    write_bank(path, some_pairs(), SETTINGS)

    assert not dead.exists()
    assert all(file.exists() for file in others)


def test_leftovers_are_found_whatever_the_name_of_the_bank(tmp_path):
    import socket

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = tmp_path / f".b[1]?.h5.{socket.gethostname()}.{gone.pid}.partial"
    dead.write_bytes(b"x")
    write_bank(tmp_path / "b[1]?.h5", some_pairs(), SETTINGS)
    assert not dead.exists()


_FLIPS = """
    import json, sys
    from idekernels import BankError
    from idekernels.bank.file import FileBank

    path, whole = sys.argv[1], open(sys.argv[1], "rb").read()
    sys.path.insert(0, sys.argv[3])
    from test_bank import content
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


def test_progress_is_told_pair_by_pair(path):
    told = []
    with open_bank(path) as bank:
        assert list(bank.damaged(lambda: told.append(1))) == []
    assert len(told) == 6


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


def assert_refused(path, says):
    """One line from open_bank and from verify, with the file's name in it."""
    for attempt in (open_bank, verify):
        with pytest.raises(BankError, match=says) as caught:
            attempt(path).close()
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


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


_FULL = """
    import errno, os, resource, sys
    from idekernels import write_bank
    import numpy as np

    path, limit = sys.argv[1], int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    pairs = ((str(i), *np.full((2, 60, 50), i, np.uint8)) for i in range(60))
    try:
        write_bank(path, pairs)
    except OSError as error:
        assert error.errno == errno.EFBIG, error
        assert error.filename == path and "\\n" not in str(error), error
        print("refused", os.listdir(os.path.dirname(path)))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [0, 1000, 65_536, 200_000])
def test_a_full_disk_leaves_the_old_bank(path, limit):
    before = path.read_bytes()
    done = run(_FULL, path, str(limit))

    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == ["refused", "['bank.h5']\n"]
    assert path.read_bytes() == before
    verify(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_patient_file_keeps_the_first_error_and_goes_on():
    """libhdf5 must see every write succeed; the error comes out at check and close."""
    file = PatientFile("/dev/full")
    file.check()
    assert file.write(b"some bytes") == 10
    assert file.write(b"and more") == 8
    for raising in (file.check, file.close):
        with pytest.raises(OSError) as caught:
            raising()
        assert caught.value.errno == errno.ENOSPC


def test_a_patient_file_is_a_file(tmp_path):
    file = PatientFile(tmp_path / "file")
    file.seek(4)
    assert file.write(b"efgh") == 4 and file.tell() == 8
    file.seek(0)
    assert file.read(12) == bytes(4) + b"efgh" + bytes(4)
    file.truncate(6)
    file.close()
    assert (tmp_path / "file").read_bytes() == bytes(4) + b"ef"


_READ_ONLY = """
    import sys
    from idekernels import write_bank
    import numpy as np
    try:
        write_bank(sys.argv[1], [("a", *np.zeros((2, 20, 20), np.uint8))])
    except OSError as error:
        print(type(error).__name__, error.filename == sys.argv[1], "\\n" in str(error))
"""


def test_a_read_only_folder_is_refused(path, bound_by_permissions):
    before = path.read_bytes()
    path.parent.chmod(0o555)
    try:
        done = run(_READ_ONLY, path, before=bound_by_permissions)
    finally:
        path.parent.chmod(0o755)
    assert done.stdout.split() == ["PermissionError", "True", "False"], done.stderr
    assert path.read_bytes() == before


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


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(OSError) as caught:
            write_bank(tmp_path / folder / "bank.h5", some_pairs(), SETTINGS)
        assert caught.value.filename == str(tmp_path / folder)
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(OSError):
        write_bank(tmp_path / "folder.h5", some_pairs(), SETTINGS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.h5"]


_AGAIN = """
    import sys
    import numpy as np
    from idekernels import write_bank
    images = np.full((2, 40, 30), int(sys.argv[2]), np.uint8)
    for turn in range(25):
        write_bank(sys.argv[1], [(f"{sys.argv[2]}-{i}", *images) for i in range(8)])
"""


def test_two_processes_building_to_one_path(tmp_path):
    path = tmp_path / "bank.h5"
    command = [sys.executable, "-c", textwrap.dedent(_AGAIN), os.fspath(path)]
    builders = [subprocess.Popen([*command, level], stderr=subprocess.PIPE, text=True) for level in ("10", "20")]
    told = [builder.communicate(timeout=60)[1] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], told
    with open_bank(path) as bank:
        level = int(bank.names[0].split("-")[0])
        assert (bank.target(0, 8) == level).all()
    verify(path)
    assert [file.name for file in tmp_path.iterdir()] == ["bank.h5"]


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
