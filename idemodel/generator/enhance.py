"""Stage 2: coarse sketches to fine ones by a trained generator, in batches; trains nothing, reads no images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from idekernels import arguments
from idekernels.bank import PHOTO_TO_SKETCH
from idekernels.coarse import CoarseSettings, CoarseSketch
from idekernels.errors import InputError, in_short
from idekernels.files.notices import tell_once
from idemodel.generator.checkpoint import Header, load_generator, load_reference, read_header
from idemodel.generator.config import PRECISIONS, inputs_of
from idemodel.generator.devices import torch_device
from idemodel.generator.folding import folded_for_inference
from idemodel.generator.graphs import Graphs, RepeatedByShape, graphs_on
from idemodel.generator.hand import Hand, chosen_hand, hand_of
from idemodel.generator.inputs import fitted, generator_input
from idemodel.generator.intra import IntraDomain
from idemodel.generator.network import MINIMUM, MLANet
from idemodel.generator.passes import passes_on
from idemodel.generator.precision import float32_products

REFERENCE_SUFFIXES = (".pth", ".pt")
_BESIDE = ("photo", "quilt", "intra")  # what may go with a coarse sketch
_PIXELS_AT_ONCE = 2**21  # rows x columns x photos of the generator's input: a few GiB of memory at 64 features


class Enhancer:
    """A generator ready for inference: weight norm folded, on its device.

    Parameters
    ----------
    network : MLANet
        Is taken over: folded, moved, its gradients switched off.
    recipe : mapping, optional
        What the generator was trained by.
    device : str
        See :func:`idemodel.generator.devices.torch_device`.
    direction : str
        What the generator was trained for, of :data:`idekernels.bank.DIRECTIONS`.
    hand : Hand, mapping or str, optional
        The tone of fine sketches; by default the recipe's for sketches, and none for photos. A mapping changes single
        values of that; a name, ``soft``, ``pencil`` or ``bold``, is a style of it.
    domain : IntraDomain, optional
        Of a generator that takes the coarse sketch carried over within its domain.
    precision : {"float32", "float16"}
        Of the network's products: float32 strictly, without tf32; float16, channels last, on a CUDA device, where
        sketches differ by at most one grey level.
    graphs : bool
        Record sizes that come again, up to eight, as CUDA graphs, where the device has them. Their memory is kept.

    Raises
    ------
    InputError
        No such device, float16 on a CPU, the recipe's hand cannot be read, or the generator needs a ``domain`` and none
        is given.
    TypeError, ValueError
        A hand out of its range, another ``precision``.
    """

    def __init__(
        self,
        network: MLANet,
        recipe: Mapping[str, Any] | None = None,
        device: str = "auto",
        direction: str = PHOTO_TO_SKETCH,
        hand: Hand | Mapping[str, float] | str | None = None,
        domain: IntraDomain | None = None,
        *,
        precision: str = "float32",
        graphs: bool = True,
    ) -> None:
        self.device = torch_device(device)
        self.precision = allowed_precision(precision, self.device)
        self.network = network_for_inference(network, self.device, self.precision)
        self._repeated = _repeated(graphs_on(self.device) if graphs else None)
        self.recipe = MappingProxyType(dict(recipe or {}))
        self.direction, self.domain = direction, domain
        if "intra" in self._takes and domain is None:
            raise InputError("this generator needs its intra-domain bank, which lies beside its file: open that")
        self.hand = chosen_hand(hand_of(self.recipe, direction), hand)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        device: str = "auto",
        hand: Hand | Mapping[str, float] | str | None = None,
        backend: str = "auto",
        *,
        precision: str = "float32",
    ) -> Enhancer:
        """Read a model file: one of idesketch (.safetensors) or the authors' checkpoint (.pth).

        An intra-domain bank beside it is read where the model needs it; ``backend`` is what matches in it, see
        :func:`idekernels.prepare`. ``precision`` is the constructor's.

        Raises
        ------
        InputError
            The file is missing, damaged or something else, there is no such device, or none for that precision.
        """
        file = Path(path)
        allowed_precision(precision, torch_device(device))  # which is not the file's fault
        if file.suffix.lower() in REFERENCE_SUFFIXES:
            return cls(load_reference(file), device=device, hand=hand, precision=precision)
        header = read_header(file)
        domain, runs_on = _domain(file, header, backend) if header.intra else None, torch_device(device)
        try:
            network, recipe = load_generator(file), header.recipe
            return cls(network, recipe, runs_on, header.direction, hand, domain, precision=precision)
        except InputError as error:
            told = str(error)
            raise InputError(told if told.startswith(str(file)) else f"{file}: {told}") from None

    @property
    def needs_photo(self) -> bool:
        """Whether :meth:`enhance` needs the photo (for sketch-to-photo the sketch) beside the coarse sketch."""
        return self.network.config.guide > 0

    @property
    def needs_quilt(self) -> bool:
        """Whether :meth:`enhance` needs the quilt beside coarse sketch and photo."""
        return "quilt" in self._takes

    @property
    def _takes(self) -> frozenset[str]:
        return inputs_of(self.network.config.channels, self.network.config.guide)

    def enhance(
        self,
        coarse: CoarseSketch | Tensor,
        photo: Tensor | None = None,
        size: str = "source",
        *,
        quilt: CoarseSketch | Tensor | None = None,
        leave_out: Sequence[Sequence[str]] | None = None,
    ) -> Tensor:
        """Make fine sketches.

        Parameters
        ----------
        coarse : CoarseSketch or (B, C, H, W) Tensor in [0, 1]
            Grey or of the generator's channels; a CoarseSketch goes by DLPack, its memory is shared.
        photo : (B, 1, H, W) Tensor in [0, 1], optional
            What the coarse sketch was made from (for sketch-to-photo a sketch), grey; needed where
            :attr:`needs_photo`, ignored elsewhere.
        size : {"source", "double"}
            The fine sketch has the coarse one's rows and columns, or twice as many.
        quilt : CoarseSketch or (B, C, H, W) Tensor in [0, 1], optional
            The photo's sketch of one candidate a patch, see the recipe's ``quilt``; needed where :attr:`needs_quilt`,
            ignored elsewhere.
        leave_out : sequence of B sequences of str, optional
            Names of training pairs that the sketch must not use, where the generator has an intra-domain bank.

        Returns
        -------
        (B, channels, H, W) or (B, channels, 2 H, 2 W) float32 Tensor in [0, 1], on the enhancer's device

        Raises
        ------
        ValueError
            Shapes that do not fit, a missing photo or quilt, an unknown size, or sketches that are too small: the
            generator needs 16 x 16, which is 31 x 31 of the source size.
        """
        images = self._tensor(coarse)
        if images.ndim != 4:
            raise ValueError(f"coarse sketches must be (B, C, H, W), not {tuple(images.shape)}")
        height, width = images.shape[2:]
        self.check_size(height, width, size)
        at_once = max(1, _PIXELS_AT_ONCE // (height * width))
        parts = images.split(at_once)
        photos = _split(photo if self.needs_photo else None, at_once, len(parts))
        quilts = _split(self._tensor(quilt) if self.needs_quilt else None, at_once, len(parts))
        intras = _split(self.domain.sketches(images, leave_out) if self.domain else None, at_once, len(parts))
        made = [self._enhanced(*some, size=size) for some in zip(parts, photos, quilts, intras, strict=True)]
        return made[0] if len(made) == 1 else torch.cat(made)

    def check_size(self, height: int, width: int, size: str = "source") -> None:
        """ValueError where a coarse sketch is too small for the generator, or not of its intra-domain bank's size."""
        least = MINIMUM if size == "double" else 2 * MINIMUM - 1
        if min(height, width) < least:
            raise ValueError(f"a coarse sketch of {height} x {width} is too small: {least} x {least} at least")
        known = self.domain.prepared.bank if self.domain else None
        if known and (height, width) != (known.height, known.width):
            raise ValueError(
                f"a coarse sketch of {height} x {width} does not fit the model, which was trained on "
                f"{known.height} x {known.width}; make it with the model's own bank"
            )

    def _tensor(self, sketch: Any) -> Any:
        """Stage 1's sketches as a tensor on their own memory; copied to the host where torch knows the host alone."""
        if sketch is None or isinstance(sketch, Tensor):
            return sketch
        return torch.from_dlpack(sketch if torch.cuda.is_available() else sketch.host())

    @torch.no_grad()
    def _enhanced(self, coarse: Tensor, *beside: Tensor | None, size: str) -> Tensor:
        """Fine sketches of coarse ones and what goes with them: photo, quilt, intra-domain sketch."""
        names = [name for name, one in zip(_BESIDE, beside, strict=True) if one is not None]
        given = [one.to(self.device) for one in (coarse, *beside) if one is not None]
        made = partial(self._drawn, names, size)
        with float32_products(self.device):
            if self._repeated is None:
                return made(*given)["fine"]
            return self._repeated((*names, size, self.hand), made, *given)["fine"]

    def _drawn(self, names: Sequence[str], size: str, coarse: Tensor, *beside: Tensor) -> dict[str, Tensor]:
        """The work on the device, from coarse sketches and what of ``_BESIDE`` goes with them to what is drawn."""
        config, height, width = self.network.config, *coarse.shape[2:]
        more = dict(zip(names, beside, strict=True))
        inputs = generator_input(coarse, **more, channels=config.channels, guide=config.guide, size=size)
        return {"fine": self.hand.drawn(fitted(self.network(inputs), height, width, size))}


