"""Dependence at lags of series in this process: spike times, counts, or anything sampled evenly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mmg_ray.arrays.mne_objects import channels_of, is_mne, say
from mmg_ray.errors import DataError
from mmg_ray.estimator.lags import LagSettings, Series, scan_tile
from mmg_ray.estimator.ranks.marginals import ordinal_codes
from mmg_ray.execute.numerics import library_threads

if TYPE_CHECKING:
    import pandas as pd

_MOST_BINS = 2**31


def lag_scan(
    x: Any,
    y: Any = None,
    *,
    max_s: float,
    bin_s: float | None = None,
    sample_s: float | None = None,
    span_s: tuple[float, float] | None = None,
    trials: Sequence[int] | None = None,
    null: Literal["shift", "block", "trial", "jitter"] = "shift",
    jitter_s: float | None = None,
    transfer_s: Sequence[float] = (),
) -> pd.DataFrame:
    """Mutual information at every lag, of two series or of all pairs of a group.

    Args:
        x, y: with `bin_s` the times of events in seconds, ascending, else values at even steps, NaN where missing; pynapple's
            Ts and Tsd, and neo's SpikeTrain and AnalogSignal of one channel say which they are. With x alone: a group of
            such, a mapping by name, a sequence, pynapple's TsGroup, MNE's Raw or Epochs, or (n, V) samples.
        max_s: lags up to this either way, s.
        bin_s: width of the bins in which events are counted, s. sample_s: seconds from one value to the next;
            default 1, so that lags are samples, or what the object says.
        span_s: begin and end of the recording, for events; default from 0, or the first event if that is before, to the last event.
        trials: samples where trials begin, no lag crosses them.
        null: what independent series are: "shift", each keeps its own memory, drift taken out; "block", blocks of ten
            correlation times and more are paired anew, so that what is slower, and a scatter that changes, is no
            dependence; "trial", trials are paired anew; "jitter", events anywhere in windows of `jitter_s`, so that what is slower is no dependence.
        transfer_s: lags of the source in transfer entropy, given the target at the two samples before; of events.

    Returns:
        A row for each pair and lag: source, target, lag_s (positive: the target follows), mi_nats, and `band`, nats, which the
        largest over lags exceeds with probability 5 % if the two are independent. ``attrs["pairs"]`` is a list with a
        dict for each pair: lag_s of the largest dependence, its mi_nats, se_nats, p_value (of the largest over
        all lags), n_samples, sign (rank correlation), and transfer entropies from source to target and back with p-values.

    Raises:
        DataError: times that go back, series of unlike lengths, lags that do not fit.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> rng = np.random.default_rng(0)
        >>> first = np.sort(rng.uniform(0, 600, 6000))
        >>> second = np.sort(np.r_[first[::4] + 0.01, rng.uniform(0, 600, 3000)])
        >>> curve = mmg_ray.lag_scan(first, second, max_s=0.05, bin_s=0.005)
        >>> found = curve.attrs["pairs"][0]
        >>> round(found["lag_s"], 3), found["p_value"] < 1e-6
        (0.01, True)
    """
    import pandas as pd

    if y is None and is_mne(x):
        x, sample_s, trials = _channels(x, sample_s, trials)
    named = _named(x, y)
    if len(named) < 2:
        raise DataError(f"lags are of two series or more; got {len(named)}")
    read = {name: _read(value, name, bin_s) for name, value in named.items()}
    step = _step(read, bin_s, sample_s)
    begin, n = _length(read, step, span_s)
    starts = [0] if trials is None else list(trials)
    series = {
        k: _series(of, name, begin, n, starts, step) for k, (name, of) in enumerate(read.items())
    }
    constant = [s.name for s in series.values() if not s.varies]
    if constant:
        raise DataError(f"{constant[0]!r} has one value only, so that it depends on nothing")
    settings = LagSettings(
        most=_samples(max_s, step, "max_s"),
        null=null,
        jitter=0 if jitter_s is None else _samples(jitter_s, step, "jitter_s"),
        transfer=tuple(_samples(lag, step, "transfer_s") for lag in transfer_s),
    )
    pairs = np.stack(np.triu_indices(len(series), 1), axis=1)
    with library_threads():
        found = scan_tile(series, pairs, settings)
    lags = np.arange(-settings.most, settings.most + 1) * step
    names = list(read)
    frame = pd.DataFrame(
        {
            "source": np.repeat([names[i] for i in pairs[:, 0]], len(lags)),
            "target": np.repeat([names[j] for j in pairs[:, 1]], len(lags)),
            "lag_s": np.tile(lags, len(pairs)),
            "mi_nats": found.curve.astype(float).ravel(),
            "band": np.repeat(found.band, len(lags)),
        }
    )
    numbers = ["mi_nats", "se_nats", "p_value", "n_samples", "sign"]
    numbers += ["transfer_ij", "transfer_p_ij", "transfer_ji", "transfer_p_ji"]
    frame.attrs["pairs"] = [
        {"source": names[i], "target": names[j], "lag_s": float(found.lag[row] * step)}
        | {name: getattr(found, name)[row].item() for name in numbers}
        for row, (i, j) in enumerate(pairs.tolist())
    ]
    return frame


class _Events(NamedTuple):
    """Ascending times, and when the recording begins and ends, s."""

    times: np.ndarray
    span: tuple[float, float] | None


class _Values(NamedTuple):
    """(n,) values `step` s apart, if that is known."""

    values: np.ndarray
    step: float | None


def _series(
    of: _Events | _Values, name: str, begin: float, n: int, starts: Sequence[int], step: float
) -> Series:
    """Over n samples `step` s apart, the first at `begin`."""
    if isinstance(of, _Values):
        return Series.of(name, ordinal_codes(of.values), starts)
    # what lies on the border of two bins is in the later one, but for rounding
    bins = np.floor((of.times - begin) / step + 1e-9).astype(np.int64)
    at, counts = np.unique(bins[(bins >= 0) & (bins < n)], return_counts=True)
    return Series.of_events(name, at, counts, n, starts)


def _channels(
    found: Any, sample_s: float | None, trials: Sequence[int] | None
) -> tuple[dict[str, np.ndarray], float, Sequence[int] | None]:
    """The channels of MNE's Raw or Epochs, their step, and where epochs begin."""
    if sample_s is not None or trials is not None:
        raise DataError("MNE's objects know their rate and epochs; leave out sample_s and trials")
    channels = channels_of(found)
    say(channels, "x")
    n_epochs, n_times, n_channels = channels.values.shape
    columns = channels.values.reshape(n_epochs * n_times, n_channels).T
    starts = None if n_epochs == 1 else range(0, n_epochs * n_times, n_times)
    return dict(zip(channels.names, columns, strict=True)), 1 / float(found.info["sfreq"]), starts


