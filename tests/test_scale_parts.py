"""The parts of a cluster's work, in this process: what is under way, what is kept open, what is answered."""

from __future__ import annotations

import errno
import io
import itertools
import pickle
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress

from idecli import console
from idecli.batch import Batch, Results
from idecli.cluster import OnCluster
from idecli.console import Rate
from idecli.photos import PhotoIntake
from idekernels import BankSettings, CoarseSettings, MemoryBank, open_bank, prepare, write_bank
from idekernels.errors import InputError
from idekernels.files import notices
from idemodel.files.images import write_image
from idemodel.files.journal import Making
from idemodel.phantom import phantom_pairs
from idemodel.preparation import PhotoPreparer, PreparationSettings, PreparedPhoto
from idemodel.scale.answers import Refusal, answering, one_at_a_time
from idemodel.scale.files import BankFiles, ModelFile
from idemodel.scale.jobs import CoarseJob, FineJob, Held, Holding, Kept, bench_of
from idemodel.scale.places import Place
from idemodel.sketcher import Sketcher
from tests.commands import call, told_once

pytest.importorskip("distributed")

PREPARATION = PreparationSettings("never", "none")
SETTINGS = CoarseSettings("top1", k=2)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bank") / "bank.h5"
    pairs = [(pair.name, pair.photo, pair.sketch) for pair in phantom_pairs(2, height=64, width=48, seed=2)]
    write_bank(file, pairs, BankSettings(16, 2, 0))
    return file


class Here:
    """A cluster of two workers that do their work when its result is asked for; it counts what is under way."""

    place = Place(processes=2)
    workers = {"one": 1, "two": 1}  # noqa: RUF012 - and the threads of each

    def __init__(self, killed: Callable[[int], bool] = lambda number: False) -> None:
        self.under_way = self.most = self.sent = 0
        self._killed = killed

    def get_ready(self, work: Callable[[Any], Any], job: Any) -> list[Any]:
        return [work(pickle.loads(pickle.dumps(job)))]

    def submit(self, name: str, work: Callable[..., Any], *given: Any) -> Any:
        assert name == "sketch"
        self.sent += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return self.sent, work, pickle.loads(pickle.dumps(given))

    def result(self, future: Any) -> Any:
        from idemodel.scale.cluster import KilledError

        number, work, given = future
        self.under_way -= 1
        if self._killed(number):
            raise KilledError("its batch ended several workers")
        return work(*given)


def on_cluster(bank: Path, folder: Path, cluster: Here, photos: int) -> Batch:
    """A batch of some photos made on a cluster of this process."""
    pair = next(iter(phantom_pairs(1, height=64, width=48, seed=5)))
    (folder / "in").mkdir()
    for number in range(photos):
        write_image(folder / "in" / f"{number:03}.png", pair.photo)
    batch = Batch.find([folder / "in"], Results(folder / "out", Making.of("coarse")))
    with open_bank(bank) as opened:
        job = CoarseJob(Holding(BankFiles.of(opened), "reference"), SETTINGS, PREPARATION)
        intake = PhotoIntake(opened, PREPARATION, leave_one_out=False)
        OnCluster(batch, intake, cluster, job).run("Coarse sketches")  # type: ignore[arg-type]
    return batch


def test_no_more_than_two_batches_a_worker_are_under_way(bank: Path, tmp_path: Path) -> None:
    cluster = Here()
    batch = on_cluster(bank, tmp_path, cluster, 16 * 9)
    assert batch.made == 16 * 9 and cluster.sent == 9 and cluster.most == 4


