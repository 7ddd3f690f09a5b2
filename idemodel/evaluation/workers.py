"""Work spread over threads so that no result depends on their number: order kept, one torch thread in each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from idemodel.generator.threads import torch_threads_kept

Progress = Callable[[int, int], None]  # done, of all
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int, progress: Progress | None = None
) -> list[_Result]:
    """Map over threads; results in the items' order; an error or an interruption drops what has not begun.

    ``progress`` is called with (done, all) after each item. If torch is loaded, it uses one thread in each worker,
    so that its sums are taken in one order; the caller gets its number of threads back afterwards.
    """
    with torch_threads_kept():
        pool = ThreadPoolExecutor(max_workers=max(1, workers), initializer=_single_threaded_torch)
        results: list[_Result] = []
        try:
            for result in pool.map(function, items):
                results.append(result)
                if progress is not None:
                    progress(len(results), len(items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return results


def _single_threaded_torch() -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
