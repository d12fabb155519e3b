"""Pairs of series at lags: where they depend most, whether they do, how much, and which says more of the other."""

from mmg_ray.estimator.lags.scan import LagEstimates, LagSettings, cost, is_dense, scan_tile
from mmg_ray.estimator.lags.series import Series

__all__ = ["LagEstimates", "LagSettings", "Series", "cost", "is_dense", "scan_tile"]
