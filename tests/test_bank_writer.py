"""The bank file as it is written: killed, on a full disk, read-only, twice at once: whole, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from bank_files import SETTINGS, a_bank_in, run, some_pairs

from idekernels import InputError, open_bank, verify, write_bank
from idekernels.files.patient import PatientFile


@pytest.fixture
def path(tmp_path):
    return a_bank_in(tmp_path)


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
    from idekernels import InputError, open_bank, write_bank

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
