"""The metrics, one a file, and the tables that say what each is; importing them loads no torch."""

from idemodel.metrics.fid import frechet_distance, load_inception
from idemodel.metrics.fsim import fsim
from idemodel.metrics.gmsd import gmsd
from idemodel.metrics.kinds import Description, Metric, NetworkMetric, SetMetric
from idemodel.metrics.lpips import load_lpips
from idemodel.metrics.ms_ssim import ms_ssim
from idemodel.metrics.scoot import scoot
from idemodel.metrics.ssim import ssim
from idemodel.metrics.table import DESCRIPTIONS, METRICS, NETWORK_METRICS, SET_METRICS
from idemodel.metrics.vif import vif

__all__ = [
    "DESCRIPTIONS",
    "METRICS",
    "NETWORK_METRICS",
    "SET_METRICS",
    "Description",
    "Metric",
    "NetworkMetric",
    "SetMetric",
    "frechet_distance",
    "fsim",
    "gmsd",
    "load_inception",
    "load_lpips",
    "ms_ssim",
    "scoot",
    "ssim",
    "vif",
]