def allowed_precision(precision: str, device: str) -> str:
    """The precision; InputError for one that the device lacks, ValueError for another word."""
    arguments.choice("precision", precision, PRECISIONS)
    if precision == "float16" and torch.device(device).type == "cpu":
        raise InputError(
            "the precision float16 is for CUDA devices, a CPU takes longer by it; take float32, or --device cuda"
        )
    return precision


def network_for_inference(network: MLANet, device: str, precision: str) -> MLANet:
    """The network for inference: on its device; by float16 all of it folded, channels last, as tensor cores read it."""
    ready = network.fold_weight_norm()
    if precision == "float16":
        move: Any = folded_for_inference(ready, passes_on(device, ready.config.features)).half().to
        move(memory_format=torch.channels_last)
    return ready.to(device).eval().requires_grad_(False)


def _repeated(graphs: Graphs | None) -> RepeatedByShape | None:
    return RepeatedByShape(graphs, partial(tell_once, "graphs of inference")) if graphs else None


def _domain(file: Path, header: Header, backend: str) -> IntraDomain:
    """The intra-domain bank beside a model's file, used as its recipe says."""
    try:
        settings = CoarseSettings(**header.recipe.get("intra", {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: its intra-domain settings cannot be read ({in_short(error)}); train anew") from None
    return IntraDomain.beside(file, header.intra, settings, backend)


def _split(planes: Tensor | None, at_once: int, parts: int) -> Sequence[Tensor | None]:
    return (None,) * parts if planes is None else planes.split(at_once)
