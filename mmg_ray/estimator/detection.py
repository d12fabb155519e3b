"""Do two variables that are nearly always at one value leave it together? Genes found in few cells.

Ties broken at random keep the screen's null exact, and hide such pairs: of ranks that differ, nearly
all differ by chance. What there is to see is how many samples have both away from their value, which
under independence is hypergeometric (Fisher 1935), whatever the rest. One number between the tails, the
share of the observed count itself, is drawn as the screen draws ties, so that p-values are uniform
under independence and not just valid. The MI of being away is a lower bound of that of the variables,
and for rare ones close to it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from mmg_ray.estimator.batch import shrunk

NAME = "detection"
RARE = 0.2  # of the samples at most are away from the value that is most frequent
_PRECISION = 1e-12


def away(codes: np.ndarray) -> np.ndarray | None:
    """(n,) true where complete codes are not at their most frequent value; None unless this is rare."""
    counts = np.bincount(codes)
    if codes.size - counts.max() > RARE * codes.size:
        return None
    found: np.ndarray = codes != counts.argmax()
    return found


def p_values(
    both: np.ndarray, a: np.ndarray, b: np.ndarray, n: int, within: np.ndarray
) -> np.ndarray:
    """Two-sided, of so many samples of n away in both variables, as they are in a and in b of them.

    Args:
        both, a, b: (P,) counts. within: (P,) uniform in (0, 1).
    """
    both, a, b = (np.asarray(v, dtype=np.float64) for v in (both, a, b))
    log_share = _log_choose(a, both) + _log_choose(n - a, b - both) - _log_choose(n, b)
    share = np.exp(log_share)
    upward = both * n >= a * b
    # terms from the observed count away from the mean, in units of the first
    term, total, k = np.ones_like(share), np.zeros_like(share), both.copy()
    while (term > _PRECISION * (1 + total)).any():
        up = (a - k) * (b - k) / ((k + 1) * (n - a - b + k + 1))
        down = k * (n - a - b + k) / ((a - k + 1) * (b - k + 1))
        term = term * np.where(upward, up, down)
        total += term
        k += np.where(upward, 1, -1)
        k = np.where(term > 0, k, both)
    tail = share * (total + within)
    return np.clip(2 * np.minimum(tail, 1 - tail), 1e-300, 1.0)


def mutual_information(
    both: np.ndarray, a: np.ndarray, b: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """MI of the 2 x 2 tables and its standard error, nats, (P,); counts as in `p_values`.

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


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    found: np.ndarray = gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.subtract(n, k) + 1)
    return found
