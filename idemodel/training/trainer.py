"""One training step of generator and discriminator, the generator's running mean, and the state of all as tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from idemodel.generator.config import MLAConfig
from idemodel.generator.network import Judgement, MLANet, PatchDiscriminator, VGGDiscriminator
from idemodel.training import losses
from idemodel.training.crops import Batch
from idemodel.training.lowered import CastOnce
from idemodel.training.recipe import COMPARING, Recipe

_JUDGES: Mapping[str, Callable[[int, int], PatchDiscriminator | VGGDiscriminator]] = MappingProxyType(
    {"vgg": VGGDiscriminator, "patch": PatchDiscriminator}
)
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of a parameter

_Network = TypeVar("_Network", bound=nn.Module)

Synchronise = Callable[[Iterable[nn.Parameter]], None]


class Trainer:
    """Generator, discriminator, their optimisers and the generator's running mean.

    ``state()`` and ``load_state()`` carry everything that a step depends on, so that training goes on from a file as
    if it had never stopped.

    Parameters
    ----------
    recipe : Recipe
    network : MLAConfig
        The generator's size.
    seed : int
        Decides the first weights; torch's own random numbers are left as they are.
    perceptual : PerceptualLoss, optional
        Needed where the recipe gives it a weight.
    device : str or torch.device
        Of all networks.
    recordable : bool, optional
        Whether what changes from step to step lies in tensors, so that a step can be recorded and replayed; by default
        on a CUDA device. A CPU's plain numbers have other last digits.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: MLAConfig,
        seed: int,
        perceptual: losses.PerceptualLoss | None = None,
        device: str | torch.device = "cpu",
        recordable: bool | None = None,
    ) -> None:
        self.recipe, self.device = recipe, torch.device(device)
        self.recordable = self.device.type == "cuda" if recordable is None else recordable
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator = _placed(MLANet(**asdict(network)), self.device)
            judge = _JUDGES[recipe.discriminator](network.channels, recipe.discriminator_features)
        self.discriminator = _placed(judge, self.device) if recipe.losses.judged else None
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if recipe.average else None
        self.perceptual = self._moved(perceptual) if perceptual else None
        cast_once = self.recordable and recipe.precision == "bf16"
        self._drawing = CastOnce(self.generator) if cast_once else self.generator
        self._generator_adam = self._adam(self.generator)
        self._discriminator_adam = self._adam(self.discriminator) if self.discriminator else None
        self._rate = recipe.rate
        self._share: float | Tensor = torch.zeros((), device=self.device) if self.recordable else 0.0

    @property
    def best_generator(self) -> MLANet:
        """The generator to validate and keep: the running mean where the recipe has one."""
        return self.average or self.generator

    def step(self, batch: Batch, number: int, synchronise: Synchronise | None = None) -> dict[str, Tensor]:
        """Take the step of this number, counted from 0; gives every loss, unweighted, as a scalar without gradient.

        ``synchronise(parameters)`` is called between the gradients and their use, to average them over processes.
        """
        self.aim(number)
        here = Batch(batch.inputs.to(self.device), batch.truth.to(self.device))
        return self.take(here, self.judges(number), synchronise)

    def judges(self, number: int) -> bool:
        """Whether discriminator and texture take part in the step of this number."""
        return number >= self.recipe.structure_first

    def aim(self, number: int) -> None:
        """Set what depends on the number of the step alone: Adam's rate, and how far the running mean moves."""
        rate, share = self.recipe.rate_at(number), 1.0 - min(self.recipe.average, (1 + number) / (10 + number))
        if isinstance(self._share, Tensor):
            self._share.fill_(share)
        else:
            self._share = share
        if rate == self._rate:
            return
        self._rate = rate
        for group in (group for _, adam, _ in self._adams() for group in adam.param_groups):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def take(self, batch: Batch, judging: bool, synchronise: Synchronise | None = None) -> dict[str, Tensor]:
        """The work of one step on a batch on the device, as :meth:`aim` set it; what :meth:`step` gives.

        Where the trainer is ``recordable``, it waits for nothing and holds no number that changes from step to step.
        """
        inputs, truth = batch.inputs, batch.truth
        with self._lowered():
            fine = self._drawing(inputs).float()
        found = self._generator_losses(fine, truth, judging)
        weights = asdict(self.recipe.losses)
        total = torch.stack([weights[name] * value for name, value in found.items()]).sum()
        _move(self._generator_adam, total, self.generator, synchronise)
        found["generator"] = total
        if judging and self.discriminator and self._discriminator_adam:
            real, fake = (self._judge(self.discriminator, images).logits for images in (truth, fine.detach()))
            found["discriminator"] = losses.discriminator_loss(real, fake)
            _move(self._discriminator_adam, found["discriminator"], self.discriminator, synchronise)
        if self.average:
            _follow(self.average, self.generator, self._share)
        return {name: value.detach() for name, value in found.items()}

    def state(self) -> dict[str, Tensor]:
        """Every tensor by name; copies on the CPU."""
        tensors: dict[str, Tensor] = {}
        for role, network in self._networks().items():
            tensors |= {f"{role}.{name}": value for name, value in network.state_dict().items()}
        for role, adam, network in self._adams():
            for name, parameter in network.named_parameters():
                kept = adam.state.get(parameter, {})
                tensors |= {f"{role}.adam.{moment}.{name}": kept[moment] for moment in _MOMENTS if moment in kept}
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`state` gave; KeyError, RuntimeError or ValueError where something does not fit."""
        for name, value in tensors.items():
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} holds something other than finite numbers")
        for role, network in self._networks().items():
            network.load_state_dict({name: tensors[f"{role}.{name}"] for name in network.state_dict()})
        for role, adam, network in self._adams():
            for name, parameter in network.named_parameters():
                found = [tensors.get(f"{role}.adam.{moment}.{name}") for moment in _MOMENTS]
                moments = [value for value in found if value is not None]
                if len(moments) == len(_MOMENTS):
                    _check_moments(f"{role}.adam of {name}", moments, parameter)
                    steps, *means = moments
                    place = self.device if self.recordable else "cpu"  # Adam's own choice
                    counted = steps.to(place, torch.float32, copy=True)
                    laid_out = [torch.empty_like(parameter, requires_grad=False).copy_(mean) for mean in means]
                    values = [counted, *laid_out]  # as the weights lie, which fused kernels insist on
                    adam.state[parameter] = dict(zip(_MOMENTS, values, strict=True))

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        values = (value for network in self._networks().values() for value in network.state_dict().values())
        return all(bool(torch.isfinite(value).all()) for value in values)

    def _generator_losses(self, fine: Tensor, truth: Tensor, judging: bool = True) -> dict[str, Tensor]:
        """The terms of a weight above 0, by name; without ``judging`` those alone that compare pixels."""
        weights = self.recipe.losses
        terms: dict[str, Callable[[], Tensor]] = {
            "pixel": lambda: losses.pixel_loss(fine, truth),
            "gradient": lambda: losses.gradient_loss(fine, truth),
            "ssim": lambda: losses.ssim_loss(fine, truth),
            "texture": lambda: losses.texture_loss(fine, truth),
        }
        if self.perceptual:
            perceptual = self.perceptual
            terms["perceptual"] = lambda: self._perceived(perceptual, fine, truth)
        if self.discriminator and judging:
            judged, expected = self._judgements(self.discriminator, fine, truth)
            terms["adversarial"] = lambda: losses.generator_loss(judged.logits)
            terms["features"] = lambda: losses.feature_matching(judged.layers, expected.layers)
        wanted = [name for name in terms if getattr(weights, name) and (judging or name in COMPARING)]
        return {name: terms[name]() for name in wanted}

    def _judgements(
        self, discriminator: PatchDiscriminator | VGGDiscriminator, fine: Tensor, truth: Tensor
    ) -> tuple[Judgement, Judgement]:
        """Of the fine sketches, with gradient to them alone, and of the truth, without."""
        discriminator.requires_grad_(False)
        judged = self._judge(discriminator, fine)
        with torch.no_grad():
            expected = self._judge(discriminator, truth) if self.recipe.losses.features else judged
        discriminator.requires_grad_(True)
        return judged, expected

    def _judge(self, discriminator: PatchDiscriminator | VGGDiscriminator, images: Tensor) -> Judgement:
        """What the discriminator says, in float32 whatever the recipe's precision."""
        with self._lowered():
            judged = discriminator.judge(images)
        return Judgement(judged.logits.float(), [layer.float() for layer in judged.layers])

    def _perceived(self, perceptual: losses.PerceptualLoss, fine: Tensor, truth: Tensor) -> Tensor:
        with self._lowered():
            found: Tensor = perceptual(fine, truth)
        return found

    def _lowered(self) -> AbstractContextManager[None]:
        """Around the networks alone: bf16 where the recipe says so. Weights, losses and Adam keep float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _moved(self, perceptual: losses.PerceptualLoss) -> losses.PerceptualLoss:
        """On the device, channels last where matrix units read it: not by strict float32, and not on a CPU."""
        by_units = self.device.type == "cuda" and self.recipe.precision != "float32"
        return _placed(perceptual, self.device) if by_units else perceptual.to(self.device)

    def _adam(self, network: nn.Module) -> Any:
        """Adam; on a CUDA device in a few launches for all weights."""
        rate: Any = torch.tensor(self.recipe.rate, device=self.device) if self.recordable else self.recipe.rate
        ways: dict[str, Any] = {"capturable": self.recordable, "fused": True if self.device.type == "cuda" else None}
        adam: Any = torch.optim.Adam(network.parameters(), lr=rate, betas=self.recipe.betas, **ways)
        adam._warned_capturable_if_run_uncaptured = True  # the first steps are, and all where nothing is recorded
        return adam

    def _networks(self) -> dict[str, nn.Module]:
        every = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}
        return {role: network for role, network in every.items() if network is not None}

    def _adams(self) -> list[tuple[str, torch.optim.Adam, nn.Module]]:
        pairs: list[tuple[str, torch.optim.Adam, nn.Module]] = [("generator", self._generator_adam, self.generator)]
        if self.discriminator and self._discriminator_adam:
            pairs.append(("discriminator", self._discriminator_adam, self.discriminator))
        return pairs


def _check_moments(name: str, moments: Sequence[Tensor], parameter: nn.Parameter) -> None:
    steps, mean, square = moments
    if steps.numel() != 1 or mean.shape != parameter.shape or square.shape != parameter.shape:
        raise ValueError(f"{name} is of another shape")
    if float(steps) < 0 or bool((square < 0).any()):
        raise ValueError(f"{name} is negative")


def _placed(network: _Network, device: torch.device) -> _Network:
    """On the device, channels last, which takes a tenth off a step on a CPU."""
    move: Any = network.to
    move(device=device)
    move(memory_format=torch.channels_last)
    return network


def _move(adam: torch.optim.Adam, loss: Tensor, network: nn.Module, synchronise: Synchronise | None) -> None:
    """Move a network's weights by the gradient of its loss."""
    adam.zero_grad(set_to_none=True)
    loss.backward()
    if synchronise:
        synchronise(network.parameters())
    adam.step()


@torch.no_grad()
def _follow(mean: nn.Module, network: nn.Module, share: float | Tensor) -> None:
    """The running mean moves by this share towards the weights."""
    kept, new = list(mean.parameters()), list(network.parameters())
    if isinstance(share, Tensor):  # a few launches for all of them
        every: Any = torch  # whose annotations know these as internal
        every._foreach_add_(kept, every._foreach_mul(every._foreach_sub(new, kept), share))
        return
    for one, other in zip(kept, new, strict=True):
        one.lerp_(other, share)
