"""Matching of one photo by torch on any of its devices, by products and by shifts; the K distances of every node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.peers_match import Matching, _inside, _patch_sums

_AT_ONCE = 64  # nodes whose windows are multiplied at a time: half a gigabyte of float32 in the standard work


def by_products(work: Matching, device: str) -> Callable[[], Any]:
    """|p|^2 + |q|^2 - 2 p.q, batches of nodes, each window's patches cut out as it is used."""
    import torch

    bank = torch.from_numpy(work.bank.astype(np.float32)).to(device)
    query = torch.from_numpy(work.query.astype(np.float32)).to(device)
    size, side, anchors = (
        work.patch,
        2 * work.radius + 1,
        torch.from_numpy(work.grid.anchors.astype(np.int64)).to(device),
    )
    padded = torch.nn.functional.pad(bank, [work.radius] * 4)
    outside = torch.from_numpy(~_inside(work)).to(device).flatten(2).permute(2, 0, 1).flatten(1)
    views = padded.unfold(1, size, 1).unfold(2, size, 1)  # (images, rows, columns, P, P), no copy
    shifts = torch.cartesian_prod(*[torch.arange(side, device=device)] * 2)

    def some(first: int) -> Any:
        here = anchors[first : first + _AT_ONCE]
        places = here[:, None] + shifts
        patches = views[:, places[..., 0], places[..., 1]].flatten(3).permute(1, 2, 0, 3)
        mine = torch.stack([query[y : y + size, x : x + size].flatten() for y, x in here.tolist()])
        product = torch.matmul(patches.flatten(1, 2), mine[:, :, None])[..., 0]
        norms = patches.square().sum(-1).flatten(1)
        distance = norms - 2.0 * product + mine.square().sum(-1, keepdim=True)
        barred = outside[first : first + _AT_ONCE].repeat_interleave(len(work.bank), 1)
        return distance.masked_fill(barred, torch.inf).topk(work.k, largest=False).values

    def run() -> Any:
        with torch.inference_mode():  # integers below 2^24: exact in float32, unless TF32 rounds them
            torch.backends.cuda.matmul.allow_tf32 = False
            return torch.cat([some(first) for first in range(0, len(anchors), _AT_ONCE)]).to(torch.int64)

    return run


def by_shifts(work: Matching, device: str) -> Callable[[], Any]:
    """Squared differences of whole images, one shift after the other, summed to cells, cells to patches."""
    import torch

    bank = torch.from_numpy(work.bank.astype(np.float32)).to(device)
    bank = torch.nn.functional.pad(bank, [work.radius] * 4)
    query = torch.from_numpy(work.query.astype(np.float32)).to(device)
    outside = torch.from_numpy(~_inside(work)).to(device).flatten(2).permute(2, 0, 1)

    def run() -> Any:
        with torch.inference_mode():
            found = torch.empty(*outside.shape, len(bank), device=device)
            for y, x in np.ndindex(*outside.shape[1:]):
                apart = bank[:, y : y + query.shape[0], x : x + query.shape[1]] - query
                found[:, y, x] = _patch_sums(apart.square_(), work).flatten(1).T
            found[outside] = torch.inf
            return found.flatten(1).topk(work.k, largest=False).values.to(torch.int64)

    return run


PEERS: Mapping[str, Callable[[Matching, str], Callable[[], Any]]] = MappingProxyType(
    {"by products": by_products, "by shifts": by_shifts}
)
