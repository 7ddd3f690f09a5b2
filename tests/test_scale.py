"""Photos and shards over a real cluster: the same bytes, messages and counts, whatever ends, is full or differs."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from idekernels import coarse_sketch, gather, match, open_bank, prepare
from idekernels.errors import InputError
from idemodel.files.images import read_grey, write_image
from idemodel.files.journal import JOURNAL
from idemodel.generator.weights import PHANTOM
from idemodel.phantom import phantom_pairs
from tests.clusters import Running, have_full_disk, have_other_version, kill_at, recover, running
from tests.commands import call, told_once

pytest.importorskip("distributed")

OPTIONS = ("--backend", "reference", "--k", "3")
PREPARE = "idemodel.preparation:PhotoPreparer.prepare"
pytestmark = pytest.mark.slow
NEEDS_PROC = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/self/cwd")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small banks, and 50 photos: some too dark, some of another size, some no images."""
    folder = tmp_path_factory.mktemp("made")
    pairs = list(phantom_pairs(8, height=64, width=48, seed=2))
    for number, pair in enumerate(pairs[:6]):
        for side in ("photo", "sketch"):
            write_image_in(folder / f"pairs-{number // 3}" / side / f"{pair.name}.png", getattr(pair, side))
    for number in (0, 1):
        grid = ("--patch", 14, "--overlap", 4, "--radius", 1)
        assert call("bank", "build", folder / f"pairs-{number}", folder / f"{number}.h5", *grid) == 0
    for number in range(50):
        file = folder / "in" / f"{number:02}.png"
        write_image_in(file, pairs[number % 8].photo // (1 + number % 3))
        if number % 11 == 4:
            file.write_bytes(b"\x89PNG\r\n\x1a\n no")
        if number % 11 == 5:
            write_image(file, pairs[0].photo[:-8])
    return folder


def write_image_in(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_image(file, image)


def banks(made: Path) -> list[Path]:
    return [made / "0.h5", made / "1.h5"]


@pytest.fixture(scope="module")
def expected(made: Path) -> Path:
    """What one process makes."""
    assert call("coarse", *banks(made), made / "in", "-o", made / "one", "--align", "never", *OPTIONS) == 1
    return made / "one"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(3, tmp_path_factory.mktemp("workers")) as cluster:
        yield cluster


def pictures(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix == ".png"}


def coarse(made: Path, out: Path, cluster: str, *more: object) -> int:
    given = (*banks(made), made / "in", "-o", out, "--align", "never", *OPTIONS)
    return call("coarse", *given, "--cluster", cluster, *more)


@pytest.mark.parametrize("text", ["local:0", "local:", "local:999", "tcp://", "tcp://host", "tcp://a:b", "host:1", "tcp://h:0",
                                  "ftp://h:21", "tcp://user@h:1", "local:2,4", ""])  # fmt: skip
def test_what_is_no_cluster_is_refused_in_a_line(text: str) -> None:
    from idemodel.scale.places import Place

    with pytest.raises(InputError, match="cluster"):
        Place.of(text)


def test_places_are_read() -> None:
    from idemodel.scale.places import Place

    assert Place.of("local:4") == Place(processes=4)
    for address in ("tcp://10.0.0.1:8786", "tls://cluster.example.org:8786", "tcp://[::1]:8786"):
        assert Place.of(address) == Place(address=address)
        assert str(Place.of(address)) == address


def test_the_same_bytes_messages_and_counts_as_in_one_process(
    made: Path, tmp_path: Path, three: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    told = []
    for place in ([], ["--cluster", three.address]):
        out = tmp_path / "out"
        assert call("coarse", *banks(made), made / "in", "-o", out, "--align", "never", *OPTIONS, *place) == 1
        said = capfd.readouterr()
        first, *lines = [line for line in said.err.splitlines() if not line.startswith("Coarse sketches: ")]
        told.append((lines, said.out, pictures(out), sorted((out / JOURNAL).read_text().splitlines())))
        assert first.startswith(f"cluster {three.address}, workers: 3" if place else "backend reference")
        shutil.rmtree(out)
    assert told[0] == told[1]
    assert "40 made, 0 there already, 10 failed" in told[0][1]


def test_compiled_kernels_give_the_same_bytes_whatever_the_number_of_threads(
    made: Path, tmp_path: Path, three: Running
) -> None:
    """Workers have one thread, this process what the machine has; it compiles what they then find in the cache."""
    few = tmp_path / "in"
    few.mkdir()
    for name in ("00.png", "01.png", "02.png", "03.png"):
        shutil.copy(made / "in" / name, few)
    ways = {"here": (), "there": ("--cluster", three.address), "shards": ("--cluster", three.address, "--shards")}
    for name, place in ways.items():
        assert call("coarse", *banks(made), few, "-o", tmp_path / name, "--backend", "cpu", "--k", 4, *place) == 0
        assert len(pictures(tmp_path / name)) == 4 and pictures(tmp_path / name) == pictures(tmp_path / "here")


def test_a_preselection_is_the_workers_too(made: Path, tmp_path: Path, three: Running) -> None:
    given = (*banks(made), made / "in" / "00.png", "--align", "never", *OPTIONS, "--preselect", 2)
    assert call("coarse", *given, "-o", tmp_path / "here") == 0
    assert call("coarse", *given, "-o", tmp_path / "there", "--cluster", three.address) == 0
    assert pictures(tmp_path / "here") == pictures(tmp_path / "there") != {}


def test_a_preselection_over_shards_is_a_mistake_of_usage(made: Path, tmp_path: Path) -> None:
    assert coarse(made, tmp_path / "out", "local:2", "--shards", "--preselect", 2) == 2
    assert not (tmp_path / "out").exists()


def test_what_is_done_is_skipped_without_a_cluster(
    made: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(expected, tmp_path / "out")
    good = next(out.glob("*.png")).name
    given = (*banks(made), made / "in" / good, "-o", out, "--align", "never", *OPTIONS)
    assert call("coarse", *given, "--cluster", "tcp://127.0.0.1:1") == 0
    assert "0 made, 1 there already, 0 failed" in capfd.readouterr().out


def test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing(
    made: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(3, tmp_path) as cluster:
        victim, *others = cluster.workers
        cluster.tell(kill_at, PREPARE, 3, on=[victim])
        assert coarse(made, tmp_path / "out", cluster.address) == 1
        assert cluster.workers[victim].wait(20) == -9
        assert [cluster.workers[other].poll() for other in others] == [None, None]
    assert "40 made, 0 there already, 10 failed" in capfd.readouterr().out
    assert pictures(tmp_path / "out") == pictures(expected)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*pictures(expected), JOURNAL}


def test_a_batch_that_ends_its_workers_is_given_up_and_the_rest_goes_on(
    made: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(2, tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        victim = next(iter(cluster.workers))
        cluster.tell(kill_at, PREPARE, 3, on=[victim])
        assert coarse(made, tmp_path / "out", cluster.address) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if "its batch ended several workers" in line]
    assert all(victim in line and line.startswith(f"Error: {made}/in/") for line in lines)
    named = {Path(line.split(": ")[1]).name for line in lines}
    there = pictures(tmp_path / "out")
    assert 16 <= len(named) == len(lines) < 50  # the batch, and with it another that waited behind it
    assert there.items() < pictures(expected).items() and there.keys() == pictures(expected).keys() - named


def test_a_scheduler_that_ends_is_one_line_and_the_same_command_goes_on(
    made: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with running(1, tmp_path) as cluster:
        cluster.tell(kill_at, PREPARE, 30, cluster.scheduler.pid)
        assert coarse(made, out, cluster.address) == 1
        told = capfd.readouterr().err
    [line] = [line for line in told.splitlines() if cluster.address in line and line.startswith("Error")]
    assert "the scheduler is gone" in line and "goes on" in line
    assert "Traceback" not in told and "distributed" not in told
    assert 0 < len(pictures(out)) < 40
    assert coarse(made, out, "local:1") == 1
    assert pictures(out) == pictures(expected)


def test_the_last_worker_that_ends_is_one_line(
    made: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idemodel.scale.cluster._PATIENCE", 2.0)
    monkeypatch.setattr("idemodel.scale.cluster._LOOK", 0.5)
    with running(1, tmp_path) as cluster:
        cluster.tell(kill_at, PREPARE, 20)
        assert coarse(made, tmp_path / "out", cluster.address) == 1
        assert cluster.scheduler.poll() is None
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(f"Error: {cluster.address}: the last worker is gone") and "goes on" in line
    assert call("coarse", *banks(made), made / "in", "-o", tmp_path / "out", "--align", "never", *OPTIONS) == 1
    assert pictures(tmp_path / "out") == pictures(expected)  # what was there, if the first batch had come, and the rest


def test_local_processes_listen_to_this_machine_alone(made: Path, expected: Path, tmp_path: Path) -> None:
    import psutil

    from idemodel.scale.cluster import connected
    from idemodel.scale.places import Place

    with connected(Place(processes=2)) as cluster:
        me = psutil.Process()
        listening = [
            at.laddr.ip for process in (me, *me.children(recursive=True)) for at in process.net_connections()
            if at.status == psutil.CONN_LISTEN
        ]  # fmt: skip
        assert len(listening) >= 5 and set(listening) == {"127.0.0.1"}
        assert all(worker.startswith("tls://") for worker in cluster.workers)
    assert not [child for child in me.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.skipif(os.name == "nt", reason="a process is sent no SIGINT there")
def test_an_interrupt_that_reaches_local_processes_does_not_end_them() -> None:
    """Ctrl-C in a terminal is sent to the command and to all its processes: they would each print a traceback."""
    from idemodel.scale.cluster import connected
    from idemodel.scale.places import Place

    with connected(Place(processes=1)) as cluster:
        (pid,) = cluster._client.run(os.getpid).values()
        os.kill(pid, signal.SIGINT)
        assert list(cluster._client.run(os.getpid).values()) == [pid]


@pytest.mark.parametrize("exclude", [None, [0, 5, -1]])
def test_shards_equal_the_joined_bank_bit_for_bit(made: Path, three: Running, exclude: list[int] | None) -> None:
    from idemodel.scale.cluster import connected
    from idemodel.scale.places import Place
    from idemodel.scale.shards import sharded

    photos = [pair.photo for pair in phantom_pairs(3, height=64, width=48, seed=9)]
    with open_bank(*banks(made)) as bank, connected(Place(address=three.address)) as cluster:
        shards, whole = sharded(cluster, bank, "reference"), prepare(bank, "reference")
        query = np.stack([bank.query(photo) for photo in photos])
        found, true = (match(query, each, k=4, exclude=exclude) for each in (shards, whole))
        for name in ("image", "row", "column", "distance"):
            np.testing.assert_array_equal(getattr(found, name), getattr(true, name))
        cut, patches = gather(found, shards), gather(true, whole)
        np.testing.assert_array_equal(cut.source, patches.source)
        np.testing.assert_array_equal(cut.target, patches.target)
        made_there, made_here = (coarse_sketch(photos, each, k=4, exclude=exclude) for each in (shards, whole))
        np.testing.assert_array_equal(made_there.pixels, made_here.pixels)
        np.testing.assert_array_equal(made_there.objective, made_here.objective)
        assert str(shards.backend) == "reference, shards: 2, on workers: 2"
        with pytest.raises(ValueError, match="k is 200, but a corner patch has only"):
            match(query, shards, k=200)


def test_a_shard_whose_worker_is_killed_is_searched_by_another(
    made: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(2, tmp_path) as cluster:
        victim = next(iter(cluster.workers))
        cluster.tell(kill_at, "idekernels.operations:match", 2, on=[victim])
        assert coarse(made, tmp_path / "out", cluster.address, "--shards") == 1
        assert cluster.workers[victim].wait(20) == -9
    told = capfd.readouterr()
    assert "shards: 2, on workers: 2" in told.err and "40 made" in told.out
    assert pictures(tmp_path / "out") == pictures(expected)


def test_fine_sketches_come_with_their_coarse_ones(made: Path, tmp_path: Path, three: Running) -> None:
    few = tmp_path / "in"
    for name in ("00.png", "04.png", "06.png", "07.png"):
        write = few / name
        write.parent.mkdir(exist_ok=True)
        shutil.copy(made / "in" / name, write)
    given = (*banks(made), PHANTOM, few, *OPTIONS, "--device", "cpu", "--save-coarse", "--align", "never")
    ways = {"here": (), "there": ("--cluster", three.address), "shards": ("--cluster", three.address, "--shards")}
    for name, place in ways.items():
        assert call("synth", *given, "-o", tmp_path / name, *place) == 1
    for name in ("there", "shards"):
        for folder in ("coarse", "quilt"):
            assert (tmp_path / "here" / folder).is_dir() == (tmp_path / name / folder).is_dir()
        assert pictures(tmp_path / name / "coarse") == pictures(tmp_path / "here" / "coarse")
        assert pictures(tmp_path / name).keys() == pictures(tmp_path / "here").keys() == {"00.png", "06.png", "07.png"}
        for picture in pictures(tmp_path / "here"):
            made_here, made_there = (read_grey(tmp_path / each / picture).astype(int) for each in ("here", name))
            assert np.abs(made_here - made_there).max() <= 1  # torch rounds as its number of threads has it


def test_photos_of_the_bank_are_left_out(
    made: Path, tmp_path: Path, three: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    photos, told = shutil.copytree(made / "pairs-1" / "photo", tmp_path / "in"), []
    shutil.copy(made / "in" / "00.png", photos / "other.png")
    ways = {"here": (), "there": ("--cluster", three.address), "shards": ("--cluster", three.address, "--shards")}
    for name, place in ways.items():
        given = (*banks(made), photos, "-o", tmp_path / name, "--leave-one-out", "--align", "never", *OPTIONS)
        assert call("coarse", *given, *place) == 1
        told.append(capfd.readouterr().err.splitlines()[1:])
        assert len(pictures(tmp_path / name)) == 3 and pictures(tmp_path / name) == pictures(tmp_path / "here")
    assert told[0] == told[1] == told[2]
    assert any("no pair 'other' in the bank to leave out" in line for line in told[0])
    with open_bank(*banks(made)) as bank:
        name = bank.names[4]
        kept = coarse_sketch(read_grey(photos / f"{name}.png"), bank, k=3, backend="reference").images()[0]
    assert (kept != read_grey(tmp_path / "there" / f"{name}.png")).any()


def test_a_worker_of_other_versions_is_named(
    made: Path, tmp_path: Path, three: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = list(three.workers)[1]
    three.tell(have_other_version, "numba", on=[worker])
    try:
        line = told_once(
            capsys, "coarse", *banks(made), made / "in/00.png", "-o", tmp_path / "out", "--cluster", three.address
        )
    finally:
        three.tell(recover)
    assert f"worker {worker}: numba is 0.0.1 there" in line and "install numba" in line
    assert not pictures(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_a_setting_that_does_not_fit_the_bank_is_one_line(
    made: Path, tmp_path: Path, three: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (made / "0.h5", made / "in/00.png", "-o", tmp_path / "out", "--backend", "reference", "--k", 200)
    here = told_once(capsys, "coarse", *given)
    assert "k is 200" in here
    for more in ([], ["--shards"]):
        there = told_once(capsys, "coarse", *given, "--cluster", three.address, *more)
        assert there.endswith(here.removeprefix("Error: "))


def test_a_full_disk_of_a_worker_is_named(
    made: Path, tmp_path: Path, three: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    three.tell(have_full_disk)
    try:
        line = told_once(
            capsys,
            "coarse",
            *banks(made),
            made / "in/00.png",
            "-o",
            tmp_path / "out",
            *OPTIONS,
            "--cluster",
            three.address,
        )
    finally:
        three.tell(recover)
    assert any(f"worker {worker}" in line for worker in three.workers) and "/tmp/cache: its disk is full" in line


def test_a_full_disk_here_is_one_line_and_nothing_is_lost(
    made: Path,
    expected: Path,
    tmp_path: Path,
    three: Running,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, written = tmp_path / "out", []
    real = Path.write_bytes

    def write(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 20:
            real(path, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write)
        assert coarse(made, out, three.address) == 1
    assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
    assert pictures(out).keys() < pictures(expected).keys() and len(pictures(out)) == 19
    assert {file.suffix for file in out.iterdir()} == {".png", ".jsonl"}
    assert coarse(made, out, three.address) == 1
    assert pictures(out) == pictures(expected)


@NEEDS_PROC
@pytest.mark.parametrize(("there", "says"), [(None, "is not there"), ("1.h5", "is another bank there")])
@pytest.mark.parametrize("shards", [[], ["--shards"]])
def test_a_bank_that_a_worker_does_not_see_is_named(
    made: Path, tmp_path: Path, three: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    there: str | None, says: str, shards: list[str],
) -> None:  # fmt: skip
    """Each process has its own /proc/self/cwd, as each machine has its own disks."""
    workers = Path(f"/proc/{next(iter(three.workers.values())).pid}/cwd").resolve()
    (workers / "bank.h5").unlink(missing_ok=True)
    if there:
        shutil.copy(made / there, workers / "bank.h5")
    shutil.copy(made / "0.h5", tmp_path / "bank.h5")
    monkeypatch.chdir(tmp_path)
    bank = "/proc/self/cwd/bank.h5"
    line = told_once(capsys, "coarse", bank, made / "in", "-o", "out", *OPTIONS, "--cluster", three.address, *shards)
    assert any(f"worker {worker}" in line for worker in three.workers)
    assert bank in line and says in line and "there" in line


def test_no_scheduler_is_one_line(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idemodel.scale.cluster._TIMEOUT", 1.0)
    assert coarse(made, tmp_path / "out", "tcp://127.0.0.1:1") == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("Error: tcp://127.0.0.1:1: no scheduler answers") and "dask scheduler" in line


def test_no_workers_is_one_line(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idemodel.scale.cluster._TIMEOUT", 2.0)
    with running(0, tmp_path) as cluster:
        assert coarse(made, tmp_path / "out", cluster.address) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert "the scheduler has no workers" in line and f"dask worker {cluster.address}" in line
