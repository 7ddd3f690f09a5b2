"""A file for libhdf5 to write to: libhdf5 crashes the process when a write fails, so here none seems to fail."""

from __future__ import annotations

import os


class PatientFile:
    """A file object that keeps the first error of the system and drops what is written after it.

    Give it to ``h5py.File`` in place of a path; call :meth:`check` between steps and :meth:`close` at the end: both
    raise the error that was kept. libhdf5 itself leaves its handles half open when a disk is full, and dies later.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: PTH123, SIM115 - closed by close()
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the OSError that a write met, if one did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file; raises as :meth:`check` does."""
        self._file.close()
        self.check()

    def write(self, data: bytes) -> int:
        """Write all of ``data``, or keep the error and seem to."""
        left = memoryview(data)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length, or keep the error and seem to."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def readinto(self, buffer: bytearray) -> int:
        """Fill all of ``buffer``, with zeros where nothing was written."""
        view = memoryview(buffer).cast("B")
        count = self._file.readinto(view) or 0
        view[count:] = bytes(len(view) - count)
        return len(view)

    def read(self, size: int) -> bytes:
        """As :meth:`readinto`."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is kept back: the file is unbuffered."""
