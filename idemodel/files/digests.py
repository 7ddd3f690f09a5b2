"""SHA-256 of pixels and of banks, by which a run knows its data again, and a model its intra-domain bank."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PatchBank


def digest_of(head: bytes, *arrays: NDArray[np.uint8]) -> str:
    """SHA-256 of some bytes and of arrays of any shape, in C order, as 64 hexadecimal digits."""
    digest = hashlib.sha256(head)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def bank_digest(bank: PatchBank) -> str:
    """SHA-256 of everything in a bank that a coarse sketch depends on, as 64 hexadecimal digits.

    That is settings, names, size and planes. The direction has no part of its own: it only says which planes are the
    source's, so banks of before there were two directions keep their digest.
    """
    settings = {name: value for name, value in bank.settings.as_dict().items() if name != "direction"}
    head = json.dumps([settings, list(bank.names), bank.height, bank.width], sort_keys=True)
    planes = (side(i, i + 1) for i in range(bank.images) for side in (bank.source, bank.target))
    return digest_of(head.encode(), *planes)
