"""``idesketch export``: a trained model to a format that other programs run."""

from __future__ import annotations

from pathlib import Path

import click

from .console import err, say
from .options import PATH


@click.command()
@click.argument("model", type=PATH)
@click.option("--onnx", type=PATH, required=True, metavar="FILE", help="The file to write, for ONNX runtimes.")
def export(model: Path, onnx: Path) -> None:
    """Write a MODEL as ONNX: any batch, any size from 16x16 up. Needs the extra: pip install 'idesketch[export]'."""
    with err.status("Exporting"):
        from idemodel.generator.enhance import Enhancer
        from idemodel.generator.export import export_onnx

        export_onnx(Enhancer.open(model, "cpu"), onnx)
    say(f"{onnx}: written")
