"""``idesketch export``: a trained model to a format that other programs run."""

from __future__ import annotations

from pathlib import Path

import click

from idekernels.errors import InputError
from idemodel.files.outputs import same_file

from .console import err, say
from .options import PATH


@click.command()
@click.argument("model", type=PATH)
@click.option("--onnx", type=PATH, required=True, metavar="FILE", help="The file to write, for ONNX runtimes.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
def export(model: Path, onnx: Path, overwrite: bool) -> None:
    """Write a MODEL as ONNX: any batch, any size from 16x16 up. Needs the extra: pip install 'idesketch[export]'."""
    if onnx.exists() and not overwrite:
        raise InputError(f"{onnx}: is there already; choose another name, or --overwrite")
    if same_file(model, onnx):
        raise InputError(f"{onnx}: is the model itself; choose another name")
    with err.status("Exporting"):
        from idemodel.generator.enhance import Enhancer
        from idemodel.generator.export import export_onnx

        export_onnx(Enhancer.open(model, "cpu"), onnx)
    say(f"{onnx}: written")
