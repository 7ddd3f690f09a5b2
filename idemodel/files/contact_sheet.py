"""Rows of faces under column titles as one picture, for people to look at; computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 8
TITLE = 26
PAPER, INK = (246, 245, 242), (60, 62, 70)


def contact_sheet(columns: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> NDArray[np.uint8]:
    """Lay out images of one size, a titled column each.

    Parameters
    ----------
    columns : sequence of (str, sequence of (H, W) or (H, W, 3) uint8)
        As many images in every column.

    Returns
    -------
    (h, w, 3) uint8

    Raises
    ------
    ValueError
        No images, columns of different lengths, or images of different sizes.
    """
    sizes = {image.shape[:2] for _, images in columns for image in images}
    rows = {len(images) for _, images in columns}
    if len(sizes) != 1 or len(rows) != 1:
        raise ValueError(f"a contact sheet needs as many images of one size in each column, not {rows}, {sizes}")
    height, width = sizes.pop()
    sheet = Image.new("RGB", (GAP + len(columns) * (width + GAP), TITLE + rows.pop() * (height + GAP)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for column, (title, images) in enumerate(columns):
        left = GAP + column * (width + GAP)
        draw.text((left + width / 2, TITLE / 2), title, fill=INK, font=font, anchor="mm")
        for row, image in enumerate(images):
            sheet.paste(Image.fromarray(image).convert("RGB"), (left, TITLE + row * (height + GAP)))
    return np.asarray(sheet)
