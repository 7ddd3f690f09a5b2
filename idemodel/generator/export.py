"""A generator written as ONNX, for every batch and size; knows no training and no images."""

from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idemodel.generator.enhance import Enhancer

OPSET = 18


def export_onnx(enhancer: Enhancer, path: str | os.PathLike[str]) -> None:
    """Write a generator, its weight norm folded, as ONNX; the file appears whole or not at all.

    Input ``inputs``: (B, channels + guide, H, W) float32, of :func:`idemodel.generator.inputs.generator_input`; output
    ``fine``: (B, channels, 2 H, 2 W), about [0, 1], not clipped. B, H, W are free, H and W from 16 up. The file's
    metadata ``idesketch`` holds the network's size, the direction, the recipe and the hand, which is left to the reader
    (``min(1, fine / paper) ** press``), as JSON.

    Raises
    ------
    InputError
        The package onnx is missing.
    OSError
        The folder is missing or read-only, or the disk is full.
    """
    onnx = _onnx()
    config = enhancer.network.config
    model = onnx.load_model_from_string(_traced(enhancer))
    about: dict[str, Any] = {"channels": config.channels, "guide": config.guide, "upscale": config.upscale}
    about |= {"direction": enhancer.direction, "recipe": dict(enhancer.recipe), "hand": asdict(enhancer.hand)}
    onnx.helper.set_model_props(model, {"idesketch": json.dumps(about, sort_keys=True)})
    onnx.checker.check_model(model)
    with replace_when_done(Path(path)) as partial:
        partial.write_bytes(model.SerializeToString())


def _traced(enhancer: Enhancer) -> bytes:
    """The generator as ONNX with free batch, rows and columns, without metadata."""
    network, config = enhancer.network, enhancer.network.config
    example = torch.zeros(2, config.channels + config.guide, 37, 42, device=enhancer.device)
    free = {0: "batch", 2: "rows", 3: "columns"}
    content = io.BytesIO()
    with warnings.catch_warnings():
        # torch deprecates this exporter; its successor needs onnxscript and does not leave all sizes free.
        warnings.simplefilter("ignore", DeprecationWarning)
        # tracing drops the network's own checks of shapes, and warns of it; a runtime has checks of its own.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        write: Any = torch.onnx.export  # its annotations do not know the file object that it accepts
        write(
            network,
            (example,),
            content,
            dynamo=False,
            opset_version=OPSET,
            input_names=["inputs"],
            output_names=["fine"],
            dynamic_axes={"inputs": free, "fine": free},
        )
    return content.getvalue()


def _onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise InputError("export needs the package onnx: pip install 'idesketch[export]'") from None
    return onnx
