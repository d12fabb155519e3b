"""Networks of cells, areas and stimuli, from a recording to edges, lags and directions.

`mmg-ray neural`, or `run` in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmg_ray.runs import Run


def run(
    data: Any,
    overrides: Iterable[str] = (),
    *,
    url: str,
    trials: Any = None,
    areas: Mapping[Any, str] | None = None,
    stimuli: Any = None,
) -> Run:
    """The network of a recording in memory, as `mmg-ray neural` makes it of a file.

    Spikes are counted and series averaged in bins of time or of trials, pairs are estimated with nulls that respect
    autocorrelation, with `lags.max_s` at every lag, and the network's files and the report are written, all under
    `url`. What is finished is not done again. What was found and decided is logged, a line each.

    Args:
        data: a mapping {unit: (n,) spike times in s}; pynapple's TsGroup, Ts, Tsd, TsdFrame or TsdTensor; neo's
            Segment, Block, AnalogSignal or a list of SpikeTrains; MNE's Raw or Epochs; or times x channels, a
            DataFrame (an index of seconds, dates or durations says when samples are) or an array, with
            "recording.rate_hz=250".
        overrides: `section.key=value`, such as "bins.width_s=0.02" or "lags.max_s=0.2"; `mmg-ray neural
            --show-config` lists them.
        url: where the run is stored.
        trials: with "bins.align=COLUMN": a DataFrame, a mapping of columns, or pynapple's IntervalSet (columns start,
            end) or Ts (column t), times in s.
        areas: {unit or channel: area}, for pairs of areas; or "between.areas=COLUMN" of a TsGroup's metadata.
        stimuli: for pairs of stimuli with cells: pynapple's Tsd or TsdFrame, or a table with a column `time` or an
            index of seconds or durations.

    Raises:
        ConfigError, DataError: before anything of the run is written. Others: as `mmg_ray.run`.

    Examples:
        >>> import numpy as np
        >>> from mmg_ray import neural
        >>> rng = np.random.default_rng(0)
        >>> leader = np.sort(rng.uniform(0, 300, 3000))
        >>> units = {"leader": leader, "follower": leader + 0.02, "other": np.sort(rng.uniform(0, 300, 3000))}
        >>> settings = ["bins.width_s=0.01", "lags.max_s=0.05", "network.report=false"]
        >>> found = neural.run(units, settings, url="memory://units/run")
        >>> edges = found.network(["fdr=0.05"]).edges
        >>> edges[["source", "target", "lag_s"]].to_dict("records")
        [{'source': 'leader', 'target': 'follower', 'lag_s': 0.02}]
    """
    import logging

    from mmg_ray.jobs import require_no_failures
    from mmg_ray.neural.job import go
    from mmg_ray.neural.objects import in_memory

    cfg, recording = in_memory(data, url, overrides, trials, areas, stimuli)
    _, found, _ = go(cfg, logging.getLogger(__name__).info, recording)
    require_no_failures(found)
    return found
