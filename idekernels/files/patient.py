"""A file for libhdf5 to write to, which reports a failed write later: told at once, libhdf5 crashes the process."""

from __future__ import annotations

import os


class PatientFile:
    """A file object that keeps the first write error, reports success to libhdf5, and drops what is written after it.

    Give it to ``h5py.File`` in place of a path; call :meth:`check` between steps and :meth:`close` at the end: both
    raise the error that was kept. When a write fails, libhdf5 leaves handles half open and crashes at closing them.
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
        """Write all of ``data``; on an error keep it, and return as if all were written."""
        left = memoryview(data)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length; on an error keep it, and return as if it were set."""
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
        """``size`` bytes, as :meth:`readinto` gives them."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset; the new position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position, in bytes from the beginning."""
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""
