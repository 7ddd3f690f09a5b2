"""Generators as files: idesketch's own, safetensors with a JSON header, and the authors' weights, read safely."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from idekernels.bank import DIRECTIONS, PHOTO_TO_SKETCH
from idekernels.errors import InputError, in_short
from idekernels.files.atomic import replace_when_done
from idemodel.files.weights import filled, open_tensors, read_pickle, shapes_of, take, without_memory
from idemodel.generator.config import MLAConfig
from idemodel.generator.network import MLANet

VERSION = 1
WANTED = "a generator saved by idesketch (.safetensors)"
REFERENCE_WANTED = "the MLA-GAN authors' checkpoint (.pth) with 'generator.head.0.weight_v' and so on"

_KEY = "idesketch"  # of the safetensors metadata; a single one, as safetensors writes several in any order
_LARGEST = 2**20  # characters of its JSON
_FORMAT = "idesketch generator"
_PREFIX = "generator."
_MODULE = re.compile(r"generator\.body\.([0-9]{1,4})\.")


@dataclass(frozen=True)
class Header:
    """What the file of a generator says beside its weights.

    Parameters
    ----------
    config : MLAConfig
        The network's size.
    folded : bool
        Whether the weight normalisation is folded into the weights.
    recipe : mapping
        What it was trained by, see :meth:`idemodel.training.recipe.Recipe.as_dict`; empty where that is not known.
    direction : str
        Of :data:`idekernels.bank.DIRECTIONS`, what it was trained for.
    intra : str
        Digest of the intra-domain bank beside the file, see :mod:`idemodel.generator.intra`; empty where it needs none.
    """

    config: MLAConfig
    folded: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)
    direction: str = PHOTO_TO_SKETCH
    intra: str = ""


def save_generator(
    path: str | Path,
    network: MLANet,
    *,
    recipe: Mapping[str, Any] | None = None,
    direction: str = PHOTO_TO_SKETCH,
    intra: str = "",
) -> None:
    """Write a generator, weight norm folded or not, with its configuration; the file appears whole or not at all.

    Equal weights, recipes and directions give equal bytes.

    Parameters
    ----------
    path
        Replaced where it exists.
    network
        On any device.
    recipe
        Whatever JSON can hold.
    direction
        Of :data:`idekernels.bank.DIRECTIONS`, of the bank that the generator was trained with.
    intra
        Digest of its intra-domain bank, if it needs one.

    Raises
    ------
    TypeError, ValueError
        A recipe that JSON cannot hold.
    OSError
        The folder is missing or read-only, or the disk is full; an old file is untouched.
    """
    text = _header_text(Header(network.config, network.folded, dict(recipe or {}), direction, intra))
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    content = save(tensors, metadata={_KEY: text})  # not save_file, whose error on a full disk is no OSError
    with replace_when_done(path) as partial:
        partial.write_bytes(content)


def load_generator(path: str | Path) -> MLANet:
    """Read a generator that :func:`save_generator` wrote: float32, on the CPU, in evaluation mode.

    Raises
    ------
    InputError
        The file is missing, truncated, of a newer version, or something else.
    """
    file = Path(path)
    with open_tensors(file, WANTED) as opened:
        header = _header(opened.metadata(), file)
        names = opened.keys()  # safe_open gives no mapping: it cannot be iterated
        tensors = {name: opened.get_tensor(name) for name in names}
    network = _empty(header.config, header.folded)
    return filled(network, _directed(take(tensors, shapes_of(network), file, WANTED), file, WANTED))


def read_header(path: str | Path) -> Header:
    """What a generator's file says of itself; the weights are not read. InputError as :func:`load_generator`."""
    file = Path(path)
    with open_tensors(file, WANTED) as opened:
        return _header(opened.metadata(), file)


def load_reference(path: str | Path) -> MLANet:
    """Read a generator with the weights of the authors' released code: float32, on the CPU, in evaluation mode.

    Nothing in the file is executed (``torch.load(..., weights_only=True)``). The names are the authors',
    ``generator.head.0.weight_g`` and so on, under a top key ``state_dict`` or bare; the network's size is read off
    them. Other networks beside it, the discriminator's say, are ignored.

    Raises
    ------
    InputError
        The file is missing, truncated or no such checkpoint; a name is missing, unknown or of a wrong shape.
    """
    file = Path(path)
    tensors = _reference_tensors(file)
    network = _empty(_reference_config(tensors, file))
    shapes = shapes_of(network, _PREFIX)
    wanted = take(tensors, shapes, file, REFERENCE_WANTED)
    unknown = next((name for name in tensors if name not in shapes), None)
    if unknown is not None:
        raise InputError(f"{file}: {in_short(repr(unknown))} is unknown to the network; wanted is {REFERENCE_WANTED}")
    return filled(network, _directed(wanted, file, REFERENCE_WANTED), _PREFIX)


