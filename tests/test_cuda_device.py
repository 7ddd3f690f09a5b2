"""The device, and what is said where there is none, on stand-ins for CuPy whose streams run as late as they may."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from idekernels import backends
from idekernels.backends.cuda import device as devices
from idekernels.errors import InputError
from tests.emulator.device import EmulatedDevice


class Runtime:
    """cupy.cuda.runtime of a machine with these versions; a driver of None answers with an error."""

    CUDARuntimeError = RuntimeError

    def __init__(self, toolkit: int, driver: int | None, count: int) -> None:
        self.toolkit, self.driver, self.count = toolkit, driver, count

    def runtimeGetVersion(self) -> int:
        return 1000 * self.toolkit + 60

    def driverGetVersion(self) -> int:
        if self.driver is None:
            raise RuntimeError("cudaErrorInsufficientDriver")
        return 1000 * self.driver

    def getDeviceCount(self) -> int:
        return self.count


@pytest.fixture
def reason(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str | None]]:
    """What is said on a machine with such a runtime."""

    def told(toolkit: int, driver: int | None, count: int = 1) -> str | None:
        cupy = ModuleType("cupy")
        cupy.cuda = SimpleNamespace(runtime=Runtime(toolkit, driver, count))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        devices._reason.cache_clear()
        return devices.why_missing()

    yield told
    devices._reason.cache_clear()


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ((12, None), "no NVIDIA driver answers .*: install one that knows CUDA 12"),
        ((12, 0), "no NVIDIA driver is installed: install one that knows CUDA 12"),
        (
            (13, 12),
            r"knows CUDA 12, CuPy is for CUDA 13: pip uninstall cupy-cuda13x and pip install 'idesketch\[cuda12\]'",
        ),
        ((12, 11), "knows CUDA 11, CuPy is for CUDA 12: a newer driver"),
        ((12, 13, 0), "the NVIDIA driver sees no device"),
    ],
)
def test_what_is_missing_is_told_with_its_remedy(
    reason: Callable[..., str | None], machine: tuple[int, ...], words: str
) -> None:
    told = reason(*machine)
    assert told is not None and re.search(words, told), told


def test_without_cupy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices._reason.cache_clear()
    try:
        with pytest.raises(InputError, match=r"'cuda' cannot run here: CuPy is missing.*idesketch\[cuda12\]"):
            backends.resolve("cuda")
        assert backends.resolve("auto").name == "cpu"
    finally:
        devices._reason.cache_clear()


def test_auto_takes_a_device_that_answers() -> None:
    with devices.use(EmulatedDevice()):
        assert backends.resolve("auto").name == "cuda"


class Stream:
    """Work in order; done when somebody waits for it (late), or at once where it need not wait for others (early)."""

    def __init__(self, early: bool) -> None:
        self.early, self.work, self.done = early, [], 0  # type: ignore[var-annotated]

    def queue(self, task: Callable[[], None]) -> None:
        self.work.append(task)
        if self.early:
            self.run(len(self.work))

    def run(self, until: int) -> None:
        while self.done < until:
            self.done += 1
            self.work[self.done - 1]()

    def wait_event(self, event: Event) -> None:
        stream, place = event.stream, event.place  # as it stands now, whatever is recorded later
        if stream:
            self.queue(lambda: stream.run(place))


class Event:
    """A place in a stream."""

    def __init__(self, **_: Any) -> None:
        self.stream: Stream | None = None
        self.place = 0

    def record(self, stream: Stream) -> None:
        self.stream, self.place = stream, len(stream.work)

    def synchronize(self) -> None:
        if self.stream:
            self.stream.run(self.place)


class Memory(np.ndarray):
    """A device array: ``set`` copies when its stream comes to it."""

    def set(self, host: Any, stream: Stream) -> None:
        stream.queue(lambda: self.__setitem__(slice(None), host))


def late_cupy(early_copies: bool, early_compute: bool) -> Any:
    """What :class:`idekernels.backends.cuda.device._CupyStaging` uses of CuPy."""
    compute = Stream(early_compute)
    cuda = SimpleNamespace(
        Stream=lambda non_blocking: Stream(early_copies),
        Event=Event,
        get_current_stream=lambda: compute,
        alloc_pinned_memory=bytearray,
    )
    return SimpleNamespace(cuda=cuda, empty=lambda shape, kind: np.zeros(shape, kind).view(Memory))


@pytest.mark.parametrize("early_copies", [False, True])
@pytest.mark.parametrize("early_compute", [False, True])
def test_blocks_arrive_whole_however_late_the_streams_run(early_copies: bool, early_compute: bool) -> None:
    """Every block, of two passes through the same buffers, is there unharmed when the work queued behind it runs."""
    cupy = late_cupy(early_copies, early_compute)
    staging = devices._CupyStaging(cupy, (3, 2))
    blocks = [np.full((3 if number % 4 else 2, 2), number, np.uint8) for number in range(1, 10)]
    seen: list[Any] = []
    compute = cupy.cuda.get_current_stream()
    for block in blocks + blocks:
        arriving = staging.upload(block)
        compute.queue(lambda arriving=arriving: seen.append(np.array(arriving)))  # type: ignore[misc]
    compute.run(len(compute.work))
    for found, block in zip(seen, blocks + blocks, strict=True):
        np.testing.assert_array_equal(found, block)


@pytest.mark.parametrize("missing", ["synchronize", "wait_event"])
def test_the_stand_in_sees_a_missing_wait(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wait for the pinned memory, or for the device's, some order of the streams shows wrong blocks."""
    if missing == "wait_event":
        monkeypatch.setattr(Stream, "wait_event", lambda self, event: None)
    else:
        monkeypatch.setattr(Event, "synchronize", lambda self: None)
    with pytest.raises(AssertionError):
        for early in (False, True):
            test_blocks_arrive_whole_however_late_the_streams_run(early, False)


class Trial:
    """A device whose kernels run on the host, wrongly or not at all where told so."""

    broken: str | None = None

    def module(self, source: str, options: tuple[str, ...]) -> Any:
        if self.broken == "nvrtc":
            raise RuntimeError("NVRTC_ERROR_INVALID_OPTION")
        added = 3 if self.broken == "wrong" else 2
        return SimpleNamespace(launch=lambda name, grid, threads, given: given[0].__iadd__(added))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (None, None),
        ("nvrtc", "kernel add_two does not run there .RuntimeError: NVRTC_ERROR_INVALID_OPTION; numpy 2"),
        ("wrong", r"compute 1 \+ 2 = 4"),
    ],
)
def test_a_device_counts_once_a_kernel_has_run_there(
    monkeypatch: pytest.MonkeyPatch, broken: str | None, words: str | None
) -> None:
    monkeypatch.setattr(devices, "CupyDevice", Trial)
    monkeypatch.setattr(Trial, "broken", broken)
    told = devices._why_nothing_runs(np)
    assert told == words if words is None or told is None else re.search(words, told)


def test_in_the_child_of_a_process_that_used_a_device_spawn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str | None] = ["no driver"]
    for answer in ("no driver", None):
        found[0] = answer
        monkeypatch.setattr(devices, "_reason", functools.cache(lambda: found[0]))
        monkeypatch.setattr(devices, "_forked", [])
        devices._after_fork()
        assert devices.why_missing() == answer  # not looked at before the fork: the child may
        devices._after_fork()
        told = devices.why_missing()
        assert told == answer if answer else told is not None and "spawn" in told
