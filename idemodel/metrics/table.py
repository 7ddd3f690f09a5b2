"""The tables of metrics by name, in the order in which reports show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from idemodel.metrics.fid import FID
from idemodel.metrics.fsim import FSIM
from idemodel.metrics.gmsd import GMSD
from idemodel.metrics.kinds import Description, Metric, NetworkMetric, SetMetric
from idemodel.metrics.lpips import LPIPS
from idemodel.metrics.ms_ssim import MS_SSIM
from idemodel.metrics.scoot import SCOOT
from idemodel.metrics.ssim import SSIM
from idemodel.metrics.vif import VIF

_Kind = TypeVar("_Kind", bound=Description)


def _by_name(metrics: Iterable[_Kind]) -> Mapping[str, _Kind]:
    return MappingProxyType({metric.name: metric for metric in metrics})


METRICS: Mapping[str, Metric] = _by_name((SSIM, MS_SSIM, FSIM, VIF, GMSD, SCOOT))
NETWORK_METRICS: Mapping[str, NetworkMetric] = _by_name((LPIPS,))
SET_METRICS: Mapping[str, SetMetric] = _by_name((FID,))
DESCRIPTIONS: Mapping[str, Description] = _by_name(
    (*METRICS.values(), *NETWORK_METRICS.values(), *SET_METRICS.values())
)
