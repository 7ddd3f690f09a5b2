"""A stand-in for CUDA graphs on the CPU: it records torch's operations and does them again on the same memory.

As a graph would, it fixes every value of Python that an operation was given, and refuses what cannot be recorded: a
value read back by the host, and a tensor made of the host's numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

Made = TypeVar("Made")
REFUSED = ("aten::_local_scalar_dense", "aten::lift_fresh", "aten::equal", "aten::nonzero")
UNTOLD = ("aten::native_batch_norm",)  # changes its running means, which its schema does not say


class RecordedGraphs:
    """As :class:`idemodel.generator.graphs.Graphs` has it; ``full`` is whether no memory is left for a graph."""

    def __init__(self, full: bool = False) -> None:
        self.device = torch.device("cpu")
        self.full = full
        self.said: list[str] = []  # what was asked, in order

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        yield

    def warmed(self, call: Callable[[], Made]) -> Made:
        self.said.append("warmed")
        return call()

    def recorded(self, call: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        self.said.append("recorded")
        if self.full:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20.00 GiB")
        with _Tape() as tape:
            made = call()
        tape.undo()

        def replay() -> None:
            self.said.append("replayed")
            tape.replay()

        return replay, made


class _Tape(TorchDispatchMode):
    """The operations of a call, with the tensors that they were given and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # values of tensors that were changed in place

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        if name in REFUSED:
            raise RuntimeError(f"{name}: not permitted while a stream is recorded")
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        if function._schema.is_mutable or name in UNTOLD:
            for one in given:
                self.before.setdefault(id(one), (one, one.clone()))
        made = function(*args, **kwargs)
        memory = {one.untyped_storage().data_ptr() for one in given}
        fresh = [one for one in _tensors(made) if one.untyped_storage().data_ptr() not in memory]
        self.calls.append((function, args, kwargs, fresh))
        return made

    @torch.no_grad()
    def undo(self) -> None:
        """Recording carries nothing out: what was there before has its values again, in the order of its changes."""
        for one, value in reversed(self.before.values()):
            one.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        """Do the operations again, new results into the memory of the old ones."""
        for function, args, kwargs, fresh in self.calls:
            made = function(*args, **kwargs)
            memory = {one.untyped_storage().data_ptr() for one in _tensors((args, kwargs))}
            again = [one for one in _tensors(made) if one.untyped_storage().data_ptr() not in memory]
            for old, new in zip(fresh, again, strict=True):
                old.copy_(new)


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_flatten(values)[0] if isinstance(one, Tensor)]
