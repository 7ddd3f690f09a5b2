"""Where a portrait's background is, as a soft mask, from a prior of place and the photo's own colours; no network.

A random walker with a prior (Grady, *Multilabel random walker image segmentation using prior models*, CVPR 2005): the
mask x minimises  sum_edges w_ij (x_i - x_j)^2 + lambda sum_i (x_i - p_i)^2,  w_ij = exp(-beta |c_i - c_j|^2)
+ 0.001, one sparse linear system. p is the probability of background by place and colour histogram (Bayes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]

_ROWS = 125  # the mask is solved at no more rows than this
_BINS = 12  # of the colour histograms, a channel
# An edge weighs w_ij = exp(-_BETA |c_i - c_j|^2) + 0.001, channels in [0, 1]: the first term is 1/e at a step of 0.05,
# the second keeps every pixel connected to its neighbours.
_BETA = 400.0
_PRIOR = 0.01  # lambda, the weight of the prior p_i against the edges
_UNSEEN = 0.02 / _BINS**1.5  # added to both likelihoods; a colour in neither histogram leaves the prior of place
_SURE = 0.85  # prior of place above which a pixel counts for the background's histogram; below 1 - _SURE: the person's


def background_mask(photo: NDArray[np.uint8], prior: Grid) -> Grid:
    """The share of background in every pixel.

    Parameters
    ----------
    photo : (H, W) or (H, W, 3) uint8
    prior : (H, W) float64 in [0, 1]
        How likely a pixel of this place is background, before the photo is looked at.

    Returns
    -------
    (H, W) float64 in [0, 1]; what is not connected with the person's largest part is background.
    """
    height, width = photo.shape[:2]
    size = (min(height, _ROWS), max(1, round(width * min(height, _ROWS) / height)))
    colour = _resized(_stretched(photo), size)
    place = np.clip(_resized(prior, size), 0.02, 0.98)
    belief = _belief(colour.reshape(-1, 3), place.ravel())
    solved = _walk(colour, belief).reshape(size)
    return np.clip(_resized(_one_piece(solved), (height, width)), 0.0, 1.0)


def _stretched(photo: NDArray[np.uint8]) -> Grid:
    """Channels in [0, 1], 1st to 99th percentile: a dark photo's colours are told apart as well."""
    colour = np.repeat(photo[..., None], 3, axis=2) if photo.ndim == 2 else photo
    low, high = np.percentile(colour, (1, 99), axis=(0, 1))
    return np.clip((colour - low) / np.maximum(high - low, 1.0), 0.0, 1.0)


def _resized(image: Grid, size: tuple[int, int]) -> Grid:
    from skimage.transform import resize

    shrinks = size[0] < image.shape[0]
    return np.asarray(resize(image, size + image.shape[2:], order=1, mode="edge", anti_aliasing=shrinks), np.float64)


def _belief(colour: Grid, place: Grid) -> Grid:
    """P(background | place, colour) of n pixels; ``colour`` (n, 3), ``place`` (n,)."""
    outside = place * (_likelihood(colour, np.where(place > _SURE, place, 0.0)) + _UNSEEN)
    inside = (1.0 - place) * (_likelihood(colour, np.where(place < 1.0 - _SURE, 1.0 - place, 0.0)) + _UNSEEN)
    return outside / (outside + inside)


def _likelihood(colour: Grid, weight: Grid) -> Grid:
    """The weighted, smoothed colour histogram at every pixel's own colour; 0 where no pixel has weight."""
    from scipy.ndimage import gaussian_filter

    cells = tuple(np.minimum((colour * _BINS).astype(np.intp), _BINS - 1).T)
    histogram = np.zeros((_BINS,) * 3)
    np.add.at(histogram, cells, weight)
    return np.asarray(gaussian_filter(histogram, 0.7)[cells] / max(weight.sum(), 1e-9))


def _walk(colour: Grid, belief: Grid) -> Grid:
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    number = np.arange(belief.size).reshape(colour.shape[:2])
    first = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    second = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    flat = colour.reshape(-1, 3)
    weight = np.exp(-_BETA * ((flat[first] - flat[second]) ** 2).sum(axis=1)) + 1e-3
    ends = (np.concatenate([first, second]), np.concatenate([second, first]))
    links: Any = sparse.coo_matrix((np.tile(weight, 2), ends), shape=(belief.size,) * 2).tocsc()
    own = np.asarray(links.sum(axis=1)).ravel() + _PRIOR
    system = sparse.diags(own, format="csc") - links
    # minimum degree of A + A^T is the order for a symmetric matrix: two thirds of the time of the default's
    return np.asarray(spsolve(system, _PRIOR * belief, permc_spec="MMD_AT_PLUS_A"))


def _one_piece(mask: Grid) -> Grid:
    """Turn specks of "person" that float in the background into background."""
    from scipy.ndimage import label

    parts, count = label(mask < 0.5)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.where((parts > 0) & (parts != sizes.argmax()), 1.0, mask)