def _named(x: Any, y: Any) -> dict[str, Any]:
    if y is not None:
        return {"x": x, "y": y}
    if hasattr(x, "rates") and hasattr(x, "keys"):  # pynapple's TsGroup
        return {str(key): x[key] for key in x}
    if isinstance(x, Mapping) or hasattr(x, "columns"):
        return {str(key): x[key] for key in (x if isinstance(x, Mapping) else x.columns)}
    if isinstance(x, np.ndarray) and x.ndim == 2:
        return {f"v{k}": column for k, column in enumerate(x.T)}
    if isinstance(x, np.ndarray):
        raise DataError(
            f"lag_scan takes two series, or a group of them; got an array of shape {x.shape}"
        )
    return {f"v{k}": value for k, value in enumerate(x)}


def _read(value: Any, name: str, bin_s: float | None) -> _Events | _Values:
    if hasattr(value, "t_start") and hasattr(value, "rescale"):  # neo, which knows its units
        if not hasattr(value, "waveforms"):  # AnalogSignal, not SpikeTrain
            values = np.asarray(value.magnitude, dtype=float)
            if values.ndim > 1 and values.shape[1] > 1:
                raise DataError(
                    f"{name!r} has {values.shape[1]} channels; pass them one by one, or a group"
                )
            return _Values(values.ravel(), float(value.sampling_period.rescale("s").magnitude))
        span = tuple(float(t.rescale("s").magnitude) for t in (value.t_start, value.t_stop))
        return _times(np.asarray(value.rescale("s").magnitude, dtype=float), name, span)
    if hasattr(value, "time_support") and hasattr(value, "times"):  # pynapple
        times = np.asarray(value.times(), dtype=float)
        if hasattr(value, "values"):
            steps = np.diff(times)
            step = float(np.median(steps)) if len(steps) else 1.0
            if len(steps) and np.abs(steps - step).max() > 0.01 * step:
                raise DataError(
                    f"{name!r} is not sampled evenly: steps of {steps.min():g} to {steps.max():g} s"
                )
            return _Values(np.asarray(value.values, dtype=float), step)
        support = value.time_support
        return _times(times, name, (float(support.start[0]), float(support.end[-1])))
    try:
        values = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{name!r} is a {type(value).__name__}, not numbers") from None
    if values.ndim != 1 or not len(values):
        raise DataError(
            f"{name!r} is of shape {values.shape}; a series is of one dimension and not empty"
        )
    return _Values(values, None) if bin_s is None else _times(values, name, None)