def test_a_batch_that_ends_every_worker_is_told_photo_by_photo_and_the_rest_goes_on(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = on_cluster(bank, tmp_path, Here(killed=lambda number: number == 2), 40)
    assert (batch.made, batch.failed) == (24, 16)
    told = capsys.readouterr().err.splitlines()[1:]
    assert [line[-4 - len("016.png: its batch ended several workers") :] for line in told] == [
        f"/in/{number:03}.png: its batch ended several workers" for number in range(16, 32)
    ]


def test_what_readers_have_to_tell_is_told_once(
    bank: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    real = PhotoPreparer.prepare

    def prepare(self: PhotoPreparer, *given: Any, **more: Any) -> PreparedPhoto:
        notices.tell_once("dark", f"{more['name']}: is nearly black")
        return real(self, *given, **more)

    monkeypatch.setattr(PhotoPreparer, "prepare", prepare)
    assert on_cluster(bank, tmp_path, Here(), 20).made == 20
    assert caplog.text.count("is nearly black") == 1 and "000.png: is nearly black" in caplog.text


def test_the_rate_is_shown_when_there_is_one() -> None:
    now = itertools.count(0.0, 0.5)
    bar = Progress(Rate(), get_time=lambda: next(now), disable=True)
    task = bar.add_task("Sketches", total=100)
    assert Rate().render(bar.tasks[0]).plain == ""
    for _ in range(10):
        bar.update(task, advance=3)
    assert re.fullmatch(r"\d+\.\d/s", Rate().render(bar.tasks[0]).plain)


def test_without_a_terminal_the_rate_and_the_time_left_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pipe = [0.0], io.StringIO()
    monkeypatch.setattr("idecli.console.time.monotonic", lambda: now[0])
    monkeypatch.setattr(console, "err", console.PlainInPipes(file=pipe))
    with console.progress(Rate()) as bar:
        task = bar.add_task("Sketches", total=1000)
        for _ in range(25):
            now[0] += 4
            bar.advance(task, 10)
    assert pipe.getvalue().splitlines() == ["Sketches: 100 of 1000, 2.50/s, 0:06:00 left",
                                            "Sketches: 200 of 1000, 2.50/s, 0:05:20 left"]  # fmt: skip


def test_large_photos_make_small_batches(bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idecli.cluster._MOST_BYTES", 1)
    cluster = Here()
    assert on_cluster(bank, tmp_path, cluster, 5).made == 5
    assert cluster.sent == 5


def test_jobs_of_one_content_are_equal_and_small(bank: Path) -> None:
    with open_bank(bank) as one, open_bank(bank) as other:
        jobs = [CoarseJob(Holding(BankFiles.of(each)), SETTINGS, PREPARATION) for each in (one, other)]
    assert jobs[0] == jobs[1] and hash(jobs[0]) == hash(jobs[1]) and len(pickle.dumps(jobs[0])) < 2000
    fine = FineJob(jobs[0].bank, ModelFile("model.safetensors", "0"), SETTINGS, PREPARATION)
    assert hash(fine) == hash(pickle.loads(pickle.dumps(fine)))


def test_workers_are_told_all_that_a_bank_and_a_sketcher_can_be_told() -> None:
    """An option that is new must reach the workers: it is a field of what they are sent."""
    held = {each.name for each in fields(Holding)}
    assert set(signature(prepare).parameters) - {"bank"} <= held
    told = held | {each.name for each in fields(FineJob)}
    assert set(signature(Sketcher).parameters) <= told


def test_only_banks_that_are_files_go_to_a_cluster() -> None:
    planes = np.zeros((1, 1, 16, 16), np.uint8)
    with pytest.raises(InputError, match="banks that are files"):
        BankFiles.of(MemoryBank(planes, planes, ["a"], BankSettings(8, 4, 0)))


def test_another_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    model = ModelFile.of(file)
    assert model.checked() == file
    file.write_bytes(b"another")
    with pytest.raises(InputError, match="another model"):
        model.checked()
    file.unlink()
    with pytest.raises(InputError, match="is not there"):
        model.checked()


class Door:
    """What is made, and says when it is closed."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name, self.closed = name, closed

    def close(self) -> None:
        self.closed.append(self.name)


def test_what_was_not_used_longest_is_closed_first() -> None:
    closed: list[str] = []
    kept: Kept[str, Door] = Kept(2)
    first = kept.of("a", lambda: Door("a", closed))
    kept.of("b", lambda: Door("b", closed))
    assert kept.of("a", lambda: Door("another a", closed)) is first and not closed
    kept.of("c", lambda: Door("c", closed))
    assert closed == ["b"] and kept.of("a", lambda: Door("another a", closed)) is first


def test_what_cannot_be_made_is_not_kept() -> None:
    kept: Kept[str, Door] = Kept(2)

    def fail() -> Door:
        raise InputError("no such bank")

    with pytest.raises(InputError):
        kept.of("a", fail)
    door = Door("a", [])
    assert kept.of("a", lambda: door) is door


def test_jobs_of_one_bank_share_it(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = Holding.open

    def counted(holding: Holding) -> Held:
        opened.append(holding)
        return real(holding)

    monkeypatch.setattr(Holding, "open", counted)
    with open_bank(bank) as once:
        held = Holding(BankFiles.of(once), "reference", 1)
    jobs = [CoarseJob(held, CoarseSettings("top1", k=k), PREPARATION) for k in (1, 2)]
    assert bench_of(jobs[0]) is not bench_of(jobs[1]) and bench_of(jobs[0]) is bench_of(jobs[0])
    assert opened == [held]


def test_work_is_done_one_at_a_time_by_however_many_threads() -> None:
    inside, most, gate = 0, 0, threading.Barrier(4)

    @one_at_a_time
    def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.01)
        inside -= 1

    def begin() -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (InputError("bank.h5: is gone"), "bank.h5: is gone"),
        (ValueError("k is 200, but\n there are 9 positions"), "k is 200, but there are 9 positions"),
        (MemoryError(), "its memory does not suffice"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "/tmp/x: its disk is full"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (ModuleNotFoundError("No module named 'dlib'"), "No module named 'dlib'"),
    ],
)
def test_what_a_user_can_mend_is_answered_in_a_line_that_names_the_worker(error: BaseException, says: str) -> None:
    @answering
    def work() -> None:
        raise error

    answer = work()
    assert isinstance(answer, Refusal) and answer.line.startswith("process ") and says in answer.line
    assert "\n" not in answer.line


def test_a_mistake_of_ours_is_raised() -> None:
    @answering
    def work() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError):
        work()


@pytest.mark.parametrize("absent", ["distributed", "cryptography"])
def test_without_the_extra_it_is_named(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    write_image(tmp_path / "a.png", np.zeros((64, 48), np.uint8))
    monkeypatch.setitem(sys.modules, absent, None)
    line = told_once(capsys, "coarse", bank, tmp_path / "a.png", "-o", tmp_path / "out", "--cluster", "local:2")
    assert absent in line and "pip install 'idesketch[scale]'" in line


@pytest.mark.parametrize(
    ("file", "says"), [(None, "no certificate is set"), ("absent.pem", "the certificates cannot be read")]
)
def test_tls_without_certificates_is_one_line(
    bank: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    file: str | None, says: str,
) -> None:  # fmt: skip
    import dask

    write_image(tmp_path / "a.png", np.zeros((64, 48), np.uint8))
    given = (bank, tmp_path / "a.png", "-o", tmp_path / "out", "--cluster", "tls://127.0.0.1:1")
    absent = str(tmp_path / file) if file else None
    places = dict.fromkeys(("ca-file", "client.cert", "client.key"), absent)
    with dask.config.set({f"distributed.comm.tls.{name}": place for name, place in places.items()}):
        assert call("coarse", *given) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert "tls://127.0.0.1:1" in line and says in line and "docs/SCALE.md" in line


@pytest.mark.parametrize("option", [["--shards"], ["--dashboard", "8787"]])
def test_what_goes_with_a_cluster_is_refused_without(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert call("coarse", bank, tmp_path, "-o", tmp_path / "out", *option) == 2
    assert "go with --cluster" in capsys.readouterr().err


def test_a_dashboard_needs_bokeh_and_a_cluster_of_this_machine(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png", np.zeros((64, 48), np.uint8))
    monkeypatch.setitem(sys.modules, "bokeh", None)
    for cluster, says in (("local:2", "pip install bokeh"), ("tcp://127.0.0.1:1", "its scheduler's")):
        given = (bank, tmp_path / "a.png", "-o", tmp_path / "out", "--cluster", cluster, "--dashboard", "8787")
        assert says in told_once(capsys, "coarse", *given)
