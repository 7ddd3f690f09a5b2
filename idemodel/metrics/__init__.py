"""The table of metrics, a row each in the order in which reports show them; importing it loads no torch.

A metric is a module of this folder and a row of the table: everything else (the command, the reports, the JSON and CSV
files) takes names, labels and kinds from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from idemodel.metrics.fid import FID, frechet_distance, load_inception
from idemodel.metrics.fsim import FSIM, fsim
from idemodel.metrics.gmsd import GMSD, gmsd
from idemodel.metrics.kinds import Description, Metric, NetworkMetric, PairMetric, SetMetric
from idemodel.metrics.lpips import LPIPS, load_lpips
from idemodel.metrics.ms_ssim import MS_SSIM, ms_ssim
from idemodel.metrics.psnr import PSNR, psnr
from idemodel.metrics.scoot import SCOOT, scoot
from idemodel.metrics.ssim import SSIM, ssim
from idemodel.metrics.vif import VIF, vif

__all__ = [
    "DESCRIPTIONS",
    "METRICS",
    "NETWORK_METRICS",
    "SET_METRICS",
    "WITH_WEIGHTS",
    "Description",
    "Metric",
    "NetworkMetric",
    "PairMetric",
    "SetMetric",
    "frechet_distance",
    "fsim",
    "gmsd",
    "load_inception",
    "load_lpips",
    "ms_ssim",
    "psnr",
    "scoot",
    "ssim",
    "vif",
]

DESCRIPTIONS: Mapping[str, Metric | NetworkMetric | SetMetric] = MappingProxyType(
    {metric.name: metric for metric in (SSIM, MS_SSIM, FSIM, VIF, GMSD, SCOOT, PSNR, LPIPS, FID)}
)
METRICS: Mapping[str, Metric] = MappingProxyType(
    {name: metric for name, metric in DESCRIPTIONS.items() if isinstance(metric, Metric)}
)
NETWORK_METRICS: Mapping[str, NetworkMetric] = MappingProxyType(
    {name: metric for name, metric in DESCRIPTIONS.items() if isinstance(metric, NetworkMetric)}
)
SET_METRICS: Mapping[str, SetMetric] = MappingProxyType(
    {name: metric for name, metric in DESCRIPTIONS.items() if isinstance(metric, SetMetric)}
)
WITH_WEIGHTS: Mapping[str, NetworkMetric | SetMetric] = MappingProxyType(
    {name: metric for name, metric in DESCRIPTIONS.items() if not isinstance(metric, Metric)}
)
