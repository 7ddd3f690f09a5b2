"""The recipe of a training run: the network's size, losses and schedule, as frozen dataclasses and as TOML."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from idekernels import arguments
from idekernels.coarse import SETTING_NAMES, CoarseSettings
from idekernels.errors import InputError, in_short
from idekernels.files.regular import regular_file
from idemodel.generator.config import INPUTS, TAILS
from idemodel.generator.hand import Hand

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DISCRIMINATORS = ("vgg", "patch")
PRECISIONS = ("float32", "tf32", "bf16")
_MOST = MappingProxyType(  # upper bounds, so that a mistyped number is refused before it fills the memory
    {
        "features": 1024,
        "modules": 64,
        "discriminator_features": 1024,
        "batch": 4096,
        "steps": 10**9,
        "validate_every": 10**9,
        "save_every": 10**9,
    }
)
LARGEST = 2**13  # bytes of a recipe file; larger crafted ones can make the TOML reader take gigabytes


COMPARING = ("pixel", "perceptual", "gradient", "ssim")  # terms that compare pixels, or what is seen at them


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the generator's loss, from 0, which leaves a term out; the defaults are the paper's.

    See :mod:`idemodel.training.losses` for the terms: ``pixel`` L1, ``perceptual`` VGG19, ``adversarial`` the vanilla
    GAN's, ``gradient`` differences of neighbours, ``ssim`` 1 - SSIM, ``features`` the matching of the discriminator's
    activations, ``texture`` the co-occurrence of grey levels.
    """

    pixel: float = 0.01
    perceptual: float = 1.0
    adversarial: float = 0.005
    gradient: float = 0.0
    ssim: float = 0.0
    features: float = 0.0
    texture: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            arguments.real(f"losses.{name}", value, 0.0)
        if not any(asdict(self).values()):
            raise ValueError("losses: every weight is 0, nothing would be learned")

    @property
    def compares(self) -> bool:
        """Whether some term compares pixels of sketch and truth at their places."""
        return any(getattr(self, name) for name in COMPARING)

    @property
    def judged(self) -> bool:
        """Whether a discriminator takes part."""
        return self.adversarial > 0 or self.features > 0


