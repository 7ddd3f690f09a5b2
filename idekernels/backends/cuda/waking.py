"""The driver started early: it makes its context in a thread of its own while CuPy is imported; uses no device.

Both take a quarter of a second or more (docs/GPU.md, "The first sketch of a process"), the one in the driver without
Python's lock, the other in Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator

_LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"


@contextlib.contextmanager
def driver_started() -> Iterator[None]:
    """Within it the driver starts, where CuPy is there and not yet imported; it is left once the driver has."""
    if "cupy" in sys.modules or importlib.util.find_spec("cupy") is None:
        yield
        return
    thread = threading.Thread(target=_start, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _start() -> None:
    """Make the context of the first device that CUDA's runtime takes as well; who asks later is told what fails."""
    with contextlib.suppress(OSError, AttributeError):  # no driver, or none that knows this
        driver = ctypes.CDLL(_LIBRARY)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        _ = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(device), 0)
            or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        )
