"""Weights that come with the package: one generator, trained on drawn (phantom) faces alone, so free of any rights.

Made by these commands (the last but one takes about a quarter of an hour on one core)::

    idesketch data phantom phantom --pairs 400 --seed 11
    idesketch bank build phantom phantom.h5 --plane intensity=2 --plane dog=2 --plane gradient=2 --plane lbp=1
    idesketch data phantom varied --pairs 260 --seed 11 --start 400 --varied 1
    idesketch train varied phantom.h5 -o run --recipe idemodel/generator/weights/phantom.toml --device cpu
    cp run/best.safetensors idemodel/generator/weights/phantom.safetensors

The bank is the built-in one (:mod:`idemodel.builtin`).
"""

from __future__ import annotations

from pathlib import Path

PHANTOM = Path(__file__).parent / "phantom.safetensors"