@dataclass(frozen=True)
class Recipe:
    """How a generator is trained. The defaults are the paper's (Peng et al., KBS 2022, and its released settings).

    Parameters
    ----------
    name : str
        For messages and files alone.
    inputs : {"coarse", "coarse+photo", "coarse+photo+quilt", "coarse+photo+quilt+intra"}
        What the generator sees; with the photo, all also at full resolution (see :mod:`idemodel.generator.inputs`).
    channels : {0, 1, 3}
        Of the coarse and fine sketch; 0 takes the bank's, 3 expands grey.
    features, modules : int
        The generator's size, see :class:`idemodel.generator.config.MLAConfig`; it always doubles.
    tail : {"shuffle", "refine"}
        How the fine sketch leaves the generator; ``refine`` needs the photo among the inputs.
    discriminator : {"vgg", "patch"}
        ``vgg`` judges crops of 128 only.
    discriminator_features : int
        Channels of the discriminator's first block.
    losses : LossWeights
    steps : int
        In all, those before a resumed run stopped included.
    structure_first : int
        So many of the first steps learn by the terms that compare pixels alone (pixel, perceptual, gradient, ssim),
        before discriminator and texture join, after Wang et al., "ESRGAN", ECCV workshops 2018.
    batch : int
        Crops a step, of one process.
    crop, stride : int
        Side of the target's crops, and the distance of the places where they may begin, both in pixels and even.
    flips, transposes : bool
        Mirror crops left to right; transpose them. With both, crops are mirrored top to bottom as well: all eight
        orientations, as the released training has them.
    rate : float
        Of Adam, for generator and discriminator.
    precision : {"float32", "tf32", "bf16"}
        Of the networks' products in training: float32 to the last bit, or on CUDA devices by tf32, or their activations
        in bfloat16. Weights, losses and Adam are float32 in any case.
    betas : (float, float)
        Of Adam.
    halvings : tuple of int
        Steps after which the rate is halved.
    average : float
        Decay of the running mean of the generator's weights, which is what is validated and kept; 0 for none.
    validation : int
        Pairs kept out of training to choose the best generator by; 0 for none.
    validate_every, save_every : int
        Steps.
    coarse, quilt, intra : CoarseSettings
        How stage 1 makes the generator's input, the quilt where ``inputs`` has one, and of the coarse sketch the
        intra-domain sketch where it has that.
    hand : Hand
        The fine sketch's tone, after the generator; of sketches alone.
    """

    name: str = "paper"
    inputs: str = "coarse"
    channels: int = 3
    features: int = 64
    modules: int = 8
    tail: str = "shuffle"
    discriminator: str = "vgg"
    discriminator_features: int = 64
    losses: LossWeights = field(default_factory=LossWeights)
    steps: int = 300_000
    structure_first: int = 0
    batch: int = 20
    crop: int = 128
    stride: int = 64
    flips: bool = True
    transposes: bool = True
    rate: float = 1e-4
    precision: str = "float32"
    betas: tuple[float, float] = (0.9, 0.999)
    halvings: tuple[int, ...] = (50_000, 100_000, 200_000)
    average: float = 0.0
    validation: int = 0
    validate_every: int = 5_000
    save_every: int = 1_000
    coarse: CoarseSettings = field(default_factory=CoarseSettings)
    quilt: CoarseSettings = field(default_factory=lambda: CoarseSettings("top1"))
    intra: CoarseSettings = field(default_factory=CoarseSettings)
    hand: Hand = field(default_factory=Hand)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be text, not {self.name!r}")
        arguments.choice("inputs", self.inputs, INPUTS)
        arguments.choice("discriminator", self.discriminator, DISCRIMINATORS)
        arguments.choice("precision", self.precision, PRECISIONS)
        if arguments.choice("tail", self.tail, TAILS) == "refine" and self.inputs == "coarse":
            raise ValueError("the tail 'refine' needs inputs of full resolution: 'coarse+photo' or with the quilt")
        if arguments.whole("channels", self.channels, 0) not in (0, 1, 3):
            raise ValueError(f"channels must be 0 (the bank's), 1 or 3, not {self.channels}")
        for name, most in _MOST.items():
            arguments.whole(name, getattr(self, name), 1, most)
        if self.features % 4:
            raise ValueError(f"features must be a multiple of 4, not {self.features}")
        arguments.whole("validation", self.validation, 0)
        if arguments.whole("structure_first", self.structure_first, 0) and not self.losses.compares:
            raise ValueError("structure_first: no term that compares pixels has a weight, nothing would be learned")
        if self.structure_first >= self.steps:
            raise ValueError(
                f"structure_first is {self.structure_first} of {self.steps} steps, texture and discriminator never "
                "join; take more steps, or another structure_first in a recipe file"
            )
        for name, least in (("crop", 32), ("stride", 2)):
            if arguments.whole(name, getattr(self, name), least, 2**15) % 2:
                raise ValueError(f"{name} must be even, not {getattr(self, name)}")
        if self.discriminator == "vgg" and self.losses.judged and self.crop != 128:
            raise ValueError(f"the discriminator 'vgg' takes crops of 128, not {self.crop}; 'patch' takes any")
        for name in ("flips", "transposes"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if not arguments.real("rate", self.rate, 0.0):
            raise ValueError("rate must be above 0, or nothing would be learned")
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, not {len(self.betas)}")
        for value in (*self.betas, self.average):
            arguments.real("betas and average", value, 0.0, 0.999999)
        for step in self.halvings:
            arguments.whole("halvings", step, 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as JSON and TOML hold them."""
        stage1 = {name: getattr(self, name).as_dict() for name in ("coarse", "quilt", "intra")}
        plain: dict[str, Any] = json.loads(json.dumps({**asdict(self), **stage1}))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`as_dict`; TypeError and ValueError for unknown names and bad values."""
        return _changed(cls(), values)

    def rate_at(self, step: int) -> float:
        """Adam's rate for the step of this number, counted from 0."""
        return self.rate * 0.5 ** sum(step >= after for after in self.halvings)


PAPER = Recipe()
COMPACT = Recipe(
    name="compact",
    inputs="coarse+photo",
    channels=0,
    features=32,
    modules=2,
    discriminator="patch",
    discriminator_features=32,
    losses=LossWeights(pixel=1.0, perceptual=0.0, adversarial=0.04, gradient=0.5, ssim=0.3, features=2.0),
    steps=8_000,
    batch=4,
    crop=96,
    stride=2,
    transposes=False,
    rate=3e-4,
    betas=(0.5, 0.99),
    halvings=(4_500, 6_000, 7_200),
    average=0.998,
    validation=6,
    validate_every=500,
    save_every=250,
)
DRAWN = replace(
    COMPACT,
    name="drawn",
    inputs="coarse+photo+quilt+intra",
    tail="refine",
    losses=LossWeights(pixel=1.0, perceptual=0.0, adversarial=0.03, gradient=0.5, ssim=0.3, features=1.5, texture=1.0),
    steps=6_000,
    structure_first=2_500,
    halvings=(4_500, 5_200, 5_700),
    validate_every=500,
    hand=Hand(press=1.5, paper=0.99),
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (PAPER, COMPACT, DRAWN)})


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from TOML: the names of :class:`Recipe`, its parts (``losses``, say) as tables, all optional.

    ``base = "drawn"`` starts from that recipe; a file without a base starts from ``paper``.

    Raises
    ------
    InputError
        The file is missing or no TOML, a name is unknown, or a value does not fit.
    """
    file = Path(path)
    try:
        regular_file(file, "a recipe, a few lines of TOML", LARGEST)
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        base = arguments.choice("base", values.pop("base", PAPER.name), tuple(RECIPES))
        return _changed(replace(RECIPES[base], name=file.stem), values)
    except InputError:
        raise
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file}: is not TOML ({in_short(error)})") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{file}: {in_short(error)}") from None


def _changed(settings: Any, values: Mapping[str, Any]) -> Any:
    """A frozen dataclass with some fields replaced, those that are dataclasses field by field."""
    if not isinstance(values, Mapping):
        raise TypeError(f"settings must be a table, not {values!r}")
    flat = isinstance(settings, CoarseSettings)  # its settings are its method's too
    known = set(SETTING_NAMES) if flat else {entry.name for entry in fields(settings)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown: {', '.join(map(str, unknown))}; known are {', '.join(sorted(known))}")
    if flat:
        return settings.changed(**values)
    changes: dict[str, Any] = {}
    for name, value in values.items():
        old = getattr(settings, name)
        if is_dataclass(old) and not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a table, not {value!r}")
        if isinstance(old, tuple) and not isinstance(value, list | tuple):
            raise TypeError(f"{name} must be a list, not {value!r}")
        changes[name] = _changed(old, value) if is_dataclass(old) else tuple(value) if isinstance(old, tuple) else value
    return replace(settings, **changes)
