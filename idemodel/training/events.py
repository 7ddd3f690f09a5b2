"""TensorBoard events of a run: losses, scores and sample sheets; nothing where the extra is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Events:
    """A TensorBoard event file in ``folder``; without the package tensorboard every method does nothing.

    ``first_step``: events of an older file from this step on are hidden, as a resumed run writes them again.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self._writer = _writer(folder, first_step)

    @property
    def written(self) -> bool:
        """Whether TensorBoard is there (extra ``tensorboard``)."""
        return self._writer is not None

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add named numbers at a step."""
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """Add a picture, (H, W) or (H, W, 3) uint8, at a step."""
        if self._writer:
            self._writer.add_image(name, image, step, dataformats="HW" if image.ndim == 2 else "HWC")

    def close(self) -> None:
        """Write what is waiting."""
        if self._writer:
            self._writer.close()


def _writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step or None)