def _header_text(header: Header) -> str:
    """The header as JSON, the same for the same header; TypeError or ValueError for a recipe that JSON cannot hold."""
    content = {
        "format": _FORMAT,
        "version": VERSION,
        "network": asdict(header.config),
        "folded": header.folded,
        "recipe": header.recipe,
        "direction": header.direction,
        **({"intra": header.intra} if header.intra else {}),
    }
    return json.dumps(content, sort_keys=True, allow_nan=False)


def _header(metadata: Mapping[str, str] | None, path: Path) -> Header:
    """The header of a safetensors file's metadata, every entry checked; InputError names what is wrong."""
    if not metadata or _KEY not in metadata:
        raise InputError(f"{path}: says nothing of a network; wanted is {WANTED}")
    try:
        content = json.loads(metadata[_KEY][:_LARGEST])  # a longer text is cut, no longer JSON, and refused
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its header is damaged; wanted is {WANTED}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: is of another format; wanted is {WANTED}")
    version = content.get("version")
    if version != VERSION:
        raise InputError(
            f"{path}: has version {in_short(version)} where this program reads {VERSION}; update idesketch"
        )
    network, folded, recipe = (content.get(name) for name in ("network", "folded", "recipe"))
    direction = content.get("direction", PHOTO_TO_SKETCH)  # older files, without the entry, are all photo to sketch
    intra = content.get("intra", "")
    known = direction in DIRECTIONS and isinstance(intra, str)
    if not (isinstance(network, dict) and isinstance(folded, bool) and isinstance(recipe, dict) and known):
        raise InputError(f"{path}: its header is damaged; wanted is {WANTED}")
    try:
        return Header(MLAConfig(**network), folded, recipe, direction, intra)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its network cannot be built ({in_short(error)}); wanted is {WANTED}") from None


def _reference_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the generator, under their full names."""
    content = read_pickle(path, REFERENCE_WANTED)
    named = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(named, dict):
        raise InputError(f"{path}: holds no mapping of names to tensors; wanted is {REFERENCE_WANTED}")
    tensors = {name: value for name, value in named.items() if isinstance(name, str) and name.startswith(_PREFIX)}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: {in_short(name)} is no tensor; wanted is {REFERENCE_WANTED}")
    return tensors


def _reference_config(tensors: Mapping[str, Tensor], path: Path) -> MLAConfig:
    """The network's size, read off the names and shapes of its tensors."""
    sizes = []
    for name in ("generator.head.0.weight_v", "generator.tail.tail_k3.weight_v"):
        if name not in tensors:
            raise InputError(f"{path}: has no {name}; wanted is {REFERENCE_WANTED}")
        if tensors[name].ndim != 4:
            raise InputError(f"{path}: {name} is no convolution's; wanted is {REFERENCE_WANTED}")
        sizes.append(tensors[name].shape)
    (features, channels, *_), (last, *_) = sizes
    found = [int(match[1]) for match in map(_MODULE.match, tensors) if match]
    upscale = math.isqrt(last // max(1, channels))
    try:
        return MLAConfig(channels, features, 1 + max(found, default=-1), upscale)
    except ValueError as error:
        raise InputError(
            f"{path}: its network cannot be built ({in_short(error)}); wanted is {REFERENCE_WANTED}"
        ) from None


def _empty(config: MLAConfig, folded: bool = False) -> MLANet:
    """A network without memory for its weights."""
    network = without_memory(lambda: MLANet(**asdict(config)))
    return network.fold_weight_norm() if folded else network


def _directed(tensors: Mapping[str, Tensor], path: Path, wanted: str) -> Mapping[str, Tensor]:
    """The tensors as they are; InputError where weight normalisation would divide by a norm of zero."""
    for name, value in tensors.items():
        if name.endswith("weight_v") and not bool(value.flatten(1).any(dim=1).all()):
            raise InputError(f"{path}: {name} has a filter of zeros, which has no direction; wanted is {wanted}")
    return tensors
