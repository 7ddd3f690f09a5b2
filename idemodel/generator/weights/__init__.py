"""Weights that come with the package: one generator, trained on drawn (phantom) faces alone, so free of any rights.

Made by these commands (the last one takes about a quarter of an hour on two cores)::

    idesketch data phantom phantom
    idesketch bank build phantom phantom.h5
    idesketch train phantom phantom.h5 -o run --recipe idemodel/generator/weights/phantom.toml
    cp run/best.safetensors idemodel/generator/weights/phantom.safetensors
"""

from __future__ import annotations

from pathlib import Path

PHANTOM = Path(__file__).parent / "phantom.safetensors"
