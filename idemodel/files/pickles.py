"""Checks of a ``.pth`` file before torch reads it: tensors in plain containers alone, no larger than the file."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile

from idemodel.files.warned import warnings_ignored

_ZIP = b"PK\x03\x04"
_OLD_PICKLES = 5  # of torch.save before 1.6: a number, a version, the system, the content, the storages' keys
_NAMED = re.compile(
    r"collections OrderedDict"
    r"|torch Size"
    r"|torch\._utils (_rebuild_tensor_v3|_rebuild_tensor_v2|_rebuild_tensor|_rebuild_parameter)"
    r"|torch b?float[0-9][a-z0-9_]*|torch\.storage UntypedStorage"
    r"|torch(\.cuda)? [A-Za-z0-9]+Storage"
)


def check_pickles(content: bytes) -> None:
    """Refuse pickles that ``torch.load(weights_only=True)`` accepts, but no mapping of names to tensors needs.

    Such as ``bytearray(10**12)``, which fills the memory, or a small archive that unpacks to a large one.

    Raises
    ------
    ValueError, zipfile.BadZipFile
        A file of another kind, with compressed or overlapping members, or pickles that call anything else.
    """
    with warnings_ignored():  # noise in place of a pickle may hold escapes that Python warns about
        _check_all(content)


def _check_all(content: bytes) -> None:
    if not content.startswith(_ZIP):
        stream = io.BytesIO(content)
        for _ in range(_OLD_PICKLES):
            _check(stream)
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("compressed members, which torch never writes")
        if sum(member.file_size for member in members) > len(content):
            raise ValueError("members that overlap")
        for member in members:
            if member.filename.endswith(".pkl"):
                _check(io.BytesIO(archive.read(member)))


def _check(stream: io.BytesIO) -> None:
    """One pickle, read to its end but not executed."""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL" and not _NAMED.fullmatch(str(argument)):
            raise ValueError(f"calls {argument}")
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            raise ValueError(f"holds {opcode.name}")
