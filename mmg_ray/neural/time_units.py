"""Doubt of a unit of time: whether spike times that are taken as seconds can be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# what neurons do, and how long people record: rates in Hz, lengths in seconds
_SLOWEST_HZ, _FASTEST_HZ = 0.01, 500.0
_USUAL_HZ, _USUAL_S = 5.0, 1800.0
_HOUR, _DAY = 3600.0, 86_400.0
# a recording longer than this whose median unit is slower than that
_LONG = ((2 * _HOUR, 0.1), (3 * _HOUR, 0.2), (_DAY, 1.0), (14 * _DAY, np.inf))
_FEWEST = 20  # spikes of a unit that has a rate
_SHORTER = {"milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9}
_SAMPLES = {"samples at 30 kHz": 1 / 30_000}
_LONGER = {"minutes": 60.0, "hours": _HOUR, "days": _DAY}


def doubt(trains: Mapping[str, np.ndarray], length: float) -> str | None:
    """Why times cannot be seconds, and which unit is likely; None where they can be.

    Args:
        trains: {unit: (n,) times}. length: from the first to the last of what was recorded.
    """
    rates = [len(t) / length for t in trains.values() if len(t) >= _FEWEST] if length > 0 else []
    if not rates:
        return None
    rate = float(np.median(rates))
    whole = all((t == np.floor(t)).all() for t in trains.values())
    long = any(length > most and rate < slow for most, slow in _LONG)
    if not (whole or long or rate < _SLOWEST_HZ or rate > _FASTEST_HZ):
        return None
    units = _LONGER if rate > _FASTEST_HZ else _SHORTER | (_SAMPLES if whole else {})

    def unlike(name: str) -> float:  # what is usual, as a factor in logarithms
        hz, s = rate / units[name], length * units[name]
        return float(abs(np.log(hz / _USUAL_HZ)) + abs(np.log(s / _USUAL_S)) / 2)

    likely = min(units, key=unlike)
    what = ", and every time is a whole number" if whole else ""
    other = ", or 1 / the sampling rate" if whole else ""
    return (
        f"as seconds, the recording is {span(length)} long and the median unit fires at {rate:.3g} Hz{what}: "
        f"these are {likely}, it seems ({span(length * units[likely])}, {rate / units[likely]:.3g} Hz). Set "
        f"recording.time_unit_s: {units[likely]:.8g}{other}, or 1 if they are seconds"
    )


def span(seconds: float) -> str:
    """A length of time as a person would say it."""
    for unit, name in (
        (365.25 * _DAY, "years"),
        (86_400.0, "days"),
        (3600.0, "h"),
        (60.0, "min"),
    ):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.3g} {name}"
    return f"{seconds:.3g} s"
