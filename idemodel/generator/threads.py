"""torch's number of threads, kept as the user set it; loads no torch, so that programs without networks can use it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Give torch back its number of threads at the end; nothing is done where torch is not loaded at the beginning.

    Around everything that changes the number: stage 1, whose Numba threads share OpenMP's library with torch and reset
    torch's threads to the number of cores with the first kernel, and code that sets it. Results of torch depend on the
    number in their last digits.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
