"""MI of all pairs of variables in this process, as matrices, edges, networks and a report."""

from mmg_ray.matrices.estimate import mi_matrix
from mmg_ray.matrices.matrix import MIMatrix

__all__ = ["MIMatrix", "mi_matrix"]
