"""The files that a worker opens itself, bank and model: their paths, and the digests by which they are the client's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from idekernels.bank import JoinedBank, PatchBank
from idekernels.bank.file import FileBank, open_bank
from idekernels.errors import InputError
from idemodel.files.journal import file_digest

_ABSENT = "is not there; mount its folder on that machine under the same path, or copy the file there"


@dataclass(frozen=True)
class BankFiles:
    """A bank as a worker is told of it: its files' absolute paths, in order, and the digest of each one's content.

    What is sent holds no pixels. :meth:`open` refuses files of another content.
    """

    paths: tuple[str, ...]
    digests: tuple[str, ...]

    @classmethod
    def of(cls, bank: PatchBank) -> BankFiles:
        """Of an open bank.

        Raises
        ------
        InputError
            It, or a part of it, is in memory.
        """
        parts = bank.banks if isinstance(bank, JoinedBank) else (bank,)
        files = [part for part in parts if isinstance(part, FileBank)]
        if len(files) < len(parts):
            raise InputError("a cluster takes banks that are files; write this one with write_bank and open that")
        return cls(tuple(os.path.abspath(file.path) for file in files), tuple(file.digest for file in files))  # noqa: PTH100

    @property
    def shards(self) -> tuple[BankFiles, ...]:
        """Each file alone."""
        return tuple(BankFiles((path,), (digest,)) for path, digest in zip(self.paths, self.digests, strict=True))

    def open(self) -> PatchBank:
        """Open the files as one bank.

        Raises
        ------
        BankError, InputError
            A file is not there, damaged, or has another content than the client's.
        """
        for path in self.paths:
            if not Path(path).exists():
                raise InputError(f"{path}: {_ABSENT}")
        bank = open_bank(*self.paths)
        found = BankFiles.of(bank).digests
        for path, mine, theirs in zip(self.paths, found, self.digests, strict=True):
            if mine != theirs:
                bank.close()
                raise InputError(f"{path}: is another bank there ({mine[:12]}, not {theirs[:12]}); copy this one there")
        return bank


@dataclass(frozen=True)
class ModelFile:
    """A model as a worker is told of it: its absolute path and the SHA-256 of the file."""

    path: str
    digest: str

    @classmethod
    def of(cls, file: Path) -> ModelFile:
        """Of a file that can be read."""
        return cls(os.path.abspath(file), file_digest(file))  # noqa: PTH100

    def checked(self) -> Path:
        """The path; InputError where no file, or another, is there."""
        file = Path(self.path)
        if not file.is_file():
            raise InputError(f"{file}: {_ABSENT}")
        if file_digest(file) != self.digest:
            raise InputError(f"{file}: is another model there than here; copy this one there")
        return file
