"""Recordings as files hold them: spike times, time series, areas and trials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

MOST_VALUES = 1 << 31  # times x channels, samples x variables: 16 GiB
LONGEST_GAP = 1.5  # steps of a series' own sampling: more is a gap


@dataclass(frozen=True)
class Series:
    """C channels at T times.

    Attributes:
        times: (T,) going up. values: (T, C), NaN is missing. names: (C,).
        name: by which the configuration asks for it; several series of one container share it.
        by_rate: its times follow from a rate in Hz, so that they are seconds whatever the file's unit.
    """

    times: np.ndarray
    values: np.ndarray
    names: list[str]
    name: str = ""
    by_rate: bool = False

    @property
    def step_s(self) -> float:
        """Seconds from one time to the next, gaps left out: the mean, which rounded times do not move."""
        steps = np.diff(self.times)
        return float(steps[steps < LONGEST_GAP * np.median(steps)].mean())


@dataclass(frozen=True)
class Recording:
    """All that is used of a file.

    Attributes:
        spikes: {unit: (n,) times, going up}.
        observed: {unit: (k, 2) from and to} where a file says when a unit was recorded.
        series: time series, each with its own times. stimuli: those that are no response.
        areas: {unit or channel: area}.
        trials: {column: (n,)}.
        in_seconds: the file's format states its unit of time, so that it needs no check.
        notes: what was found, a line each. left_out: (name, reason).
    """

    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    observed: dict[str, np.ndarray] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    stimuli: list[Series] = field(default_factory=list)
    areas: dict[str, str] = field(default_factory=dict)
    trials: dict[str, np.ndarray] = field(default_factory=dict)
    in_seconds: bool = False
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def scaled(self, unit_s: float) -> Recording:
        """The same with every time of the file in seconds; of the trials, columns that end in `_time`."""

        def seconds(of: list[Series]) -> list[Series]:
            return [s if s.by_rate else replace(s, times=s.times * unit_s) for s in of]

        return replace(
            self,
            spikes={name: np.asarray(t, float) * unit_s for name, t in self.spikes.items()},
            observed={name: t * unit_s for name, t in self.observed.items()},
            series=seconds(self.series),
            stimuli=seconds(self.stimuli),
            trials={
                name: column * unit_s if name.endswith("_time") else column
                for name, column in self.trials.items()
            },
        )


def channel_names(prefix: str, n: int, first: int = 0) -> list[str]:
    """`prefix` alone, or numbered: lfp0, lfp1, ..., and plane0_0, plane0_1, ... after a digit."""
    joint = "_" if prefix[-1:].isdigit() else ""
    return [prefix] if n == 1 else [f"{prefix}{joint}{first + c}" for c in range(n)]


def some(names: Iterable[str]) -> str:
    """The first names, and how many there are."""
    listed = list(names)
    return ", ".join(listed[:3]) + (f", ... ({len(listed)})" if len(listed) > 3 else "")
