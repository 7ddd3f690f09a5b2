"""How a server ends, and what it leaves in its output: nobody waits for nothing, and no request fills a log."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import (
    Served,
    bank_and_model,
    connected,
    held_up,
    photo_of,
    running,
    serving,
    sketcher_of,
    tiny_bank,
    wait_for,
    workers_of,
)  # fmt: skip

from idekernels.errors import InputError
from idemodel.serving.engine import Engine, SketchWork
from idemodel.serving.logs import Bounded
from idemodel.serving.models import Problem
from idemodel.serving.problems import Refused
from idemodel.serving.processes import _Crew
from idemodel.serving.server import Impatient
from idemodel.serving.settings import Limits

pytestmark = pytest.mark.usefixtures("one_torch_thread")

FORM = (b"POST /api/sketch HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n"
        b"content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture
def held(bank: Path) -> Iterator[tuple[Served, threading.Event]]:
    """A server whose engine waits until the event is set."""
    with held_up(bank, 8) as served:
        yield served


def test_at_the_end_who_waits_is_told_at_once_and_who_is_computed_is_answered(
    held: tuple[Served, threading.Event], caplog: pytest.LogCaptureFixture
) -> None:
    served, go = held

    def ask(number: int) -> httpx.Response:
        return httpx.post(f"{served.url}/api/sketch", files={"photo": photo_of(number)}, timeout=60)

    with ThreadPoolExecutor(4) as clients, connected(served) as slow:
        first = clients.submit(ask, 0)
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 1)
        wait_for(lambda: served.engine._present)
        waiting = [clients.submit(ask, number) for number in range(3)]
        slow.sendall(FORM)
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 5)
        served.server.should_exit = True
        for one in waiting:
            refused(one.result(30))
        said = b"".join(iter(lambda: slow.recv(4096), b""))
        assert b" 503 " in said and b"the server is ending" in said
        assert not first.done()
        go.set()
        assert first.result(30).status_code == 200
    assert "Traceback" not in caplog.text and not [line for line in caplog.records if line.exc_info]


def test_what_is_computed_for_too_long_is_told_so(
    held: tuple[Served, threading.Event], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, go = held
    monkeypatch.setattr("idemodel.serving.server.TO_END", 0.2)
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(httpx.post, f"{served.url}/api/sketch", files={"photo": photo_of(0)}, timeout=60)
        wait_for(lambda: served.engine._present)
        served.server.should_exit = True
        refused(first.result(30))
    go.set()
    assert not [line for line in caplog.records if line.exc_info]


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 503 and answer.headers["content-type"] == "application/problem+json"
    assert Problem.model_validate_json(answer.content).detail == "the server is ending"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_job_that_was_refused_at_the_end_is_not_answered_twice(bank: Path) -> None:
    sketcher = sketcher_of(bank)
    engine = Engine(sketcher, Limits())
    real = sketcher.sketch

    def ends_meanwhile(photos: Any) -> Any:
        engine.hurry()
        return real(photos)

    sketcher.sketch = ends_meanwhile  # type: ignore[method-assign]
    job = engine.submit(SketchWork(photo_of(0), "me"))
    engine.start()
    assert isinstance(job.future.exception(30), Refused)
    engine.stop()


# ---- too many connections


def test_a_connection_too_many_is_refused_in_words_and_many_more_are_closed(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(sketcher_of(bank)) as served:
        monkeypatch.setattr(Impatient, "most", 3)
        monkeypatch.setattr("idemodel.serving.server._TURNED_AWAY", 2)
        opened = [connected(served) for _ in range(3)]
        wait_for(lambda: len(served.server.server_state.connections) == 3)
        answer = httpx.get(f"{served.url}/api/info")
        assert answer.status_code == 503 and answer.headers["content-type"] == "application/problem+json"
        assert "too many connections" in answer.json()["detail"] and int(answer.headers["retry-after"]) >= 1
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["connection"] == "close"
        opened += [connected(served) for _ in range(2)]
        wait_for(lambda: len(served.server.server_state.connections) == 5)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{served.url}/api/info")
        for one in opened:
            one.close()
        wait_for(lambda: not served.server.server_state.connections)
        assert httpx.get(f"{served.url}/api/info").status_code == 200


# ---- what is written


def test_lines_of_requests_are_few_short_and_without_control_characters() -> None:
    written = io.StringIO()
    logger = logging.Logger("of the test")
    logger.addHandler(Bounded(written))
    for number in range(100):
        logger.warning("a name: %s %s", f"\x1b]0;title\x07{number}", "x" * 1000)
    try:
        raise RuntimeError("\x1b[2J\nfaked line")
    except RuntimeError:
        logger.exception("failed")
    lines = written.getvalue().splitlines()
    assert sum("a name" in line for line in lines) == 5
    assert max(map(len, lines)) <= 300 and "\\x1b]0;title" in lines[0]
    assert all(line.isprintable() for line in lines)
    assert "Traceback" in written.getvalue() and "RuntimeError" in written.getvalue()


def test_what_was_not_written_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    written, clock = io.StringIO(), [0.0]
    monkeypatch.setattr("idemodel.serving.logs.time.monotonic", lambda: clock[0])
    logger = logging.Logger("of the test")
    logger.addHandler(Bounded(written))
    for moment in [*range(20), 61]:
        clock[0] = float(moment)
        logger.warning("Invalid HTTP request received.")
    lines = written.getvalue().splitlines()
    assert len(lines) == 6 and lines[-1].endswith("(15 more like this were not written)")


def test_a_cancelled_request_is_no_traceback() -> None:
    written = io.StringIO()
    logger = logging.Logger("of the test")
    logger.addHandler(Bounded(written))
    logger.error("Exception in ASGI application\n", exc_info=asyncio.CancelledError())
    assert written.getvalue() == ""


def test_rubbish_is_answered_and_hardly_written_of(bank: Path) -> None:
    """Upgrades, damaged forms and what is no HTTP, in a process of its own: the loggers are the process's."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import httpx, socket
