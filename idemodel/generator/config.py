"""What a generator is given and how large it is, as plain values; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from idekernels import arguments

TAILS = ("shuffle", "refine")
PRECISIONS = ("float32", "float16")  # of inference; float16 on CUDA devices alone
PHASES = 4  # pixels of the doubled image, 2 x 2, that one pixel of the generator's input covers

INPUTS = ("coarse", "coarse+photo", "coarse+photo+quilt", "coarse+photo+quilt+intra")


def guide_channels(inputs: str, channels: int) -> int:
    """Input channels behind the coarse sketch's ``channels``, for one of ``INPUTS``; four for each plane.

    ``coarse``: none. ``coarse+photo``: coarse sketch and grey photo of the doubled size, and between them, of as many
    channels as the coarse sketch, whatever else ``inputs`` names: quilt, intra-domain sketch.
    """
    names = inputs.split("+")
    return PHASES * ((len(names) - 1) * channels + 1) if "photo" in names else 0


def inputs_of(channels: int, guide: int) -> frozenset[str]:
    """What a generator of so many channels takes: of coarse, photo, quilt and intra; the inverse of the above.

    A guide that fits none of ``INPUTS`` holds coarse sketch and photo.
    """
    fitting = [inputs for inputs in INPUTS if guide_channels(inputs, channels) == guide]
    return frozenset((fitting[0] if fitting else "coarse+photo").split("+"))


@dataclass(frozen=True)
class MLAConfig:
    """The size of a generator; the defaults are the paper's.

    Parameters
    ----------
    channels : int
        Of the coarse sketch and of the fine one; 3 is RGB.
    features : int
        Channels inside; a multiple of 4.
    modules : int
        Feature aggregation modules in sequence.
    upscale : int
        The fine sketch has ``upscale`` times the rows and columns of the coarse one.
    guide : int
        Further input channels behind the coarse sketch's (a photo, say); the paper has none.
    tail : {"shuffle", "refine"}
        How the fine sketch leaves the network: the paper's pixel shuffle, or convolutions at full resolution. The
        latter doubles, and needs a guide whose first planes are the coarse sketch in full.

    Raises
    ------
    TypeError, ValueError
        Not an integer, out of range, or values that do not go together.
    """

    channels: int = 3
    features: int = 64
    modules: int = 8
    upscale: int = 2
    guide: int = 0
    tail: str = "shuffle"

    def __post_init__(self) -> None:
        arguments.whole("channels", self.channels, 1, 64)
        arguments.whole("features", self.features, 4, 1024)
        arguments.whole("modules", self.modules, 1, 64)
        arguments.whole("upscale", self.upscale, 1, 8)
        arguments.whole("guide", self.guide, 0, 256)
        if self.features % 4:
            raise ValueError(f"features must be a multiple of 4, not {self.features}")
        full = self.upscale == 2 and self.guide % PHASES == 0 and self.guide >= PHASES * self.channels
        if arguments.choice("tail", self.tail, TAILS) == "refine" and not full:
            raise ValueError(
                "the tail 'refine' doubles and needs a guide of whole planes, the coarse sketch first, not upscale "
                f"{self.upscale} and guide {self.guide}"
            )
