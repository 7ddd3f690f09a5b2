"""A function of tensors recorded once on a CUDA device and replayed: what graphs and static buffers need, and no more.

Launching is what bounds small networks: a step of ``compact`` is thousands of launches, its graph is one. A graph does
again what was done while it was recorded, on the same memory: values of Python that the function used are fixed, and
what may change from call to call has to lie in tensors.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from idekernels.errors import in_short

Made = TypeVar("Made")
Function = Callable[..., Mapping[str, Tensor]]
Recording = tuple[Callable[[], None], Mapping[str, Tensor]]  # what replays it, and where its results lie


class Graphs(Protocol):
    """What records device work; :class:`CudaGraphs`, and in tests a stand-in on the CPU."""

    device: torch.device

    def alone(self) -> AbstractContextManager[None]:
        """Around everything that touches recorded memory: one after another, whatever thread or stream it is from."""

    def warmed(self, call: Callable[[], Made]) -> Made:
        """Call, for its result and so that libraries and memory are ready to be recorded."""

    def recorded(self, call: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """Record a call, which is not carried out: what replays it, and its result, filled by every replay.

        Raises
        ------
        RuntimeError
            It does what cannot be recorded, such as waiting for the device, or no memory is left.
        """


class CudaGraphs:
    """CUDA graphs on one device that share their memory: results of one are lost when another is replayed."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self._stream = torch.cuda.Stream(self.device)
        self._last = torch.cuda.Event()
        self._pool = torch.cuda.graph_pool_handle()
        self._first: torch.cuda.CUDAGraph | None = None  # kept, as a pool that lost its last graph is refused
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """As :class:`Graphs` has it: threads by a lock, their streams by an event."""
        with self._lock:
            here = torch.cuda.current_stream(self.device)
            here.wait_event(self._last)
            try:
                yield
            finally:
                self._last.record(here)

    def warmed(self, call: Callable[[], Made]) -> Made:
        """As :class:`Graphs` has it, on the stream that is recorded later."""
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            made = call()
        here.wait_stream(self._stream)
        return made

    def recorded(self, call: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """As :class:`Graphs` has it; what other threads ask of the device does not disturb it."""
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        here = torch.cuda.stream(torch.cuda.current_stream(self.device))
        with here, recording:  # a recording that fails leaves its own stream behind, the outer one takes it away
            made = call()
        self._first = self._first or graph
        return graph.replay, made


def graphs_on(device: str | torch.device) -> CudaGraphs | None:
    """What records on a device; None where there are no graphs, on a CPU."""
    return CudaGraphs(device) if torch.device(device).type == "cuda" else None


class Repeated:
    """A function of tensors of one shape each: called plainly at first, then recorded, and replayed from then on.

    Parameters
    ----------
    function : callable
        (\\*tensors on the device) -> mapping of names to tensors.
    graphs : Graphs
    warm : int
        Plain calls before it is recorded, at least 1.
    told : callable
        Is given one line where it cannot be recorded; then every call is a plain one.
    """

    def __init__(self, function: Function, graphs: Graphs, warm: int, told: Callable[[str], None]) -> None:
        self._function, self._graphs, self._left, self._told = function, graphs, warm, told
        self._buffers: list[Tensor] = []
        self._recording: Recording | None = None
        self._plain = False

    def __call__(self, *given: Tensor) -> Mapping[str, Tensor]:
        """The function's result for tensors of the shapes and dtypes of the first call, on any device; the caller's."""
        if self._plain:
            return self._called(given)
        with self._graphs.alone():
            if self._left:
                self._left -= 1
                return self._graphs.warmed(lambda: self._called(given))
            if self._recording is None:
                self._recording = self._record(given)
            if self._recording is not None:
                return self._replayed(self._recording, given)
        return self._called(given)

    def _called(self, given: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        return self._function(*(one.to(self._graphs.device) for one in given))

    def _record(self, given: tuple[Tensor, ...]) -> Recording | None:
        self._buffers = [torch.zeros(one.shape, dtype=one.dtype, device=self._graphs.device) for one in given]
        try:
            return self._graphs.recorded(lambda: self._function(*self._buffers))
        except RuntimeError as error:
            self._plain, self._buffers = True, []
            why = in_short(error.__context__ or error)  # torch's own, at the end of a recording, hides what came before
            self._told(f"the work on {self._graphs.device} cannot be recorded and is launched singly: {why}")
            return None

    def _replayed(self, recording: Recording, given: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        replay, made = recording
        for buffer, one in zip(self._buffers, given, strict=True):
            buffer.copy_(one)
        replay()
        return {name: value.clone() for name, value in made.items()}


class RepeatedByShape:
    """Functions of tensors, each recorded for the shapes that come again; those that were used last are kept.

    Parameters
    ----------
    graphs : Graphs
    told : callable
        As in :class:`Repeated`.
    most : int
        Shapes that are kept.
    """

    def __init__(self, graphs: Graphs, told: Callable[[str], None], most: int = 8) -> None:
        self._graphs, self._told, self._most = graphs, told, most
        self._kept: OrderedDict[Hashable, Repeated] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, what: Hashable, function: Function, *given: Tensor) -> Mapping[str, Tensor]:
        """The function's result; ``what`` names the function, and with the shapes what is recorded."""
        key = (what, *((one.shape, one.dtype) for one in given))
        with self._lock:
            repeated = self._kept.pop(key, None) or Repeated(function, self._graphs, 1, self._told)
            self._kept[key] = repeated
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return repeated(*given)

    def __len__(self) -> int:
        return len(self._kept)
