"""The process that reads hostile files: one request a line, one JSON answer a line; it is expected to die at times."""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idekernels.errors import InputError

_SPARE = 2**30  # of addresses, not of memory: what libraries reserve and never touch


def serve(find: Callable[[str], Any], dump_after: float) -> None:
    """Answer requests until stdin ends: ``{"reader", "path"}`` to ``{"outcome", "message", "peak"}`` (MiB).

    ``find`` gives the reader of a name. After ``dump_after`` seconds the stack of a reader that hangs goes to stderr.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr
    warm: set[str] = set()
    for line in sys.stdin:
        request = json.loads(line)
        reader = find(request["reader"])
        if reader.name not in warm:
            warm.add(reader.name)
            _warm_up(reader)
        faulthandler.dump_traceback_later(dump_after)
        print(json.dumps(_answer(reader, Path(request["path"]))), file=answers, flush=True)
        faulthandler.cancel_dump_traceback_later()


def _warm_up(reader: Any) -> None:
    """Read a good file: what is imported, compiled or allocated once is no cost of the files that follow."""
    if reader.warm:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in" / reader.file
            path.parent.mkdir(parents=True)
            path.write_bytes(reader.wrap(reader.seeds[0]))
            _read(reader, path)


def _answer(reader: Any, path: Path) -> dict[str, Any]:
    before, addresses = _status("VmRSS"), _status("VmSize")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    resource.setrlimit(resource.RLIMIT_AS, (addresses + 2 * reader.memory * 2**20 + _SPARE, resource.RLIM_INFINITY))
    try:
        outcome, message = _read(reader, path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {"outcome": outcome, "message": message, "peak": max(0, _status("VmHWM") - before) / 2**20}


def _read(reader: Any, path: Path) -> tuple[str, str]:
    try:
        reader.read(path)
    except InputError as error:
        return "refused", str(error)
    except BaseException:
        return "raised", traceback.format_exc()
    return "read", ""


def _status(name: str) -> int:
    """A figure of this process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) * 1024
