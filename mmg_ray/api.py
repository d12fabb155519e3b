"""MI of arrays in this process: no configuration file, no Ray, nothing stored."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mmg_ray.config import EstimatorConfig, NullConfig
from mmg_ray.errors import DataError
from mmg_ray.estimator import nulls
from mmg_ray.estimator.conditional_ranks import Condition, label_codes
from mmg_ray.estimator.denoisers import denoiser as denoiser_named
from mmg_ray.estimator.given import Given, estimate_given
from mmg_ray.estimator.marginals import MISSING, ordinal_codes
from mmg_ray.estimator.sides import Sides, stack
from mmg_ray.estimator.spline.denoiser import gap_curve
from mmg_ray.execute.progress import Tally, progress
from mmg_ray.execute.task import device_of
from mmg_ray.plan.pairs import all_pairs
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import PairEstimate, PairEstimates, Receipt, Status, Variable
from mmg_ray.store.shards import edge_table
from mmg_ray.store.sources.table import default_names


def estimate_mi(
    x: Any,
    y: Any,
    *,
    condition: Any = None,
    denoiser: str | None = None,
    seed: int | None = None,
    config: EstimatorConfig | None = None,
) -> PairEstimate:
    """Mutual information of two variables, in nats; given a third one, I(X; Y | C).

    Args:
        x: (n,) samples of a scalar variable or (n, p) of a vector; missing values are NaN.
        y: (n,) or (n, q), the same samples in the same order.
        condition: what is known beside them: (n,) or (n, r) numbers, (n,) labels (text or
            booleans), or several such columns as a dict or a DataFrame.
        denoiser: a name from `DENOISERS`, over the configuration's ("auto").
        seed: of every random number, over the configuration's (0); the same seed gives the same
            result to the bit.
        config: all settings of the estimator.

    Returns:
        The estimate: ``mi_nats``, ``se_nats``, both directions, the direct (``gap``) and
        orthogonal forms, and ``status``; ``mi_nats`` is None unless the status is ok.

    Raises:
        DataError: the arrays are not numeric, not 1-D or 2-D, or of different lengths.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 500))
        >>> r = mmg_ray.estimate_mi(x, 0.8 * x + 0.6 * e, denoiser="gaussian")
        >>> round(r.mi_nats, 2), r.status.value
        (0.56, 'ok')
    """
    a, b = _samples(x, "x"), _samples(y, "y")
    if len(a) != len(b):
        raise DataError(f"x has {len(a)} samples and y has {len(b)}; pass the same samples of both")
    # named by content: the streams, and so the result, do not depend on which one comes first
    named = {name: _variable(_codes(values)) for name, values in (("x", a), ("y", b))}
    if named["x"].name == named["y"].name:  # equal variables have their ties broken apart, too
        named["y"] = replace(named["y"], name=f"{named['y'].name}, again")
    variables = dict(enumerate(named.values()))
    settings = _config(config, denoiser, seed)
    (result,) = _estimator(condition, len(a), settings)(variables, [(0, 1)])
    for name, variable in named.items():
        result = replace(result, message=result.message.replace(variable.name, name))
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
        denoiser, seed, config: as in `estimate_mi`.

    Raises:
        DataError: as `estimate_mi`, or lags that are not positive or reach beyond the series.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, y = np.random.default_rng(0).standard_normal((2, 2000))
        >>> y[1:] += x[:-1]
        >>> round(mmg_ray.transfer_entropy(x, y).mi_nats, 1)
        0.4
    """
    a, b = _samples(x, "x"), _samples(y, "y")
    if len(a) != len(b):
        raise DataError(f"x has {len(a)} samples and y has {len(b)}; pass series of the same times")
    back = _lags(lags, "lags", len(a))
    own = (
        tuple(range(1, max(back) + 1)) if own_lags is None else _lags(own_lags, "own_lags", len(a))
    )
    start = max(*back, *own)
    known = {"past": _lagged(b, own, start)}
    if condition is not None:
        named = hasattr(condition, "columns") or isinstance(condition, Mapping)
        for name in condition if named else [0]:
            column = np.asarray(condition[name] if named else condition)
            known[f"condition {name}"] = column[start:] if len(column) == len(a) else column
    return estimate_mi(
        _lagged(a, back, start),
        b[start:],
        condition=known,
        denoiser=denoiser,
        seed=seed,
        config=config,
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
        kind: "permutation", any order of the samples; "shift", time series turned against one
            another; "block", blocks of a series, or trials, in any order.
        max_permutations: most that are spent; they go to pairs that hold out.
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
    a, b = _samples(x, "x"), _samples(y, "y")
    if len(a) != len(b):
        raise DataError(f"x has {len(a)} samples and y has {len(b)}; pass the same samples of both")
    both = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    left, right = (Sides(seed).of(_variable(_codes(values[both]))) for values in (a, b))
    if not (left.varies and right.varies):
        raise DataError(f"in the {int(both.sum())} complete samples x or y is constant")
    cfg = NullConfig(kind=kind, max_permutations=max_permutations, block_samples=block_samples)
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
    a, b = _samples(x, "x"), _samples(y, "y")
    if a.shape != b.shape or a.shape[1] != 1:
        raise DataError(f"mmse_gap takes two (n,) arrays; got shapes {a.shape} and {b.shape}")
    both = np.isfinite(a[:, 0]) & np.isfinite(b[:, 0])
    sides = Sides(seed)
    target, source = (
        sides.of(_variable(_codes(values[both]), name)) for name, values in (("x", a), ("y", b))
    )
    cfg = EstimatorConfig(seed=seed)
    if target.n < cfg.min_samples or not (target.varies and source.varies):
        raise DataError(
            f"{target.n} samples have both values, of {cfg.min_samples} needed, or one of the "
            "variables is constant there"
        )
    levels = np.linspace(-6, 10, 33) if logsnr is None else np.atleast_1d(np.asarray(logsnr, float))
    gap = gap_curve(stack([target], [source], "cpu"), cfg, levels)
    return levels, gap[0]


class EstimatesByPair(Mapping[tuple[int, int], PairEstimate]):
    """All that is known of each pair (i, j), i < j, of V variables; a row is made when asked for.

    Attributes:
        pairs: (P, 2) every pair, sorted.
        columns: their estimates, a column a field.
    """

    def __init__(self, n_variables: int, columns: PairEstimates) -> None:
        self.pairs = np.stack(np.triu_indices(n_variables, k=1), axis=1)
        self.columns = columns
        self._n_variables = n_variables

    def __getitem__(self, pair: tuple[int, int]) -> PairEstimate:
        i, j = pair
        if not 0 <= i < j < self._n_variables:
            raise KeyError(pair)
        # the rows before i hold (V - 1) + ... + (V - i) pairs
        return self.columns[i * (2 * self._n_variables - i - 1) // 2 + j - i - 1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return map(tuple, self.pairs.tolist())

    def __len__(self) -> int:
        return len(self.pairs)

    def matrix(self, name: str) -> np.ndarray:
        """(V, V) one of the numbers of each pair, symmetric; NaN where there is none."""
        values = np.full((self._n_variables, self._n_variables), np.nan)
        i, j = self.pairs.T
        values[i, j] = values[j, i] = getattr(self.columns, name)
        return values


@dataclass(frozen=True, repr=False)
class MIMatrix:
    """MI of all pairs of V variables.

    Attributes:
        names: (V,) names of the variables.
        mi: (V, V) nats, symmetric; NaN on the diagonal and where there is no value.
        se: (V, V) standard errors, nats.
        p_value: (V, V) of independence.
        estimates: all that is known of each pair: ``estimates[i, j]``, i < j, or a column at a time.
    """

    names: list[str]
    mi: np.ndarray
    se: np.ndarray
    p_value: np.ndarray
    estimates: EstimatesByPair

    def to_edges(self) -> pa.Table:
        """One row per pair, with the columns of `schema.EDGE_COLUMNS`; `.to_pandas()` works."""
        return edge_table(self.names, self.estimates.pairs, self.estimates.columns)

    def _repr_html_(self) -> str:
        """For notebooks: what it is and its ten strongest pairs."""
        columns = self.estimates.columns
        first = np.argsort(-np.nan_to_num(columns.mi_nats, nan=-1.0), kind="stable")[:10]
        first = first[columns.ok[first]]
        rows = "".join(
            f"<tr><td>{html.escape(str(self.names[i]))}</td><td>{html.escape(str(self.names[j]))}</td>"
            f"<td>{e.mi_nats:.4f} ± {e.se_nats:.4f}</td><td>{e.p_value:.3g}</td></tr>"
            for (i, j), e in zip(self.estimates.pairs[first], columns.take(first), strict=True)
        )
        head = "<tr><th>source</th><th>target</th><th>MI, nats</th><th>p_value</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{head}{rows}</table>"

    def __repr__(self) -> str:
        n_ok = self.estimates.columns.ok.sum()
        return f"MIMatrix({len(self.names)} variables, {n_ok} of {len(self.estimates)} pairs ok)"


def mi_matrix(
    data: Any,
    names: Sequence[str] | None = None,
    *,
    condition: Any = None,
    denoiser: str | None = None,
    seed: int | None = None,
    config: EstimatorConfig | None = None,
    show_progress: bool = False,
) -> MIMatrix:
    """Mutual information of all pairs of columns.

    Args:
        data: (n, V) samples x variables, an array or a pandas DataFrame; missing values are NaN
            and cost only the pairs they are in.
        names: (V,) unique names; default the DataFrame's columns, or v0, v1, ...
        condition: as in `estimate_mi`: every pair is estimated given it.
        denoiser, seed, config: as in `estimate_mi`.
        show_progress: a bar on a terminal, log lines elsewhere.

    Raises:
        DataError: the table is not numeric, not 2-D, or its names are not unique.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 500))
        >>> m = mmg_ray.mi_matrix(np.stack([x, e, x + e], axis=1), ["x", "e", "sum"])
        >>> m
        MIMatrix(3 variables, 3 of 3 pairs ok)
        >>> bool(m.p_value[0, 1] > 0.01), bool(m.p_value[0, 2] < 1e-6)
        (True, True)
    """
    if names is None and hasattr(data, "columns"):
        names = [str(name) for name in data.columns]
    values = _samples(data, "data")
    names = default_names(values.shape[1]) if names is None else list(names)
    if len(names) != values.shape[1] or len(set(names)) != len(names):
        raise DataError(
            f"{values.shape[1]} columns need as many different names; got {len(names)}, "
            f"{len(set(names))} of them different"
        )
    settings = _config(config, denoiser, seed)
    variables = {k: _variable(_codes(values[:, k, None]), name) for k, name in enumerate(names)}
    estimate = _estimator(condition, len(values), settings)
    size = denoiser_named(settings.denoiser).tile_variables
    pairs = all_pairs(len(names))
    n_tiles = len(pairs.tiles(size)[0])
    plan = Plan(pairs, size, np.arange(n_tiles + 1))  # a tile a shard: all it is for is the bar
    tile_pairs = [plan.tile_pairs(tile) for tile in range(n_tiles)]
    found = [PairEstimates.from_rows([])]  # one variable has no tile
    tally = Tally(plan.n_shards, plan.n_pairs)
    with progress(tally) if show_progress else nullcontext(lambda: None) as show:
        for tile, rows in enumerate(tile_pairs):
            found.append(estimate(variables, rows))
            tally.add(Receipt(tile, len(rows), int((~found[-1].ok).sum())))
            show()
    i, j = np.concatenate([np.empty((0, 2), dtype=np.int64), *tile_pairs]).T
    columns = PairEstimates.concatenate(found).take(np.lexsort([j, i]))
    estimates = EstimatesByPair(len(names), columns)
    mi, se, p_value = (estimates.matrix(name) for name in ("mi_nats", "se_nats", "p_value"))
    return MIMatrix(names, mi, se, p_value, estimates)


class MMGEstimator:
    """The estimator protocol of MI benchmarks: ``MMGEstimator().estimate(X, Y)`` is a float.

    Denoisers are cross-fitted on the samples given, so nothing carries over between calls.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 500, 1))
        >>> round(mmg_ray.MMGEstimator("gaussian").estimate(x, 0.8 * x + 0.6 * e), 1)
        0.6
    """

    def __init__(
        self,
        denoiser: str | None = None,
        seed: int | None = None,
        config: EstimatorConfig | None = None,
    ) -> None:
        self.config = _config(config, denoiser, seed)
        self.result: PairEstimate | None = None

    def fit(self, X: Any, Y: Any) -> MMGEstimator:
        """Estimate; everything found is in ``result``."""
        self.result = estimate_mi(X, Y, config=self.config)
        return self

    def estimate(self, X: Any, Y: Any) -> float:
        """MI of (n, p) X and (n, q) Y in nats; NaN where there is none, see ``result.status``."""
        result = self.fit(X, Y).result
        return float("nan") if result is None or result.mi_nats is None else result.mi_nats


def _estimator(
    condition: Any, n_samples: int, cfg: EstimatorConfig
) -> Callable[..., PairEstimates]:
    """What estimates pairs of variables: (variables, pairs) -> their estimates, given the condition."""
    given = None if condition is None else Given(_condition(condition, n_samples), cfg.seed)
    return partial(estimate_given, given=given, cfg=cfg, device=device_of("auto"))


def _condition(values: Any, n_samples: int) -> Condition:
    """Numbers and labels as the estimator takes them; named by content, as variables are."""
    named = hasattr(values, "columns") or isinstance(values, Mapping)
    numbers: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for column in [values[name] for name in values] if named else [values]:
        array = np.asarray(column)
        if array.ndim not in (1, 2) or len(array) != n_samples:
            raise DataError(
                f"condition has shape {array.shape}; it must be ({n_samples},) or ({n_samples}, r): "
                "the samples of x and y in the same order"
            )
        array = array.reshape(n_samples, -1)
        if array.dtype.kind in "OUSb":
            labels += [label_codes(v) for v in array.T]
        else:
            numbers += list(_codes(_samples(array, "condition")).T)
    found = Condition.of("", n_samples, numbers, labels)
    content = found.codes.tobytes() + found.categories.tobytes()
    return found._replace(name=hashlib.blake2b(content, digest_size=16).hexdigest())


def _config(
    config: EstimatorConfig | None, denoiser: str | None, seed: int | None
) -> EstimatorConfig:
    settings = config or EstimatorConfig()
    return replace(
        settings,
        denoiser=settings.denoiser if denoiser is None else denoiser,
        seed=settings.seed if seed is None else seed,
    )


def _samples(values: Any, name: str) -> np.ndarray:
    """(n, p) float64; DataError for what is not a table of numbers."""
    try:
        if np.iscomplexobj(values):
            raise TypeError("it is complex")
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not numeric: {error}. Encode or drop text columns") from None
    if array.ndim not in (1, 2):
        raise DataError(f"{name} has shape {array.shape}; it must be (samples,) or (samples, p)")
    if array.size == 0:
        raise DataError(
            f"{name} has shape {array.shape}: there are no samples or no variables in it"
        )
    return array.reshape(len(array), -1)


def _codes(values: np.ndarray) -> np.ndarray:
    """(n, p) values -> (n, p) ordinal codes."""
    return np.stack([ordinal_codes(column) for column in values.T], axis=1)


def _variable(codes: np.ndarray, name: str | None = None) -> Variable:
    """A variable of (n, p) codes, named by their digest unless it has a name."""
    if name is None:
        name = hashlib.blake2b(codes.tobytes(), digest_size=16).hexdigest()
    present = codes[(codes != MISSING).all(axis=1)]
    if not len(present):
        return Variable(name, codes, Status.ALL_MISSING)
    varies = np.ptp(present, axis=0) > 0
    if not varies.any():
        return Variable(name, codes, Status.CONSTANT)
    return Variable(name, codes[:, varies])  # a coordinate that never varies says nothing
