"""What a backend must have: every kernel with its shapes and dtypes, as one typed Protocol; implements none of it.

Symbols: B photos, N nodes and E edges of a :class:`~idekernels.grid.PatchGrid`, K candidates, L source planes, C target
channels, P = patch, H and W the image's rows and columns. Arrays are C-contiguous and lie where :meth:`Backend.upload`
puts them: NumPy's on the host, CuPy's on a CUDA device. Arguments have been checked by :mod:`idekernels.operations`,
which also states every formula, bound and tie rule.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from idekernels.bank import PatchBank
from idekernels.grid import PatchGrid

Array = Any  # numpy.ndarray, or cupy.ndarray on a device


class Backend(Protocol):
    """The functions of a backend; each is the twin of the one of that name in :mod:`idekernels.backends.reference`."""

    @property
    def name(self) -> str:
        """As ``--backend`` takes it."""
        ...

    def why_missing(self) -> str | None:
        """Why it cannot run on this machine, with the remedy; None if it can."""
        ...

    def prepare(self, bank: PatchBank, memory: int | None) -> Any:
        """A handle of the bank for ``match`` and ``gather``, that takes ``memory`` bytes at most (None: any)."""
        ...

    def select(self, prepared: Any, images: Array) -> Any:
        """A handle for ``match`` of some of a prepared bank's images: its image i is image ``images[i]`` of the bank.

        images : (n,) int64 NumPy array, ascending, each once. What was read for the bank's own handle is used.
        """
        ...

    def elect(self, voters: Array, standing: Array, count: int) -> Array:
        """Give seats to faces that regions name, one after the other, by proportional approval voting.

        voters : (regions, m) int64, the faces that each names, each once. standing : (n,) bool, who may be elected, at
        least ``count``. Each seat goes to the face with the greatest sum over the regions that name it of WHOLE //
        (1 + c), c being the seats that faces named by the region have; of equal ones to the first. All are NumPy's
        arrays. Returns the faces, (count,) int64, ascending.
        """
        ...

    def upload(self, array: Array) -> Array:
        """The array where this backend computes: itself if it is there, else a copy."""
        ...

    def free_memory(self) -> int | None:
        """Bytes that are free on the device; None for the host's memory, which is the system's to give."""
        ...

    def side_by_side(self, prepared: Any) -> int:
        """How many calls are best made at the same time, by as many threads of Python; 1 where one takes all there is.

        What the calls would each read of the bank is read first.
        """
        ...

    def take_share(self, calls: int) -> None:
        """Have kernels that this thread calls leave room for those of others, where so many calls are made at once."""
        ...

    def match(
        self, query: Array, prepared: Any, grid: PatchGrid, radius: int, k: int, exclude: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Find the K nearest patches of every node.

        query : (B, L, H, W) uint8. prepared : the bank's handle. exclude : (B, X) int64 NumPy array of image ids, -1
        for none. Returns image, row and column, each (B, N, K) int32, and distance (B, N, K) uint32, ascending. Where a
        node has fewer places than K its list ends with image, row and column -1 and distance 2^32 - 1.
        """
        ...

    def gather(self, places: tuple[Array, Array, Array], prepared: Any, patch: int) -> tuple[Array, Array]:
        """Cut candidates' patches out of the bank.

        places : image, row and column, each (B, N, K) int32, all within the bank. Returns source (B, N, K, L, P, P) and
        target (B, N, K, C, P, P), uint8.
        """
        ...

    def evidence(self, query: Array, sources: Array, grid: PatchGrid, weights: tuple[int, ...]) -> Array:
        """Gram matrices of residuals, each plane's times its weight, (B, N, L, K, K) float32.

        query : (B, L, H, W) uint8. sources : (B, N, K, L, P, P) uint8. weights : of the L planes; products are rounded
        after the sums.
        """
        ...

    def gram(self, grams: Array) -> Array:
        """The planes' sum, added in their order, (B, N, K, K) float32; of one plane its own memory.

        grams : (B, N, L, K, K) float32.
        """
        ...

    def compatibility(self, targets: Array, grid: PatchGrid) -> tuple[Array, Array, Array]:
        """Overlap tables S_ij, S_ji and C_ij, each (B, E, K, K) float32.

        targets : (B, N, K, C, P, P) uint8.
        """
        ...

    def weigh(
        self,
        gram: Array,
        tables: tuple[Array, Array, Array],
        grid: PatchGrid,
        alpha: float,
        ridge: float,
        start: Array,
        least: float,
        sweeps: int,
    ) -> tuple[Array, Array, Array, Array]:
        """Settle the Markov weight field of every photo, each by itself.

        gram : (B, N, K, K) float32 or float64, centred in its own precision. tables : (B, E, K, K) float32, three.
        ridge : what is added to the diagonal of every gram, the setting times P^2. start : float64 on the simplex, not
        written to: (B, N, K), or a NumPy array (K,) that every node starts with. least : the smallest movement of
        weight that counts. sweeps : at most; 0 leaves the start as it is. Returns weights (B, N, K) float32 or float64,
        those of a photo that was swept divided by their sum; objective (B,) float64 with the ridge; Frank-Wolfe gap
        (B,) float64; and the sweeps of every photo, (B,) int32, the last one, that moved nothing, included. A photo's
        four are, bit for bit, the same in any batch.
        """
        ...

    def propagate(
        self, unary: Array, pairwise: Array, grid: PatchGrid, iterations: int, damping: float, temperature: float
    ) -> tuple[Array, Array, Array]:
        """Pass messages over the grid.

        unary : (B, N, K) float32. pairwise : (B, E, K, K) float32. Returns labels (B, N) int32 of the least energy
        seen, that energy (B,) float64, and the last beliefs (B, N, K) float32.
        """
        ...

    def label(
        self,
        distance: Array,
        tables: tuple[Array, Array, Array],
        alpha: float,
        grid: PatchGrid,
        iterations: int,
        damping: float,
        temperature: float,
    ) -> tuple[Array, Array, Array]:
        """Choose candidates by belief propagation: the unary costs are distances, the pairwise ones alpha times D.

        distance : (B, N, K) uint32. tables : (B, E, K, K) float32, own, other and cross, of which D is the disagreement
        (:class:`idekernels.results.Compatibility`). Returns labels (B, N) int32 and energy (B,) float64 as
        :meth:`propagate`, and the candidates' weights (B, N, K) float32 (:func:`idekernels.labels.weights_of`).
        """
        ...

    def compose(self, targets: Array, weights: Array) -> Array:
        """Mix candidates to one patch a node, (B, N, C, P, P) float32.

        targets : (B, N, K, C, P, P) uint8. weights : (B, N, K) float32.
        """
        ...

    def blend(self, patches: Array, grid: PatchGrid, window: Array) -> Array:
        """Weighted mean of overlapping patches, (B, C, H, W) float32.

        patches : (B, N, C, P, P) float32. window : (P, P) float64 NumPy array, positive.
        """
        ...

    def cut(self, patches: Array, grid: PatchGrid) -> Array:
        """Quilt of patches along minimum-error boundaries, (B, C, H, W) float32.

        patches : (B, N, C, P, P) float32.
        """
        ...

    def levels(self, patches: Array, grid: PatchGrid, window: Array | None) -> Array:
        """Pictures of patches in grey levels, as shares of 255 clipped to [0, 1]: (B, C, H, W) float32.

        patches : (B, N, C, P, P) float32. window : as ``blend`` takes it; None: as ``cut``.
        """
        ...

    def rounded(self, levels: Array) -> Array:
        """Images of pictures: levels times 255 as NumPy's uint8, (B, H, W) where C is 1, else (B, H, W, C).

        levels : (B, C, H, W) float32 in [0, 1], where this backend computes. Halves go to even.
        """
        ...


class Named:
    """How a backend shows itself: by its name; and how it is pickled and copied: as the ``BACKEND`` of its module.

    So there is one object a backend and process, and a result can be sent to another process with its backend. Nothing
    is gained by several calls at the same time, unless a backend says otherwise.
    """

    name: ClassVar[str]

    def side_by_side(self, prepared: Any) -> int:
        """One call at a time."""
        return 1

    def take_share(self, calls: int) -> None:
        """It has no threads."""

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    def __reduce__(self) -> str:
        return "BACKEND"
