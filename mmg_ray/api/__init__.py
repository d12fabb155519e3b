"""MI of arrays in this process: no configuration file, no Ray, nothing stored."""

from mmg_ray.api.pair import estimate_mi, independence_test, mmse_gap, transfer_entropy
from mmg_ray.api.scikit import MMGEstimator

__all__ = [
    "MMGEstimator",
    "estimate_mi",
    "independence_test",
    "mmse_gap",
    "transfer_entropy",
]
