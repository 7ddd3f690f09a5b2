"""What torch.cuda is asked for when work is recorded: on stand-ins, as no device is needed to look at the order."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from recorded import RecordedGraphs

from idemodel.generator.graphs import CudaGraphs, Repeated, RepeatedByShape, graphs_on


class Cuda:
    """torch.cuda's streams, events and graphs by name; every call is written down."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.streams = ["main"]  # the last one is the current one
        self.fails = False

    def stream(self, name: str) -> Any:
        said = self.said

        class Stream:
            def wait_stream(self, other: Any) -> None:
                said.append(f"{name} waits for {other}")

            def wait_event(self, event: Any) -> None:
                said.append(f"{name} waits for the last one")

            def __str__(self) -> str:
                return name

        return Stream()

    @contextlib.contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        before = list(self.streams)
        self.streams.append(str(stream))
        try:
            yield
        finally:
            self.streams[:] = before

    def graph(self, graph: Any, *, pool: Any, stream: Any, capture_error_mode: str) -> Any:
        cuda = self

        class Recording:
            def __enter__(self) -> None:
                cuda.said.append(f"recording into {pool}, {capture_error_mode}")
                cuda.streams.append(str(stream))

            def __exit__(self, *error: object) -> None:
                if cuda.fails:
                    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
                cuda.streams.pop()

        return Recording()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    stand_in = Cuda()

    class Event:
        def record(self, stream: Any) -> None:
            stand_in.said.append(f"{stream} has done the last one")

    class Graph:
        def replay(self) -> None:
            stand_in.said.append(f"replayed on {stand_in.streams[-1]}")

    for name, value in (
        ("Stream", lambda device: stand_in.stream("side")), ("Event", Event), ("graph_pool_handle", lambda: "pool"),
        ("current_stream", lambda device: stand_in.stream(stand_in.streams[-1])), ("stream", stand_in.on),
        ("graph", stand_in.graph), ("CUDAGraph", Graph),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    return stand_in


def test_first_calls_run_on_the_stream_that_is_recorded_later(cuda: Cuda) -> None:
    assert CudaGraphs("cuda").warmed(lambda: cuda.streams[-1]) == "side"
    assert cuda.said == ["side waits for main", "main waits for side"] and cuda.streams == ["main"]


def test_what_is_recorded_is_replayed_on_the_callers_stream(cuda: Cuda) -> None:
    replay, made = CudaGraphs("cuda").recorded(lambda: cuda.streams[-1])
    replay()
    assert made == "side" and cuda.said == ["recording into pool, thread_local", "replayed on main"]
    assert cuda.streams == ["main"]


def test_a_recording_that_fails_leaves_the_callers_stream(cuda: Cuda) -> None:
    cuda.fails = True
    with pytest.raises(RuntimeError, match="not permitted"):
        CudaGraphs("cuda").recorded(lambda: None)
    assert cuda.streams == ["main"]


def test_the_first_thing_that_went_wrong_is_told(cuda: Cuda) -> None:
    """torch ends a recording with an error of its own, which hides why."""
    told: list[str] = []
    graphs = CudaGraphs("cuda")
    graphs.device = torch.device("cpu")  # for the buffers
    calls = 0

    def reads_back(images: torch.Tensor) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 2:
            cuda.fails = True
            raise RuntimeError("a value was read back")
        return {"same": images}

    repeated = Repeated(reads_back, graphs, 1, told.append)
    assert all(torch.equal(repeated(one)["same"], one) for one in torch.rand(4, 2))
    assert told == ["the work on cpu cannot be recorded and is launched singly: a value was read back"]


def test_recorded_memory_is_used_by_one_after_another(cuda: Cuda) -> None:
    graphs = CudaGraphs("cuda")
    inside = threading.Event()
    order: list[str] = []

    def other() -> None:
        inside.wait()
        with graphs.alone():
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with graphs.alone():
        inside.set()
        thread.join(0.05)  # it must wait for us
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert cuda.said == ["main waits for the last one", "main has done the last one"] * 2


def test_torch_takes_what_a_recording_is_given() -> None:
    inspect.signature(torch.cuda.graph.__init__).bind(
        None, None, pool=None, stream=None, capture_error_mode="thread_local"
    )


def test_a_cpu_has_no_graphs() -> None:
    assert graphs_on("cpu") is None


def doubled(images: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"twice": images * 2}


def test_results_are_the_callers_and_inputs_are_copied() -> None:
    repeated = Repeated(doubled, RecordedGraphs(), 1, lambda text: None)
    given = [torch.full((2, 2), float(value)) for value in range(5)]
    made = [repeated(one)["twice"] for one in given]
    assert [one[0, 0].item() for one in made] == [0, 2, 4, 6, 8]
    assert [one[0, 0].item() for one in given] == [0, 1, 2, 3, 4]


def test_functions_and_shapes_are_recorded_by_themselves_and_the_last_ones_kept() -> None:
    graphs = RecordedGraphs()
    by_shape = RepeatedByShape(graphs, lambda text: None, most=2)
    for what, side in (("a", 2), ("a", 3), ("a", 2), ("b", 2), ("a", 2), ("a", 3)):
        assert by_shape(what, doubled, torch.ones(side))["twice"].tolist() == [2.0] * side
    assert graphs.said == ["warmed", "warmed", "recorded", "replayed", "warmed", "replayed", "warmed"]
    assert len(by_shape) == 2