def _times(times: np.ndarray, name: str, span: tuple[float, ...] | None) -> _Events:
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise DataError(
            f"{name!r} has times that go back or are missing; sort them. Are they counts? Leave out bin_s"
        )
    return _Events(times, None if span is None else (span[0], span[1]))


def _step(
    read: Mapping[str, _Events | _Values], bin_s: float | None, sample_s: float | None
) -> float:
    known = {of.step for of in read.values() if isinstance(of, _Values) and of.step is not None}
    known |= {step for step in (bin_s, sample_s) if step is not None}
    if any(isinstance(of, _Events) for of in read.values()) and bin_s is None:
        raise DataError("events are counted in bins; give their width, bin_s, in seconds")
    if len(known) > 1 and max(known) - min(known) > 1e-6 * max(known):
        raise DataError(f"series of unlike steps, {sorted(known)} s; bin or resample them alike")
    step = min(known, default=1.0)
    if not step > 0:
        raise DataError(f"a step of {step:g} s; it is above 0")
    return step


def _length(
    read: Mapping[str, _Events | _Values], step: float, span_s: tuple[float, float] | None
) -> tuple[float, int]:
    """When the first bin begins, and how many there are."""
    lengths = {len(of.values) for of in read.values() if isinstance(of, _Values)}
    if len(lengths) > 1:
        raise DataError(f"series of {sorted(lengths)} samples; they are over the same ones")
    events = [of for of in read.values() if isinstance(of, _Events)]
    spans = [of.span for of in events if of.span is not None]
    times = [t for of in events for t in (of.times[:1].tolist() + of.times[-1:].tolist())]
    if span_s is not None:
        begin, end = span_s
    elif spans:
        begin, end = max(s[0] for s in spans), min(s[1] for s in spans)
    else:
        begin, end = min([0.0, *times]), max([0.0, *times]) + step
    n = max(lengths) if lengths else int(np.ceil((end - begin) / step - 1e-9))
    if not 0 < n < _MOST_BINS:
        raise DataError(
            f"{begin:g} to {end:g} s are {n:,} bins of {step:g} s; are times in seconds?"
        )
    return begin, n


def _samples(seconds: float, step: float, name: str) -> int:
    found = round(seconds / step)
    if found < 1:
        raise DataError(f"{name} = {seconds:g} s is less than a step of {step:g} s")
    return found
