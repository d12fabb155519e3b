"""Runs with lags: what the section asks of the estimator, and its answers as rows of the edge table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mmg_ray.config import Config, LagsConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator.cascade.denoisers import denoiser
from mmg_ray.estimator.conditional import room
from mmg_ray.estimator.conditional.conditional_ranks import Condition
from mmg_ray.estimator.conditional.lagged import LaggedPairs
from mmg_ray.estimator.conditional.over_time import functions_of
from mmg_ray.estimator.lags import LagEstimates, LagSettings, Series, cost, is_dense, scan_tile
from mmg_ray.estimator.ranks.marginals import MISSING
from mmg_ray.schema import Cost, Labels, PairEstimates, Status, Variable

# what is made of a variable serves all pairs of a tile: many for events; for series, few, so that tiles are work for many
_TILE_OF_EVENTS, _TILE_OF_SERIES = 32, 8
_SHORT = 20_000  # samples of series whose pairs take so little that many are to be estimated side by side
DENOISER = "lags"
_NEEDS = {
    "trials": "max_s",
    "jitter_s": "max_s",
    "transfer": "max_s",
    "own": "transfer",
    "max_p_value": "transfer",
}
_DEFAULTS = LagsConfig()


def check(config: Config) -> None:
    """ConfigError for what can be seen to be wrong before any work."""
    lags = config.lags
    for name, needed in _NEEDS.items():
        if getattr(lags, name) != getattr(_DEFAULTS, name) and not getattr(lags, needed):
            raise ConfigError(
                f"lags.{name} does nothing without lags.{needed}; set lags.{needed}, or leave it out"
            )
    if lags.max_s is None:
        if lags.nulls != "auto":
            raise ConfigError("lags.nulls does nothing without lags.max_s; leave it out")
        return
    if lags.most < 1:
        raise ConfigError(
            f"lags.max_s = {lags.max_s:g} s are {lags.most} samples of {lags.sample_s:g} s; it takes 1 or more"
        )
    if (lags.nulls == "jitter") != (lags.jitter_s is not None):
        raise ConfigError(
            "lags.nulls: jitter and lags.jitter_s, the width of its windows, go together"
        )
    if lags.jitter_s is not None and round(lags.jitter_s / lags.sample_s) < 2:
        raise ConfigError(
            f"lags.jitter_s = {lags.jitter_s:g} s are less than two samples of {lags.sample_s:g} s, so that nothing "
            "can be moved within a window; widen it, or cut finer samples"
        )
    for option, changed in (
        ("data.subsample", config.data.subsample is not None),
        ("data.samples", bool(config.data.samples)),
    ):
        if changed:
            raise ConfigError(
                f"{option} leaves out samples, and lags count those that follow one another; leave one of them out"
            )


def settings_of(config: Config, n_segments: int) -> LagSettings:
    """What the estimator is asked for, in samples."""
    lags = config.lags
    null = lags.nulls
    if null == "auto":
        null = "shift" if n_segments == 1 else "trial"
    if null == "trial" and n_segments == 1:
        raise ConfigError("lags.nulls is 'trial', and there is one trial; set lags.trials")
    return LagSettings(
        most=lags.most,
        null=null,
        jitter=0 if lags.jitter_s is None else round(lags.jitter_s / lags.sample_s),
        transfer=lags.transfer,
        own=lags.own,
        max_p_value=lags.max_p_value,
        seed=config.estimator.seed,
    )


def check_samples(config: Config, starts: np.ndarray, n_samples: int, dims: np.ndarray) -> None:
    """ConfigError where lags reach too far for the series or trials that there are."""
    settings = settings_of(config, len(starts))
    longest = int(np.diff(np.append(starts, n_samples)).max())
    if settings.most > longest // 2:
        raise ConfigError(
            f"lags.max_s = {config.lags.max_s:g} s are {settings.most} samples of {config.lags.sample_s:g} s, of "
            f"{longest} in a row; it takes 1 to {longest // 2}"
        )
    if config.data.conditions or (dims > 1).any():
        room.check(starts, n_samples, settings)


def tile_variables(n_samples: int, n_events: float) -> int:
    """Variables per side of a tile."""
    long = n_samples > _SHORT and is_dense(n_samples, n_events)
    return _TILE_OF_SERIES if long else _TILE_OF_EVENTS


def pair_cost(config: Config, n_samples: int, n_events: float) -> Callable[[int, int], Cost]:
    """The cost of a pair by the dimensions of its variables, given the mean number of events of one."""
    settings = settings_of(config, 2 if config.lags.trials else 1)
    own, shifts = cost(n_samples, n_events, settings), settings.null == "shift"
    of_groups = denoiser(config.estimator.denoiser).cost

    def of_pair(dim_x: int, dim_y: int) -> Cost:
        if dim_x == 0 or dim_y == 0:
            return Cost(flops=0.0, peak_bytes=0.0)
        if not config.data.conditions and dim_x == dim_y == 1:
            return own
        # transforms of all products of functions, and a denoiser's estimate at the lag
        n_x, n_y = (functions_of(dim) for dim in (dim_x, dim_y))
        scan = (1e-8 if shifts else 3e-8) * n_x * n_y * n_samples
        memory = 16.0 * n_samples * (n_x + n_y)
        if max(dim_x, dim_y) == 1:
            return Cost(flops=2e4 * n_samples, peak_bytes=memory, host_s=scan)
        estimate = of_groups(n_samples, dim_x, dim_y, config.estimator)
        return Cost(estimate.flops, max(estimate.peak_bytes, memory), estimate.host_s + scan)

    return of_pair


class _Look(NamedTuple):
    """What is asked of a variable before its pairs are: samples with a value, and whether it has lags."""

    n_samples: int
    status: Status


class LagEstimator:
    """Estimates pairs of a run with lags; what it makes of a variable serves all its pairs of consecutive tiles."""

    def __init__(
        self, config: Config, starts: np.ndarray, n_samples: int, condition: Condition | None
    ) -> None:
        self._config, self._starts, self._condition = config, starts, condition
        self._settings = settings_of(config, len(starts))
        self._series: dict[int, Series] = {}
        self._looks: dict[int, _Look] = {}
        # those that tables and splines at the lag do not take
        self._others = LaggedPairs(starts, n_samples, condition, self._settings, config.estimator)

    def __call__(self, variables: Mapping[int, Variable], pairs: np.ndarray) -> PairEstimates:
        """The (P, 2) pairs: those without a value get a status."""
        pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        cfg = self._config.estimator
        self._others.forget(variables)
        self._looks = {k: self._looks.get(k) or self._look(v) for k, v in variables.items()}
        n_present = {k: look.n_samples for k, look in self._looks.items()}
        dense = set()  # these cannot be jittered
        if self._settings.null == "jitter":
            dense = {k for k, series in self._made(variables).items() if series.dense}
        status: list[Status] = []
        messages: list[str] = []
        for i, j in pairs.tolist():
            why, message = Status.OK, ""
            for index in (i, j):
                if why is not Status.OK:
                    break
                if self._looks[index].status is not Status.OK:
                    why, message = self._looks[index].status, variables[index].name
                elif n_present[index] < cfg.min_samples:
                    why = Status.TOO_FEW_SAMPLES
                    message = f"{n_present[index]} samples of the {cfg.min_samples} needed"
                elif index in dense:
                    why = Status.UNSUPPORTED
                    message = (
                        f"{variables[index].name} is no series of events; set lags.nulls: shift"
                    )
            status.append(why)
            messages.append(message)
        rows = np.array([s is Status.OK for s in status], dtype=bool)
        found = self._scan(variables, pairs[rows]) if rows.any() else None
        return self._rows(pairs, rows, found, status, messages, n_present)

    def _look(self, variable: Variable) -> _Look:
        present = variable.codes[(variable.codes != MISSING).all(axis=1)]
        status = self._others.status(variable)
        if status is Status.OK and len(present) and (present == present[0]).all():
            status = Status.CONSTANT
        return _Look(len(present), status)

    def _scan(self, variables: Mapping[int, Variable], pairs: np.ndarray) -> LagEstimates:
        needed = np.unique(pairs).tolist()
        if self._condition is not None or any(variables[k].dim > 1 for k in needed):
            return self._others.estimate(variables, pairs)
        found = scan_tile(self._made({k: variables[k] for k in needed}), pairs, self._settings)
        if self._settings.transfer:  # of series that are no events
            low = found.p_value <= self._settings.max_p_value
            for row in np.flatnonzero(low & np.isnan(found.transfer_ij)).tolist():
                x, y = (variables[int(k)] for k in pairs[row])
                found.transfer_ij[row], found.transfer_p_ij[row] = self._others.transfer(x, y)
                found.transfer_ji[row], found.transfer_p_ji[row] = self._others.transfer(y, x)
        return found

    def _made(self, variables: Mapping[int, Variable]) -> dict[int, Series]:
        """Series of scalars, those of the tile before as they are."""
        self._series = {
            k: self._series[k]
            if k in self._series
            else Series.of(v.name, v.codes[:, 0], self._starts)
            for k, v in variables.items()
        }
        return self._series

    def _rows(
        self,
        pairs: np.ndarray,
        rows: np.ndarray,
        found: LagEstimates | None,
        status: list[Status],
        messages: list[str],
        n_present: Mapping[int, int],
    ) -> PairEstimates:
        def column(values: np.ndarray | None) -> np.ndarray:
            whole = np.full(len(pairs), np.nan)
            if values is not None:
                whole[rows] = values
            return whole

        n_samples = np.array(
            [min(n_present[i], n_present[j]) for i, j in pairs.tolist()], dtype=np.int32
        )
        n_lags = 2 * self._settings.most + 1
        curve = np.full((len(pairs), n_lags), np.nan, dtype=np.float32)
        lag = None
        if found is not None:
            n_samples[rows], curve[rows] = found.n_samples, found.curve
            lag = found.lag * self._config.lags.sample_s
            for k, mi, n, message in zip(
                np.flatnonzero(rows), found.mi_nats, found.n_samples, found.message, strict=True
            ):
                messages[k] = message
                if np.isnan(mi):
                    few = n < self._config.estimator.min_samples
                    status[k] = Status.TOO_FEW_SAMPLES if few else Status.FAILED
        ok = np.array([s is Status.OK for s in status], dtype=bool)
        names = ["p_value", "mi_nats", "se_nats", "sign", "band"]
        names += ["transfer_ij", "transfer_ji", "transfer_p_ij", "transfer_p_ji"]
        numbers = {n: column(None if found is None else getattr(found, n)) for n in names}
        numbers["lag_s"] = column(lag)
        numbers["spearman"] = numbers.pop("sign")
        for values in numbers.values():
            values[~ok] = np.nan
        curve[~ok] = np.nan
        none = np.full(len(pairs), np.nan)
        unused = ("mi_ij", "mi_ji", "mi_posterior", "p_dependent", "gap", "orthogonal", "ess")
        return PairEstimates(
            status=Labels.of(status),
            n_samples=n_samples,
            denoiser=Labels.same(DENOISER, len(pairs)),
            stop=Labels(np.full(len(pairs), -1, dtype=np.int32), ()),
            curve=curve,
            message=Labels.of(messages),
            **numbers,
            **dict.fromkeys(unused, none),
            n_effective=none,
        )
