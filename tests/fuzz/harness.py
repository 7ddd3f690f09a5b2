"""Runs readers on files in a worker process, and judges what came of it: no crash, hang, traceback or excess memory."""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.reader import Reader

PATIENCE = 20.0  # seconds a file may take: far more than any needs, so that only a hang is one
_LOADING = 120.0  # seconds until the first answer of a worker


class Failure(AssertionError):
    """A reader did what no reader may do."""


class Worker:
    """A process that reads; started when it is needed, and again after it died or was ended for hanging."""

    def __init__(self, find: str = "tests.fuzz.readers:find", prefix: Sequence[str] = (), patience: float = PATIENCE):
        self.patience = patience
        module, _, name = find.partition(":")
        code = (
            f"import sys; sys.path[:] = {[str(Path(__file__).parents[2]), *sys.path]!r}\n"
            f"from {module} import {name}; from tests.fuzz.worker import serve; serve({name}, {patience / 2})"
        )
        self._command = [*prefix, sys.executable, "-W", "ignore", "-c", code]
        self._process: subprocess.Popen[str] | None = None
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker

    def judge(self, reader: Reader, path: Path) -> str:
        """Read a file; gives "read" or the message that refused it, raises Failure for all else."""
        answer = self._ask({"reader": reader.name, "path": str(path)})
        if answer["outcome"] == "raised":
            raise Failure(f"{reader.name}: a traceback\n{answer['message']}")
        if answer["peak"] > reader.memory:
            raise Failure(f"{reader.name}: took {answer['peak']:.0f} MiB, {reader.memory} are allowed")
        message: str = answer["message"]
        if answer["outcome"] == "refused":
            _check_message(reader, message, path)
        return message or "read"

    def close(self) -> None:
        """End the process."""
        self._end()
        self._told.close()

    def _ask(self, request: dict[str, str]) -> Any:
        patience = self.patience
        if self._process is None:
            patience += _LOADING
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._told, text=True
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            answered = selector.select(patience)
        line = process.stdout.readline() if answered else ""
        if line:
            return json.loads(line)
        how = self._end()
        raise Failure(f"{request['reader']}: {'crashed, ' + how if answered else 'hung'}\n{self._stack()}")

    def _end(self) -> str:
        """End the process; how it ended, in words."""
        process, self._process = self._process, None
        if process is None:
            return "not running"
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.kill()
        code = process.wait()
        process.stdout.close()
        return signal.Signals(-code).name if code < 0 else f"status {code}"

    def _stack(self) -> str:
        """What the worker last wrote on stderr."""
        self._told.seek(0)
        return "".join(self._told.readlines()[-40:])


@contextlib.contextmanager
def working(*arguments: Any, **options: Any) -> Iterator[Worker]:
    """A worker that is ended afterwards."""
    worker = Worker(*arguments, **options)
    try:
        yield worker
    finally:
        worker.close()


def judged(worker: Worker, reader: Reader, content: bytes, folder: Path) -> str:
    """What :meth:`Worker.judge` says of a file of this content in a folder."""
    path = folder / reader.file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return worker.judge(reader, path)


def _check_message(reader: Reader, message: str, path: Path) -> None:
    if not message.strip() or "\n" in message or "\r" in message:
        raise Failure(f"{reader.name}: a message that is not one line: {message!r}")
    if not message.removeprefix(str(path)).isprintable():
        raise Failure(f"{reader.name}: a message that cannot be printed: {message!r}")
    if len(message) > 1000 + 2 * len(str(path)):
        raise Failure(f"{reader.name}: a message of {len(message)} characters: {message[:300]!r}")
    if str(path.parent.parent) not in message:  # of some files it is the folder that is named
        raise Failure(f"{reader.name}: a message that does not name the file: {message!r}")
