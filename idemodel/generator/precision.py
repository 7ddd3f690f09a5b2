"""How exactly a CUDA device multiplies float32: strictly or by tf32; the one place that turns torch's switches.

torch lets cuDNN take tf32 (10 bits of 23) unless it is told otherwise, so that strict float32 has to be asked for.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


@contextlib.contextmanager
def float32_products(device: str | torch.device, tf32: bool = False) -> Iterator[None]:
    """Products and convolutions of float32 by tf32, or strictly, where this is a CUDA device; as before at the end.

    The switches are torch's and hold for the whole process: other threads compute alike meanwhile. A CPU knows no tf32,
    and nothing is switched for it.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    before = _Switches.now()
    _Switches.of(tf32).turn()
    try:
        yield
    finally:
        before.turn()


@dataclass(frozen=True)
class _Switches:
    """torch's switches: those of every version, and the words that replace them from 2.9 on (where there are such).

    ``matmul`` and ``cudnn`` are None where somebody turned the new ones alone, and torch no longer tells the old.
    """

    matmul: bool | None
    cudnn: bool | None
    words: tuple[str, ...]

    @classmethod
    def of(cls, tf32: bool) -> _Switches:
        """All of them alike."""
        return cls(tf32, tf32, ("tf32" if tf32 else "ieee",) * len(_places()))

    @classmethod
    def now(cls) -> _Switches:
        """As they stand."""
        backends = torch.backends
        matmul = _read(lambda: backends.cuda.matmul.allow_tf32)
        return cls(matmul, _read(lambda: backends.cudnn.allow_tf32), tuple(one.fp32_precision for one in _places()))

    def turn(self) -> None:
        """Set them; the old ones first, which set the new ones too, but not to every word."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch 2.9 to 2.12 advise against the old ones, which 2.4 to 2.8 have alone
            if self.matmul is not None:
                torch.backends.cuda.matmul.allow_tf32 = self.matmul
            if self.cudnn is not None:
                torch.backends.cudnn.allow_tf32 = self.cudnn
            for place, word in zip(_places(), self.words, strict=True):
                place.fp32_precision = word


def _places() -> list[Any]:
    """Where torch 2.9 and later keep a word for each kind of product; none in older ones."""
    cudnn: Any = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):
        return []
    return [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn]


def _read(switch: Callable[[], bool]) -> bool | None:
    try:
        return bool(switch())
    except RuntimeError:  # the words say things that this one cannot
        return None
