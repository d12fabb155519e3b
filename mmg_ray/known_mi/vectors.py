"""Vector pairs with elliptical joint laws: MI in closed form."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln

from mmg_ray.known_mi.task import Array, Task


def multinormal(name: str, covariance: Array, dim_x: int) -> Task:
    """(X, Y) ~ N(0, C), X the first ``dim_x`` coordinates: I = 1/2 log |C_x| |C_y| / |C|."""

    def log_det(block: Array) -> float:
        return float(np.linalg.slogdet(block)[1])

    x, y = covariance[:dim_x, :dim_x], covariance[dim_x:, dim_x:]
    root = np.linalg.cholesky(covariance)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        drawn = rng.standard_normal((n, len(covariance))) @ root.T
        return drawn[:, :dim_x], drawn[:, dim_x:]

    return Task(name, 0.5 * (log_det(x) + log_det(y) - log_det(covariance)), sample)


def dense(dim: int, rho: float = 0.5) -> Task:
    """Every two of the 2 ``dim`` coordinates have the correlation ``rho``."""
    covariance = np.full((2 * dim, 2 * dim), rho) + (1 - rho) * np.eye(2 * dim)
    return multinormal(f"normal {dim}x{dim}, all {rho:g}", covariance, dim)


def paired(dim: int, rho: float, n_pairs: int) -> Task:
    """x_k and y_k have the correlation ``rho`` for k < ``n_pairs``; all else is independent."""
    covariance = np.eye(2 * dim)
    k = np.arange(n_pairs)
    covariance[k, dim + k] = covariance[dim + k, k] = rho
    return multinormal(f"normal {dim}x{dim}, {n_pairs} pairs of {rho:g}", covariance, dim)


def student_vectors(dim: int, df: float) -> Task:
    """Uncorrelated Student-t in 2 ``dim`` dimensions: a common random scale is all that ties X to Y.

    I = 2 h(t_dim) - h(t_2dim) (Arellano-Valle et al. 2013, eq. 7; Czyz et al. 2023).
    """

    def entropy(d: int) -> float:
        half = 0.5 * (df + d)
        log_norm = gammaln(0.5 * df) - gammaln(half) + 0.5 * d * np.log(df * np.pi)
        return float(log_norm + half * (digamma(half) - digamma(0.5 * df)))

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        drawn = rng.standard_normal((n, 2 * dim)) / np.sqrt(rng.chisquare(df, (n, 1)) / df)
        return drawn[:, :dim], drawn[:, dim:]

    return Task(f"student {dim}x{dim} df={df:g}", 2 * entropy(dim) - entropy(2 * dim), sample)
