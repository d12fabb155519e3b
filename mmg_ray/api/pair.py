"""One pair of arrays: MI, transfer entropy, a test of independence, the curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from mmg_ray.api.arguments import settings_of, together
from mmg_ray.arrays.variables import (
    both_named,
    codes_of,
    condition_of,
    dense,
    is_one_label,
    variable,
)
from mmg_ray.config import EstimatorConfig, NullConfig
from mmg_ray.errors import DataError
from mmg_ray.estimator.conditional.conditioner import Conditioner
from mmg_ray.estimator.conditional.pairs import estimate_given, estimate_labels
from mmg_ray.estimator.dependence import nulls
from mmg_ray.estimator.pairs.tables import tabulate
from mmg_ray.estimator.ranks.marginals import MISSING
from mmg_ray.estimator.ranks.ranked_variable import RankCache
from mmg_ray.estimator.tiers.spline.denoiser import gap_curve
from mmg_ray.execute.numerics import library_threads
from mmg_ray.execute.task import device_of
from mmg_ray.schema import PairEstimate


def estimate_mi(
    x: Any,
    y: Any,
    *,
    condition: Any = None,
    denoiser: str | None = None,
    seed: int | None = None,
    config: EstimatorConfig | None = None,
    n_jobs: int = 1,
) -> PairEstimate:
    """Mutual information of two variables, in nats; given a third one, I(X; Y | C).

    Args:
        x: (n,) samples of a scalar variable or (n, p) of a vector: numbers, or labels (text, pandas
            categories), whose order does not matter. Arrays, masked or sparse ones, Series,
            DataFrames, tensors, xarray, Arrow or polars tables. Missing are NaN, None, NA, NaT, masked and,
            with a warning, infinite values.
        y: (n,) or (n, q), the same samples. What has sample labels (an index) is matched by
            label and refused if the labels differ; anything else goes by position.
        condition: what is known beside them: (n,) or (n, r) numbers, (n,) labels (text, booleans or
            categories), or several such columns as a dict or a DataFrame. One that has one value,
            or repeats another, says nothing and is left out with a warning.
        denoiser: a name from `DENOISERS`, over the configuration's ("auto").
        seed: of every random number, over the configuration's (0); the same seed gives the same
            result to the bit.
        config: all settings of the estimator.
        n_jobs: threads of the numerical libraries, -1 for all cores. One gives the same bits as a
            run does, and is the fastest for most; more change the last digits.

    Returns:
        The estimate: ``mi_nats``, ``se_nats``, both directions, the direct (``gap``) and
        orthogonal forms, and ``status``; ``mi_nats`` is None unless the status is ok.

    Raises:
        DataError: the arrays hold neither numbers nor labels, are not 1-D or 2-D, or are not of the
            same samples; a condition without a value, or with a label of its own for every sample.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 500))
        >>> r = mmg_ray.estimate_mi(x, 0.8 * x + 0.6 * e, denoiser="gaussian")
        >>> round(r.mi_nats, 2), r.status.value
        (0.56, 'ok')
    """
    tables = together(x=x, y=y, condition=condition)
    settings = settings_of(config, denoiser, seed)
    given = condition_of(tables.pop("condition", None), settings)
    columns = {name: list(table.read()) for name, table in tables.items()}
    if any(is_one_label(found) for found in columns.values()):
        named = both_named(
            {k: codes_of(found, tables[k], as_groups=False) for k, found in columns.items()}
        )
        variables = dict(enumerate(named.values()))
        nothing = Conditioner.nothing(tables["x"].n, settings.seed)
        with library_threads(n_jobs):
            in_table = estimate_labels(variables, (0, 1), given or nothing, settings)
        if in_table is not None:
            return in_table[0]
    named = both_named({k: codes_of(found, tables[k]) for k, found in columns.items()})
    variables = dict(enumerate(named.values()))
    with library_threads(n_jobs):
        (result,) = estimate_given(variables, [(0, 1)], given, settings, device_of("auto"))
    for name, side in named.items():
        result = replace(result, message=result.message.replace(side.name, name))
    return result


def transfer_entropy(
    x: Any,
    y: Any,
    lags: int | Sequence[int] = 1,
    *,
    own_lags: int | Sequence[int] | None = None,
    condition: Any = None,
    denoiser: str | None = None,
    seed: int | None = None,
    config: EstimatorConfig | None = None,
    n_jobs: int = 1,
) -> PairEstimate:
    """What the past of x says of y that y's own past does not: I(Y_t; X_past | Y_past), in nats.

    X_past = (X_{t-l} for l in `lags`), Y_past = (Y_{t-l} for l in `own_lags`). The other way round
    is a call with x and y exchanged. The p-value, where there is one (one lag of a scalar), holds
    if `own_lags` go far enough back for y to have no memory beyond them.

    Args:
        x, y: (n,) or (n, p) series at the same, equally spaced times; missing values are NaN.
        lags: steps back, 1 or more each.
        own_lags: default all from 1 to the largest of `lags`.
        condition: other series that are known as well, at time t; see `estimate_mi`.
        denoiser, seed, config, n_jobs: as in `estimate_mi`.

    Raises:
        DataError: as `estimate_mi`, or lags that are not positive or reach beyond the series.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, y = np.random.default_rng(0).standard_normal((2, 2000))
        >>> y[1:] += 2 * x[:-1]
        >>> round(mmg_ray.transfer_entropy(x, y).mi_nats, 1)
        0.8
    """
    tables = together(x=x, y=y, condition=condition)
    a, b = tables["x"].numbers(), tables["y"].numbers()
    back = _lags(lags, "lags", len(a))
    own = (
        tuple(range(1, max(back) + 1)) if own_lags is None else _lags(own_lags, "own_lags", len(a))
    )
    start = max(*back, *own)
    known: dict[str, Any] = {"past": _lagged(b, own, start)}
    if "condition" in tables:
        others = tables["condition"]
        for k, column in enumerate(others.read()):
            known[others.called(k)] = column._replace(values=column.values[start:])
    return estimate_mi(
        _lagged(a, back, start),
        b[start:],
        condition=known,
        denoiser=denoiser,
        seed=seed,
        config=config,
        n_jobs=n_jobs,
    )


def _lags(lags: int | Sequence[int], name: str, n_samples: int) -> tuple[int, ...]:
    found = tuple(sorted({int(lag) for lag in np.atleast_1d(np.asarray(lags))}))
    if not found or found[0] < 1 or found[-1] >= n_samples:
        raise DataError(
            f"{name} is {lags!r}; it must be steps back from 1 to {n_samples - 1}, for example [1, 2]"
        )
    return found


def _lagged(series: np.ndarray, lags: Sequence[int], start: int) -> np.ndarray:
    """(n, p) -> (n - start, p L): the values `lags` steps before times start, start + 1, ..."""
    return np.concatenate([series[start - lag : len(series) - lag] for lag in lags], axis=1)


def independence_test(
    x: Any,
    y: Any,
    *,
    kind: Literal["permutation", "shift", "block"] = "permutation",
    max_permutations: int = 9999,
    block_samples: int | None = None,
    seed: int = 0,
) -> nulls.NullTest:
    """Test whether two variables, scalars or vectors, are independent, by permutations alone.

    `estimate_mi` and runs make the same test where it is needed, see `estimator.nulls` of the
    configuration; of independent samples of scalars they have an exact p-value, which this has not.

    Args:
        x: (n,) or (n, p). y: (n,) or (n, q); samples with a missing value are left out.
        kind: "permutation", any order of the samples; "shift", time series circularly shifted against one
            another; "block", blocks of a series, or trials, in any order.
        max_permutations: most that are drawn; pairs that are plainly independent stop early.
        block_samples: of a block or trial; default ten correlation times.

    Returns:
        ``p_value`` = (1 + b) / (1 + B), ``n_shifts`` = B, ``n_effective`` samples of a series.

    Raises:
        DataError: as `estimate_mi`, or a variable is constant.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, y = np.random.default_rng(0).standard_normal((2, 500, 3))
        >>> mmg_ray.independence_test(x, y).p_value > 0.01
        True
        >>> mmg_ray.independence_test(x, y + 0.3 * x).p_value < 0.001
        True
    """
    codes = [codes_of(list(table.read()), table) for table in together(x=x, y=y).values()]
    both = (np.concatenate(codes, axis=1) != MISSING).all(axis=1)
    left, right = (RankCache(seed).of(variable(dense(side[both]))) for side in codes)
    if not (left.varies and right.varies):
        raise DataError(f"in the {int(both.sum())} complete samples x or y is constant")
    cfg = NullConfig(kind=kind, max_permutations=max_permutations, block_samples=block_samples)
    with library_threads():
        return nulls.test(left, right, cfg, seed)


def mmse_gap(x: Any, y: Any, logsnr: Any = None, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The curve whose area is the MI: how much knowing y helps to denoise x, by noise level.

    I = 1/2 Int gap(logsnr) dlogsnr, with gap = E|eps - eps_hat(z)|^2 - E|eps - eps_hat(z, y)|^2 for
    x as its normal score (Yu et al., arXiv 2509.20609). Estimated in closed form on held-out
    samples, a lower bound up to sampling noise.

    Args:
        x: (n,) the denoised variable. y: (n,) the one that is known; missing values are NaN.
        logsnr: (K,) noise levels; default 33 from -6 to 10.

    Returns:
        logsnr (K,) and gap (K,).

    Raises:
        DataError: the arrays are not two scalar variables, or too few samples have both.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 1000))
        >>> logsnr, gap = mmg_ray.mmse_gap(x**2 + e, x)
        >>> round(float(np.trapezoid(gap, logsnr)) / 2, 1)  # of an exact MI of 0.43 nats
        0.4
    """
    a, b = (table.numbers() for table in together(x=x, y=y).values())
    if a.shape != b.shape or a.shape[1] != 1:
        raise DataError(f"mmse_gap takes two (n,) arrays; got shapes {a.shape} and {b.shape}")
    both = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    sides = RankCache(seed)
    target, source = (
        sides.of(variable(dense(values[both]), name)) for name, values in (("x", a), ("y", b))
    )
    cfg = EstimatorConfig(seed=seed)
    if target.n < cfg.min_samples or not (target.varies and source.varies):
        raise DataError(
            f"{target.n} samples have both values, of {cfg.min_samples} needed, or one of the "
            "variables is constant there"
        )
    levels = np.linspace(-6, 10, 33) if logsnr is None else np.atleast_1d(np.asarray(logsnr, float))
    with library_threads():
        return levels, gap_curve(tabulate([(target, source)]), levels)
