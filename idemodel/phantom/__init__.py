"""Owns the public names of phantom faces (drawn photos and sketches, no data set); draws nothing itself."""

from __future__ import annotations

from .pairs import PhantomPair, phantom_pairs

__all__ = ["PhantomPair", "phantom_pairs"]
