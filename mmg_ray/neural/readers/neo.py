"""Any file that the package neo reads, pickles excepted."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.neural.config import NeuralConfig
from mmg_ray.neural.recordings import Recording, Series, channel_names
from mmg_ray.store.sources.files import locate, unreadable


def read_neo(cfg: NeuralConfig) -> Recording:
    """Spike trains and analog signals of one segment; neo knows the units of their times."""
    try:
        import neo
    except ImportError:
        raise ConfigError(
            "recording.layout: neo needs the package: pip install --constraint constraints.txt neo"
        ) from None
    location = locate(cfg.data.path)
    if location.path.endswith((".pkl", ".pickle")):
        raise DataError(
            f"{location.url} is a pickle, and nothing is ever unpickled; write nwb or npz"
        )
    try:
        segments = neo.get_io(str(location.path)).read_block().segments
    except Exception as error:  # noqa: BLE001  # of any of its readers
        raise unreadable(location, "neo", error) from None
    if len(segments) != 1:
        raise DataError(
            f"{location.url} holds {len(segments)} segments, and a recording is one; write each to a file, "
            "or trials as one segment with a table of their times (bins.trials)"
        )
    return of_segment(segments[0], location.url)


def of_segment(segment: Any, what: str) -> Recording:
    """Spike trains and analog signals of neo's Segment, which messages call `what`."""
    names = [
        t.name or str(t.annotations.get("id", f"unit{k}"))
        for k, t in enumerate(segment.spiketrains)
    ]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{what}: several spike trains are called {repeated[0]!r}; rename them")
    trains = [np.asarray(t.rescale("s").magnitude, float) for t in segment.spiketrains]
    series = []
    for k, signal in enumerate(segment.analogsignals):
        values = np.asarray(signal.magnitude, float)
        series.append(
            Series(
                np.asarray(signal.times.rescale("s").magnitude, float),
                values,
                channel_names(signal.name or f"signal{k}", values.shape[1]),
            )
        )
    unused = {
        name: len(getattr(segment, name))
        for name in ("events", "epochs", "irregularlysampledsignals")
    }
    notes = [f"neo:     no use of {n} {name}" for name, n in unused.items() if n]
    return Recording(
        spikes=dict(zip(names, trains, strict=True)), series=series, in_seconds=True, notes=notes
    )
