"""How much do two variables say of each other by leaving their commonest values together? Genes found in few cells.

Of variables that nearly always have one value, smooth functions of ranks show little: what there is lies in
one corner of the table. The MI of being away from the commonest value is a lower bound of that of the
variables, and for rare ones close to it.
"""

from __future__ import annotations

import numpy as np

from mmg_ray.estimator.pairs.estimates import shrunk

NAME = "co-detection"


def mutual_information(
    both: np.ndarray, a: np.ndarray, b: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """MI of 2 x 2 tables and its standard error, nats, (P,): of so many samples of n away in both
    variables, as they are in a and in b of them.

    Bias and error as of any table, see `table.mutual_information`.
    """
    share = np.stack([both, a - both, b - both, n - a - b + both]) / n
    of_a, of_b = a / n, b / n
    expected = np.stack(
        [of_a * of_b, of_a * (1 - of_b), (1 - of_a) * of_b, (1 - of_a) * (1 - of_b)]
    )
    ratio = np.log(np.where(share > 0, share, 1.0) / np.where(share > 0, expected, 1.0))
    plug_in = (share * ratio).sum(axis=0)
    variance = np.maximum((share * ratio**2).sum(axis=0) - plug_in**2 - 1 / n, 0.0) / n + 0.5 / n**2
    return shrunk(plug_in - 0.5 / n, np.sqrt(2.0) / n), np.sqrt(variance)
