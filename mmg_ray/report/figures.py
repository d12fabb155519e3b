"""Figures of a run. Needs the extra `plots` (matplotlib); everything else of the package does without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from mmg_ray.errors import MMGError
from mmg_ray.store.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_VARIABLES = 3000  # beyond it a cell is smaller than a pixel, and clustering takes minutes
_MOST_LABELS = 60


def heat_map(run: Run) -> Figure:
    """The MI matrix with similar variables side by side; cells without a value are grey.

    Variables are ordered by average-linkage clustering under the distance
    exp(-MI) = sqrt(1 - rho^2) of the Gaussian pair with the same MI.
    """
    try:
        from matplotlib.colors import PowerNorm
        from matplotlib.figure import Figure
    except ImportError:
        raise MMGError(
            "figures need matplotlib, which is not installed; pip install 'mmg-ray[plots]'"
        ) from None
    n = run.manifest.n_variables
    if n > _MOST_VARIABLES:
        raise MMGError(
            f"{run.url} has {n:,} variables; a heat map shows at most {_MOST_VARIABLES:,}. "
            f"`mmg-ray edges {run.url} --top 100` lists the strongest pairs"
        )
    mi = np.asarray(run.matrix()[:], dtype=np.float64)
    order = cluster_order(mi)
    names = [run.names[k] for k in order]
    size = float(np.clip(0.28 * n, 4.5, 12.0))
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("0.85")
    # by the square root, which is about |rho|: most pairs are far below the strongest
    scale = PowerNorm(0.5, vmin=0)
    image = axes.imshow(
        mi[np.ix_(order, order)], cmap="viridis", norm=scale, interpolation="nearest"
    )
    figure.colorbar(image, ax=axes, label="mutual information, nats", shrink=0.8)
    if n <= _MOST_LABELS:
        axes.set_xticks(range(n), names, rotation=90)
        axes.set_yticks(range(n), names)
    axes.set_title(f"{n:,} variables, {run.manifest.n_samples:,} samples")
    return figure


def cluster_order(mi: np.ndarray) -> np.ndarray:
    """(V, V) MI in nats, NaN where there is none -> (V,) variables with similar ones adjacent."""
    if len(mi) < 3:
        return np.arange(len(mi))
    distance = np.exp(-np.nan_to_num(mi, nan=0.0))
    np.fill_diagonal(distance, 0.0)
    return np.asarray(leaves_list(linkage(squareform(distance), "average", optimal_ordering=True)))
