"""The YAML of mmg_ray/neural: five sections of its own before those of every run."""

from __future__ import annotations

from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mmg_ray.config import Config, DataConfig, Texts
from mmg_ray.jobs import FilesConfig

_STRICT = ConfigDict(extra="forbid")
Lag = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=_STRICT)
class RecordingConfig:
    """What is read of data.path, and what is beside it."""

    layout: str = Field(
        default="auto",
        description="nwb; spikes: npz of spike times; pynapple: what its objects save; phy: a folder of phy or "
        "Kilosort; suite2p: a folder of suite2p or of one plane; mat: MATLAB, v4 to v7.3; mne: fif, edf, bdf; "
        "series: a table, times x channels; neo: any file that the package neo reads; auto: by ending and "
        "content, neo excepted",
    )
    series: Texts = Field(
        default=(),
        description="nwb: time series whose channels are variables, too, by path (Fluorescence/plane0, "
        "processing/behavior/speed), by a name that is the only one, or by what holds them (Fluorescence); mne: "
        "types of channels that are variables beside the data channels (emg, eog)",
    )
    variable: str | None = Field(
        default=None,
        description="mat: the variable to read, session/lfp of a struct, where several may be the recording: a "
        "matrix, times x channels, or a cell array of spike times, one cell a unit",
    )
    names: str | None = Field(
        default=None, description="mat: the cell array of texts that names units or channels"
    )
    trace: Literal["spks", "F"] = Field(
        default="spks",
        description="suite2p: deconvolved activity, or fluorescence less a share of the neuropil's",
    )
    neuropil: float | None = Field(
        default=None,
        ge=0,
        description="suite2p, trace F: the share of Fneu that is subtracted; default the coefficient of its settings",
    )
    units: str | None = Field(
        default=None, description="nwb: path of the table of units, where there are several"
    )
    quality: Texts = Field(
        default=("good",),
        description="phy: labels of the clusters that are used (group, else KSLabel), [] is every cluster; suite2p: "
        "[good] is the cells of iscell.npy, [] every ROI",
    )
    rate_hz: float | None = Field(
        default=None,
        gt=0,
        description="series without times: samples a second; default 1, or suite2p's own",
    )
    time_column: str | None = Field(
        default=None,
        description="series, mat: the column or variable that holds seconds, in which gaps are looked for",
    )
    time_unit_s: float | None = Field(
        default=None,
        gt=0,
        description="seconds in a unit of data.path's times, 0.001 for milliseconds; default 1, or 1 / "
        "sample_rate of phy; set, it is not doubted. Tables beside the recording are in seconds",
    )
    unsorted: Literal["error", "sort"] = Field(
        default="error", description="spike times that go back: refuse the file, or sort them"
    )
    transposed: Literal["error", "ignore"] = Field(
        default="error", description="series that look like channels x times: refuse them, or go on"
    )
    min_spikes: int = Field(
        default=50,
        ge=1,
        description="units of fewer spikes in the samples are left out, and listed",
    )
    start_s: float | None = Field(default=None, description="leave out what was before")
    stop_s: float | None = Field(default=None, description="leave out what came after")


@dataclass(frozen=True, config=_STRICT)
class BinsConfig:
    """What a sample is."""

    width_s: float | None = Field(
        default=None,
        gt=0,
        description="spikes are counted and series averaged in bins of this; default 0.05 where there "
        "are spikes, else the series' own sampling",
    )
    align: str | None = Field(
        default=None,
        description="trials: the column of their times, such as start_time (nwb) or onset (mne); a sample is then "
        "a bin of a trial",
    )
    trials: str | None = Field(
        default=None,
        description="table of trials, one a row (csv, tsv, an IntervalSet or Ts of pynapple), or the name of "
        "intervals of the nwb file; default its trials",
    )
    window_s: tuple[float, float] = Field(
        default=(0.0, 1.0), description="trials: from and to, around the time that `align` names"
    )


@dataclass(frozen=True, config=_STRICT)
class BetweenConfig:
    """Which pairs, beside the section pairs."""

    areas: str | None = Field(
        default=None,
        description="pairs are area x area: a column of the units or their electrodes (nwb), of "
        "cluster_info.tsv (phy), a variable (mat), or a csv or tsv with columns unit, area",
    )
    stimulus: Texts = Field(
        default=(),
        description="pairs are stimulus x cell: time series of the nwb file (as recording.series), columns of "
        "stimulus_path, or numbers of the trials table",
    )
    stimulus_path: str | None = Field(
        default=None,
        description="stimulus values: a table with a column of seconds, `time`, and others, or a Tsd of pynapple",
    )


@dataclass(frozen=True, config=_STRICT)
class LagsConfig:
    """Which comes first."""

    max_s: float | None = Field(
        default=None, gt=0, description="look for the lag of each pair up to this, either way"
    )
    transfer: tuple[Lag, ...] = Field(
        default=(),
        description="transfer entropy both ways of the pairs that lags find, from x this many bins "
        "back, the best of them",
    )
    own: tuple[Lag, ...] = Field(
        default=(1, 2), description="transfer entropy: bins of its own past that y is given"
    )
    max_q_value: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="transfer entropy is asked of pairs up to this q-value",
    )


@dataclass(frozen=True, config=_STRICT)
class NeuralConfig(Config):
    """A run's configuration and, before it, what makes its table of a recording.

    data.conditions may name, beside variables, columns of the trials, `time_in_trial_s`, and
    `population_rate`.
    """

    recording: RecordingConfig = Field(
        default_factory=RecordingConfig, description="neural: what is read of data.path"
    )
    bins: BinsConfig = Field(default_factory=BinsConfig, description="neural: what a sample is")
    between: BetweenConfig = Field(
        default_factory=BetweenConfig, description="neural: cells, areas or stimuli"
    )
    lags: LagsConfig = Field(default_factory=LagsConfig, description="neural: which comes first")
    network: FilesConfig = Field(
        default_factory=FilesConfig, description="neural: what is made of the edges"
    )


def changed(cfg: NeuralConfig, option: str) -> bool:
    """Whether a field, `section.name`, differs from its default."""

    def value(of: Any) -> Any:
        return reduce(getattr, option.split("."), of)

    return bool(value(cfg) != value(NeuralConfig(data=DataConfig(path="none"))))
