"""Every kernel of stage 1 as a call without arguments, on the data that it would meet in a workload; times nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from idekernels.results import Candidates, Compatibility, PreparedBank
from idekernels.workloads import Workload

ALPHA = 0.5
ITERATIONS = 50


@dataclass(frozen=True)
class Field:
    """A workload on its way from photos to sketches; what a kernel needs is made once, when first asked for."""

    work: Workload
    backend: str = "auto"

    @cached_property
    def bank(self) -> PreparedBank:
        return ide.prepare(self.work.bank(), self.backend)

    @cached_property
    def query(self) -> NDArray[np.uint8]:
        return np.stack([self.bank.bank.query(photo) for photo in self.work.queries()])

    @cached_property
    def candidates(self) -> Candidates:
        return ide.match(self.query, self.bank, self.work.grid, k=self.work.k)

    @cached_property
    def patches(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return ide.gather(self.candidates, self.bank)

    @cached_property
    def grams(self) -> NDArray[np.float32]:
        return ide.evidence(self.query, self.patches[0], self.work.grid, backend=self.backend)

    @cached_property
    def gram(self) -> NDArray[np.float32]:
        weights = self.bank.module.upload(np.array(self.bank.bank.weights, np.float32))
        return (self.grams * weights[:, None, None]).sum(axis=2)

    @cached_property
    def tables(self) -> Compatibility:
        return ide.compatibility(self.patches[1], self.work.grid, backend=self.backend)

    @cached_property
    def unary(self) -> NDArray[np.float32]:
        return self.candidates.distance.astype(np.float32)

    @cached_property
    def pairwise(self) -> NDArray[np.float32]:
        return np.float32(ALPHA) * self.tables.disagreement

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        return self.weigh().weights

    @cached_property
    def composed(self) -> NDArray[np.float32]:
        return ide.compose(self.patches[1], self.weights, backend=self.backend)

    def weigh(self, method: str = "mwf") -> Any:
        return ide.weigh(self.gram, self.tables, self.work.grid, method=method, alpha=ALPHA, backend=self.backend)

    def propagate(self) -> Any:
        return ide.propagate(self.unary, self.pairwise, self.work.grid, iterations=ITERATIONS, backend=self.backend)

    def blend(self, how: str) -> Any:
        return ide.blend(self.composed, self.work.grid, how=how, backend=self.backend)


KERNELS: Mapping[str, Callable[[Field], Any]] = MappingProxyType(
    {
        "match": lambda field: ide.match(field.query, field.bank, field.work.grid, k=field.work.k),
        "gather": lambda field: ide.gather(field.candidates, field.bank),
        "evidence": lambda field: ide.evidence(field.query, field.patches[0], field.work.grid, backend=field.backend),
        "compatibility": lambda field: ide.compatibility(field.patches[1], field.work.grid, backend=field.backend),
        "weigh mwf": lambda field: field.weigh("mwf"),
        "weigh lle": lambda field: field.weigh("lle"),
        f"propagate, {ITERATIONS} iterations": lambda field: field.propagate(),
        "compose": lambda field: ide.compose(field.patches[1], field.weights, backend=field.backend),
        "blend feather": lambda field: field.blend("feather"),
        "blend average": lambda field: field.blend("average"),
        "blend cut": lambda field: field.blend("cut"),
    }
)
