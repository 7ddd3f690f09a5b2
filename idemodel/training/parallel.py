"""The processes of one run, as ``torchrun`` starts them: ranks, averages over them, and waiting for each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from idekernels.errors import InputError


@dataclass(frozen=True)
class Group:
    """This process among those of the run; the first one (rank 0) writes files and tells the user.

    ``rank`` counts from 0, ``size`` is the number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and tells the user."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """Which of a step's ``size * batch`` crops this process takes."""
        return slice(self.rank * batch, (self.rank + 1) * batch)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes, in one message."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def average(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Means over the processes of scalar tensors, by name, taken in float32."""
        together = torch.stack([value.float() for value in values.values()])
        if self.size > 1:
            distributed.all_reduce(together)
            together /= self.size
        return dict(zip(values, together.tolist(), strict=True))

    def any(self, here: bool) -> bool:
        """Whether ``here`` is true in any process."""
        if self.size == 1:
            return here
        where = "cuda" if distributed.get_backend() == "nccl" else "cpu"  # NCCL takes nothing of the host's
        flag = torch.tensor([float(here)], device=where)
        distributed.all_reduce(flag)
        return bool(flag.item())

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            distributed.barrier()


@contextlib.contextmanager
def joined_group(device: str) -> Iterator[Group]:
    """The group that ``torchrun``'s environment names, left at the end; a single process without one.

    Messages go by gloo on the CPU, by NCCL between GPUs.

    Raises
    ------
    InputError
        The environment is incomplete, or the processes cannot meet.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    try:
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the processes of torchrun cannot meet: {error}") from None
    try:
        yield Group(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