from pathlib import Path
from served import connected, serving, sketcher_of
from idemodel.serving.logs import bound_logs
bound_logs()
with serving(sketcher_of(Path({str(bank)!r}))) as served:
    for _ in range(30):
        upgrade = {{"connection": "upgrade", "upgrade": "websocket"}}
        assert served.client.get("/api/health", headers=upgrade).status_code == 200
        form = {{"content-type": "multipart/form-data; boundary=b"}}
        assert served.client.post("/api/sketch", content=b"--b--rubbish" * 20, headers=form).status_code == 422
        with connected(served) as client:
            client.sendall(b"\\x1b[2J\\xff\\r\\n\\r\\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["Invalid HTTP request received."] * 5


# ---- whole processes


def workers_now(parent: int) -> list[int]:
    """As workers_of, while processes end: none where one goes just then; to be asked again."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return workers_of(parent)
    return []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return bank_and_model(tmp_path_factory.mktemp("files"))


def test_a_server_under_load_ends_without_a_traceback(files: tuple[Path, Path]) -> None:
    with running(*files) as (url, process):
        statuses: list[int] = []

        def ask() -> None:
            try:
                while True:
                    answer = httpx.post(f"{url}/api/sketch", files={"photo": photo_of(0)}, timeout=60)
                    statuses.append(answer.status_code)
                    if answer.status_code == 503:
                        return
            except httpx.TransportError:  # it has ended
                return

        with ThreadPoolExecutor(12) as clients:
            asked = [clients.submit(ask) for _ in range(12)]
            wait_for(lambda: len(statuses) > 24)
            process.send_signal(signal.SIGTERM)
            for one in asked:
                one.result(60)
        _, said = process.communicate(timeout=60)
    assert set(statuses) <= {200, 503} and "Traceback" not in said and "Exception" not in said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_dies_is_replaced_and_all_end_when_their_parent_is_killed(files: tuple[Path, Path]) -> None:
    with running(*files, "--workers", 2) as (url, process):
        first = workers_of(process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        wait_for(lambda: len(set(workers_now(process.pid)) - set(first)) == 1)
        assert httpx.get(f"{url}/api/health", timeout=60).status_code == 200
        process.kill()
        process.wait(30)
        wait_for(lambda: not answers(url))  # nobody holds the socket any more
        said = process.stderr.read() if process.stderr else ""
    assert said.count("died; another one begins") == 1 and "Traceback" not in said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_why_a_process_cannot_be_replaced_is_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    bank = tmp_path / "gone.h5"
    bank.write_bytes(files[0].read_bytes())
    with running(bank, files[1], "--workers", 2) as (_, process):
        seen = set(workers_of(process.pid))
        bank.unlink()
        os.kill(min(seen), signal.SIGKILL)

        def two_more() -> bool:  # one for the one that was killed, and one for that, which could not begin
            seen.update(workers_now(process.pid))
            return len(seen) >= 4

        wait_for(two_more)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert "died; another one begins" in said and "died: " in said and "gone.h5" in said.partition("died: ")[2]


SCRIPT = """
import socket, sys, time
from functools import partial
from pathlib import Path
from idekernels.errors import InputError
from idemodel.serving import processes

def work(bank, listening, ready):
    if not bank.exists():
        raise {mistake}
    ready()
    while True:
        time.sleep(1)

if __name__ == "__main__":
    processes._PAUSE, processes._LOOK = 0.1, 0.02
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ready = lambda: print(listening.getsockname()[1], flush=True)
            processes.serve_in_processes(partial(work, Path(sys.argv[1])), listening, 2, ready)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("mistake", "why"), [("InputError('b.h5: gone')", "b.h5: gone"), ("RuntimeError('a\\nb')", "RuntimeError: a b")]
)
def test_a_server_of_which_no_process_can_begin_ends_and_says_why(tmp_path: Path, mistake: str, why: str) -> None:
    script, bank = tmp_path / "serve.py", tmp_path / "gone.h5"
    script.write_text(SCRIPT.replace("{mistake}", mistake))
    bank.touch()
    with subprocess.Popen(
        [sys.executable, script, bank], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        assert answers(url)
        bank.unlink()
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and not answers(url)
    assert said.count("Traceback") == (3 if "Runtime" in mistake else 0)  # only a mistake of ours has one
    *before, last = said.splitlines()
    assert last == f"Error: no process of the server is left, and 3 in a row could not begin: {why}"
    assert sum("another one begins" in line for line in before) == 2
    assert sum(f"died: {why};" in line for line in before) == 1


class Pretended:
    """A process of a server that only pretends: what becomes of it is told by the test."""

    def __init__(self, began: float) -> None:
        self.began, self.ready, self.lost, self.hears = began, False, False, io.BytesIO()
        self.dies, self.why = False, ""

    def look(self) -> None:
        self.lost = self.dies


class Team:
    """Pretended processes, of which further ones die with ``why`` where there is one, and a clock of its own."""

    def __init__(self, count: int) -> None:
        self.now, self.why, self.began = 0.0, "", list[float]()
        self.crew = _Crew(self.begin, lambda: self.now)  # type: ignore[arg-type, return-value]
        self.crew.members = [self.begin() for _ in range(count)]  # type: ignore[misc]
        for member in self.crew.members:
            member.ready = True
        self.began.clear()

    def begin(self) -> Pretended:
        self.began.append(self.now)
        made = Pretended(self.now)
        made.dies, made.why = bool(self.why), self.why
        return made

    def kill(self, number: int) -> None:
        self.crew.members[number].dies = True  # type: ignore[attr-defined]

    def go_on(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.crew.look()


def test_while_others_serve_one_is_tried_again_ever_more_rarely_and_why_is_written_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    team = Team(2)
    team.go_on(9)
    team.kill(0)
    team.why = "bank.h5: gone"
    team.go_on(300)
    pauses = [later - earlier for earlier, later in itertools.pairwise(team.began)]
    assert pauses == [6, 11, 21, 41, 61, 61, 61]  # each fails a second after it began
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a process of the server died; another one begins" and len(lines) == 2
    assert "died: bank.h5: gone;" in lines[1]
    team.why = "bank.h5: damaged"
    team.go_on(62)
    assert "bank.h5: damaged" in capsys.readouterr().err  # another reason is told
    team.why = ""
    team.go_on(62)
    team.crew.members[0].ready = True
    team.go_on(600)
    assert capsys.readouterr().err == ""


def test_the_last_that_dies_is_replaced_at_once_whatever_failed_before(capsys: pytest.CaptureFixture[str]) -> None:
    team = Team(2)
    team.go_on(9)
    team.kill(0)
    team.why = "gone"
    team.go_on(200)
    team.began.clear()
    team.kill(1)
    with pytest.raises(InputError, match="3 in a row could not begin: gone"):
        team.go_on(100)
    assert team.began == [210, 216, 227]
    assert capsys.readouterr().err.count("gone") == 1


def test_where_none_serves_one_begins_and_the_others_after_it() -> None:
    team = Team(3)
    team.go_on(9)
    for number in range(3):
        team.kill(number)
    team.go_on(5)
    assert team.began == [10]
    team.crew.members[0].ready = True
    team.go_on(1)
    assert team.began == [10, 15, 15]


def answers(url: str) -> bool:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
