"""The YAML of mmg_ray/neural: five sections of its own before those of every run."""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mmg_ray.config import Config, DataConfig, Texts
from mmg_ray.jobs import FilesConfig

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class RecordingConfig:
    """What is read of data.path, and what is beside it."""

    layout: str = Field(
        default="auto",
        description="auto: by ending and content; nwb; spikes: npz of spike times; pynapple: npz that pynapple saved; "
        "phy: a folder of phy or Kilosort; suite2p: a folder of suite2p or of one plane; mat: MATLAB v4 "
        "to v7.3; mne: fif, edf, bdf; series: a table of times x channels; neo: any file that the package "
        "neo reads (never chosen by auto)",
    )
    series: Texts = Field(
        default=(),
        description="nwb: time series to add as variables, by path (Fluorescence/plane0), by a unique name, or by "
        "their container (Fluorescence); mne: types of channels to add to the data channels (emg, eog)",
    )
    variable: str | None = Field(
        default=None,
        description="mat: the variable to read, such as session/lfp, where several could be the recording: a matrix "
        "of times x channels, or a cell array of spike times with one cell a unit",
    )
    names: str | None = Field(
        default=None, description="mat: cell array of texts with the names of units or channels"
    )
    trace: Literal["spks", "F"] = Field(
        default="spks",
        description="suite2p: deconvolved activity (spks), or neuropil-corrected fluorescence (F)",
    )
    neuropil: float | None = Field(
        default=None,
        ge=0,
        description="suite2p, trace F: coefficient of the neuropil that is subtracted; default: that of suite2p's "
        "settings",
    )
    units: str | None = Field(
        default=None, description="nwb: path of the table of units, where there are several"
    )
    quality: Texts = Field(
        default=("good",),
        description="phy: cluster labels to keep (group, else KSLabel), [] keeps every cluster; suite2p: [good] keeps "
        "the cells of iscell.npy, [] every ROI",
    )
    rate_hz: float | None = Field(
        default=None,
        gt=0,
        description="sampling rate of series without times; default: 1, or that of suite2p's settings",
    )
    time_column: str | None = Field(
        default=None,
        description="series, mat: column or variable that holds the times; gaps in it become missing samples",
    )
    time_unit_s: float | None = Field(
        default=None,
        gt=0,
        description="seconds per unit of the file's times, such as 0.001 for milliseconds; default: 1, or 1 / "
        "sample_rate of phy. If set, implausible rates are accepted. Tables beside the recording are in "
        "seconds",
    )
    unsorted: Literal["error", "sort"] = Field(
        default="error",
        description="spike times that are not in order: refuse the file, or sort them",
    )
    transposed: Literal["error", "ignore"] = Field(
        default="error",
        description="series that look like channels x times: refuse them, or ignore the warning",
    )
    min_spikes: int = Field(
        default=50,
        ge=1,
        description="leave out units with fewer spikes in the samples; they are listed",
    )
    start_s: float | None = Field(
        default=None, description="use the recording from this time on, seconds"
    )
    stop_s: float | None = Field(
        default=None, description="use the recording up to this time, seconds"
    )


@dataclass(frozen=True, config=_STRICT)
class BinsConfig:
    """What a sample is."""

    width_s: float | None = Field(
        default=None,
        gt=0,
        description="width of a time bin, seconds: spikes are counted and series averaged in it; default: 0.05 where "
        "there are spikes, else the sampling interval of the series",
    )
    align: str | None = Field(
        default=None,
        description="trials: column of the times to align to, such as start_time (nwb) or onset (mne); a sample is "
        "then a bin of a trial",
    )
    trials: str | None = Field(
        default=None,
        description="table of trials, one a row (csv, tsv, an IntervalSet or Ts of pynapple), or a table of intervals "
        "in the nwb file; default: its trials",
    )
    window_s: tuple[float, float] = Field(
        default=(0.0, 1.0),
        description="trials: from and to, seconds relative to the time of `align`",
    )


@dataclass(frozen=True, config=_STRICT)
class BetweenConfig:
    """Which pairs, beside the section pairs."""

    areas: str | None = Field(
        default=None,
        description="area x area pairs: column of the units or their electrodes (nwb) or of cluster_info.tsv (phy), "
        "variable (mat), or a csv or tsv with columns unit, area",
    )
    stimulus: Texts = Field(
        default=(),
        description="stimulus x cell pairs: time series of the nwb file, columns of stimulus_path, or numeric columns "
        "of the trials",
    )
    stimulus_path: str | None = Field(
        default=None,
        description="stimulus values: a table with a column `time` in seconds and others, or a Tsd of pynapple",
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
    bins: BinsConfig = Field(
        default_factory=BinsConfig,
        description="neural: time bins and trials, which make the samples",
    )
    between: BetweenConfig = Field(
        default_factory=BetweenConfig,
        description="neural: pairs of cells, of areas, or of stimuli with cells",
    )
    network: FilesConfig = Field(
        default_factory=FilesConfig, description="neural: network steps and files written"
    )


def changed(cfg: NeuralConfig, option: str) -> bool:
    """Whether a field, `section.name`, differs from its default."""

    def value(of: Any) -> Any:
        return reduce(getattr, option.split("."), of)

    return bool(value(cfg) != value(NeuralConfig(data=DataConfig(path="none"))))
