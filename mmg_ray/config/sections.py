"""The sections of a run's configuration, beside `estimator`, and the whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mmg_ray.config.estimator import EstimatorConfig
from mmg_ray.config.fields import MAX_SEED, STRICT, Texts, Url


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    path: Url = Field(description="input file or folder; any fsspec URL")
    format: str = Field(
        default="auto",
        description="file format: auto (by the ending of the file), or a name from the list of input formats in the "
        "reference",
    )
    transpose: bool = Field(
        default=False,
        description="true where the file holds variables x samples, for example genes as rows",
    )
    layer: str | None = Field(
        default=None, description="h5ad: layer name, or 'raw'; default X. loom: layer name"
    )
    key: str | None = Field(
        default=None,
        description="npz or zarr: name of the array inside the file; 10x h5 of several genomes: the genome",
    )
    feature_types: Texts = Field(
        default=(),
        description="10x, h5ad, zarr: kinds of features to keep, or '*'; default Gene Expression alone, "
        "where a file has several kinds",
    )
    variable_names: str | None = Field(
        default=None,
        description="what names the variables. h5ad, zarr: column of var; loom: attribute of genes; 10x: id "
        "or name. Default: the index; Gene; name",
    )
    sample_names: str | None = Field(
        default=None,
        description="what names the samples. h5ad, zarr: column of obs; loom: attribute of cells",
    )
    header: bool | None = Field(
        default=None,
        description="csv/tsv: whether the first row holds names; default: decided from the values, refused if "
        "ambiguous",
    )
    separator: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="csv/tsv: the character between columns; default: a comma or a tab",
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="csv/tsv: the decimal mark of numbers"
    )
    index_column: str | None = Field(
        default=None,
        description="csv/tsv/parquet: column of sample names; default the first one without a name, else "
        "unique whole numbers under a name such as cell_id",
    )
    metadata: Texts = Field(
        default=(),
        description="csv/tsv/parquet: columns that describe samples and are not variables",
    )
    variables: Texts = Field(
        default=("*",), description="variables to keep, as names or * patterns"
    )
    exclude: Texts = Field(default=(), description="variables to leave out, as names or * patterns")
    samples: dict[str, Texts] = Field(
        default_factory=dict,
        description="keep the samples whose metadata column has one of these values: {cell_type: [B cell]}",
    )
    subsample: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the samples to draw at random, without replacement; for a consensus of several runs",
    )
    subsample_seed: int = Field(
        default=0,
        ge=0,
        le=MAX_SEED,
        description="seed of the subsample; each seed is another draw",
    )
    groups: Url | None = Field(
        default=None,
        description="table with columns variable, group: the members of a group form one vector variable",
    )
    conditions: Texts = Field(
        default=(),
        description="variables or metadata columns to condition on: every pair is estimated given them",
    )
    strata: Texts = Field(
        default=(),
        description="metadata columns: every pair is tested and estimated among samples alike in them, labels the same, "
        "numbers in parts; unlike data.conditions at the cost of an ordinary run, ties and zeros as they are",
    )
    missing: Literal["pairwise", "error"] = Field(
        default="pairwise",
        description="pairwise: each pair leaves out its incomplete samples; error: refuse missing values",
    )
    duplicate_names: Literal["error", "number"] = Field(
        default="error",
        description="repeated variable names: refuse them, or number them (append -1, -2, ...)",
    )


@dataclass(frozen=True, config=STRICT)
class PairsConfig:
    mode: Literal["all", "bipartite", "list"] = Field(
        default="all",
        description="which pairs: all, bipartite (sources x all variables), or list (the pairs of a table)",
    )
    sources: Texts = Field(default=(), description="bipartite: names or * patterns of the sources")
    sources_file: Url | None = Field(
        default=None, description="bipartite: text file with one source name a line"
    )
    path: Url | None = Field(default=None, description="list: table with columns source, target")


Lag = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=STRICT)
class LagsConfig:
    max_s: float | None = Field(
        default=None,
        gt=0,
        description="estimate each pair at its lag of largest dependence, up to this many seconds either way; "
        "samples follow one another in time. Default: no lags",
    )
    sample_s: float = Field(
        default=1.0,
        gt=0,
        description="seconds from a sample to the next; mmg-ray neural fills in bins.width_s",
    )
    trials: str | None = Field(
        default=None,
        description="metadata column that changes from trial to trial: no lag reaches from one into another; "
        "mmg-ray neural fills it in",
    )
    nulls: Literal["auto", "shift", "block", "trial", "jitter"] = Field(
        default="auto",
        description="null distribution of the largest dependence over the lags: series shifted against one another "
        "(shift), blocks of ten correlation times and more paired anew (block: slow rates and a scatter that changes "
        "are no dependence), trials permuted (trial), spikes moved within windows of lags.jitter_s (jitter: slow common "
        "modulation is no dependence); auto is trial where there are trials, else shift",
    )
    jitter_s: float | None = Field(
        default=None, gt=0, description="jitter: width of the windows, seconds"
    )
    transfer: tuple[Lag, ...] = Field(
        default=(),
        description="transfer entropy in both directions, from so many samples back, the best of them",
    )
    own: tuple[Lag, ...] = Field(
        default=(1, 2),
        description="transfer entropy: samples of its own past that the target is given",
    )
    max_p_value: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="transfer entropy is estimated of pairs up to this p-value of the lags",
    )

    @property
    def most(self) -> int:
        """The largest lag, samples; 0 where none is asked for."""
        return 0 if self.max_s is None else round(self.max_s / self.sample_s)


@dataclass(frozen=True, config=STRICT)
class PlanConfig:
    tile_variables: int | None = Field(
        default=None,
        ge=1,
        le=2**16,
        description="variables per side of a tile; default by denoiser",
    )
    shard_s: float = Field(
        default=30.0, gt=0, le=10**6, description="projected seconds of work per shard"
    )
    reuse: Url | None = Field(
        default=None,
        description="URL of a complete run: pairs of variables that have not changed since are copied from it",
    )


@dataclass(frozen=True, config=STRICT)
class EdgesConfig:
    max_p_value: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="store pairs up to this p-value only, and those without a p-value; default: all",
    )
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="each shard stores its k most significant and its k strongest pairs only, by either MI, which include those of "
        "the whole run; default: all",
    )
    matrix: bool = Field(
        default=True,
        description="write variables x variables matrices; set to false for very many variables",
    )

    @property
    def filtered(self) -> bool:
        """Whether some pairs are counted but not stored."""
        return self.max_p_value is not None or self.top_k is not None


@dataclass(frozen=True, config=STRICT)
class ExecuteConfig:
    executor: Literal["auto", "ray", "serial"] = Field(
        default="auto",
        description="ray; serial: in this process, without Ray; auto: serial where work takes less than Ray's start",
    )
    address: str = Field(
        default="local", description="Ray: local (starts one here), auto, or host:port of a cluster"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: the GPU that Ray assigned to a task, else the CPU"
    )
    num_cpus: float = Field(default=1.0, gt=0, le=4096, description="Ray: CPUs reserved by a task")
    num_gpus: float = Field(
        default=0.0, ge=0, le=64, description="Ray: share of a GPU reserved by a task"
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=10**6,
        description="shards submitted to Ray at once; default: twice what fits",
    )
    max_retries: int = Field(
        default=3,
        ge=0,
        le=1000,
        description="attempts after a lost worker or node; a failing pair is never retried",
    )
    drain_s: float = Field(
        default=20.0,
        ge=0,
        le=86400,
        description="seconds that shards under way get to finish on SIGTERM or --stop-after",
    )


@dataclass(frozen=True, config=STRICT)
class OutputConfig:
    url: Url = Field(default="runs/run", description="where the run is stored; any fsspec URL")


@dataclass(frozen=True, config=STRICT)
class Config:
    data: DataConfig = Field(description="the samples x variables table")
    pairs: PairsConfig = Field(default_factory=PairsConfig, description="which pairs")
    estimator: EstimatorConfig = Field(
        default_factory=EstimatorConfig, description="how MI is estimated"
    )
    lags: LagsConfig = Field(
        default_factory=LagsConfig,
        description="time series: dependence at a lag, and its direction",
    )
    plan: PlanConfig = Field(default_factory=PlanConfig, description="how work is cut")
    edges: EdgesConfig = Field(
        default_factory=EdgesConfig,
        description="which results are stored; every pair is estimated and counted all the same",
    )
    execute: ExecuteConfig = Field(
        default_factory=ExecuteConfig, description="where work runs; never changes a result"
    )
    output: OutputConfig = Field(default_factory=OutputConfig, description="where results go")


# Sections that change what is computed or kept. `execute` and `output` only say where.
RESULT_SECTIONS = ("data", "pairs", "estimator", "lags", "plan", "edges")
