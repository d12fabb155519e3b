"""One YAML -> frozen dataclasses. Every field has a one-line description, shown by `mmg-ray config`.

Unknown keys are errors that name the nearest known one. Defaults are resolved here, once; the
resolved configuration is what a run stores and what its fingerprint covers.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass

from mmg_ray.errors import ConfigError
from mmg_ray.plain_yaml import parse
from mmg_ray.url_secrets import require_no_secret

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def _as_texts(value: Any) -> Any:
    """A list of names as people write it: one name, or a list, numbers and booleans included."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(str(v) if isinstance(v, int | float) else v for v in items)


_MAX_SEED = 2**63 - 1
_COMMENT = 100  # columns of a comment in the documented YAML

Texts = Annotated[tuple[str, ...], BeforeValidator(_as_texts)]


def _is_url(url: str) -> str:
    if not url.strip() or any(ord(character) < 32 or ord(character) == 127 for character in url):
        raise ValueError("no URL or path: it is empty or has control characters")
    require_no_secret(url)  # it would be stored with the run
    return url


Url = Annotated[str, AfterValidator(_is_url)]


@dataclass(frozen=True, config=_STRICT)
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
        le=_MAX_SEED,
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
    missing: Literal["pairwise", "error"] = Field(
        default="pairwise",
        description="pairwise: each pair leaves out its incomplete samples; error: refuse missing values",
    )
    duplicate_names: Literal["error", "number"] = Field(
        default="error",
        description="repeated variable names: refuse them, or number them (append -1, -2, ...)",
    )


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
class SNRConfig:
    sampler: Literal["adaptive", "uniform", "logistic"] = Field(
        default="adaptive",
        description="density of the noise levels; logistic is the MMG paper's rule",
    )
    n_draws: int = Field(
        default=16, ge=1, le=4096, description="noise levels per sample in the final integral"
    )
    logsnr_max: float = Field(
        default=10.0,
        ge=2,
        le=20,
        description="top of the learned range at least; its tail is added",
    )
    n_bins: int = Field(default=16, ge=4, le=4096, description="bins of the adaptive density")
    floor: float = Field(
        default=0.25, gt=0, le=1, description="share of the draws spread over the whole range"
    )


@dataclass(frozen=True, config=_STRICT)
class NetworkConfig:
    width: int | None = Field(
        default=None,
        ge=4,
        le=4096,
        description="units per hidden layer; default 32, and 64 with a group",
    )
    n_layers: int = Field(default=3, ge=1, le=64, description="hidden layers")
    n_steps: int = Field(default=1500, ge=1, le=10**6, description="optimiser steps")
    batch_size: int = Field(default=256, ge=8, le=10**6, description="samples per step and pair")
    learning_rate: float = Field(default=1e-2, gt=0, description="peak of the cosine schedule")
    weight_decay: float = Field(default=1e-2, ge=0, le=100, description="decoupled weight decay")


@dataclass(frozen=True, config=_STRICT)
class CascadeConfig:
    p_value: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="pairs with a larger p-value keep the screen's estimate, unless binned ranks show dependence at a "
        "twentieth of this level",
    )
    weak_nats: float = Field(
        default=0.02,
        ge=0,
        description="pairs whose MI is below this, even with two standard errors added, keep the screen's estimate "
        "however significant they are",
    )
    mi_nats: float = Field(
        default=0.04,
        ge=0,
        description="pairs with a smaller MI keep the direct spline's estimate, unless the screen or binned ranks "
        "show more",
    )
    fine_structure: bool = Field(
        default=True,
        description="whether a test of ranks in bins and nearest neighbours may show what no "
        "smooth function sees: branches, checks, jumps, lines; scaled counts lie on lines that only "
        "tell of the scale",
    )


@dataclass(frozen=True, config=_STRICT)
class NullConfig:
    kind: Literal["permutation", "shift", "block"] = Field(
        default="permutation",
        description="null distribution: samples permuted; time series circularly shifted against one another (shift); "
        "blocks of a series, or trials, permuted (block)",
    )
    max_permutations: int = Field(
        default=9999,
        ge=0,
        le=10**8,
        description="permutations a pair may use at most, so its p-value is at least 1 / (1 + this); 0: no "
        "permutation test",
    )
    block_samples: int | None = Field(
        default=None,
        ge=1,
        le=2**31 - 1,
        description="block: samples of a block, or of a trial; default ten correlation times",
    )


@dataclass(frozen=True, config=_STRICT)
class EstimatorConfig:
    denoiser: str = Field(
        default="auto",
        description="auto (a cascade: screen, table, splines; tilted for groups of counts, neural for other groups), "
        "screen, spline, neural or gaussian",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=_MAX_SEED,
        description="seed of all random numbers; the same seed gives the same results to the bit",
    )
    min_samples: int = Field(
        default=30,
        ge=8,
        le=2**31 - 1,
        description="pairs with fewer complete samples get a status instead of a value",
    )
    cascade: CascadeConfig = Field(
        default_factory=CascadeConfig, description="denoiser auto: which pairs get which tier"
    )
    snr: SNRConfig = Field(
        default_factory=SNRConfig, description="neural: integration over noise levels"
    )
    network: NetworkConfig = Field(
        default_factory=NetworkConfig, description="the neural denoiser of a tile"
    )
    nulls: NullConfig = Field(
        default_factory=NullConfig,
        description="p-values of groups and of time series (independent scalars have exact ones)",
    )


Lag = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=_STRICT)
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
    nulls: Literal["auto", "shift", "trial", "jitter"] = Field(
        default="auto",
        description="null distribution of the largest dependence over the lags: series shifted against one another "
        "(shift), trials permuted (trial), spikes moved within windows of lags.jitter_s (jitter: slow common "
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


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
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


@dataclass(frozen=True, config=_STRICT)
class OutputConfig:
    url: Url = Field(default="runs/run", description="where the run is stored; any fsspec URL")


@dataclass(frozen=True, config=_STRICT)
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


_RENAMED = {
    "recording.turned": "recording.transposed",
    "lags.max_q_value": "lags.max_p_value",
    "cells.within": "cells.stratify_by",
    "cells.each": "cells.group_by",
}

# Sections that change what is computed or kept. `execute` and `output` only say where.
RESULT_SECTIONS = ("data", "pairs", "estimator", "lags", "plan", "edges")


AnyConfig = TypeVar("AnyConfig", bound=Config)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Build the frozen configuration, or raise ConfigError naming key, value and way out."""
    return _build(tree, Config)


def load(text: str, overrides: Iterable[str] = ()) -> Config:
    """Parse YAML text and apply `a.b=value` overrides, in order.

    Examples:
        >>> load("data: {path: cells.h5ad}", ["estimator.seed=7"]).estimator.seed
        7
        >>> load("data: {path: cells.h5ad, layers: raw}")
        Traceback (most recent call last):
        ...
        mmg_ray.errors.ConfigError: unknown key 'data.layers': did you mean 'layer'? Known here: ...
    """
    return load_as(Config, text, overrides)


def load_as(kind: type[AnyConfig], text: str, overrides: Iterable[str] = ()) -> AnyConfig:
    """The same for a dataclass that adds sections to Config, as pipelines do."""
    tree = parse(text, "the configuration")
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise ConfigError(
            f"the configuration must be a mapping of sections, got {type(tree).__name__}; "
            "start it with 'data:'"
        )
    tree = {key: {} if section is None else section for key, section in tree.items()}
    for override in overrides:
        _set(tree, override)
    return _build(tree, kind)


def _build(tree: Mapping[str, Any], kind: type[AnyConfig]) -> AnyConfig:
    try:
        return TypeAdapter(kind).validate_python(dict(tree))
    except ValidationError as error:
        raise ConfigError(_explain(error, kind)) from None


def to_dict(config: Any) -> dict[str, Any]:
    """The resolved configuration as plain types, ready for JSON or YAML."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def _set(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    *sections, leaf = (part.strip() for part in key.split("."))
    if not separator or not all([*sections, leaf]):
        raise ConfigError(f"--set {override!r:.200}: write it as section.key=value")
    node = tree
    for section in sections:
        if node.get(section) is None:  # absent, or an empty section in the file
            node[section] = {}
        node = node[section]
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override!r}: {section!r} holds a value, not a section")
    try:
        node[leaf] = parse(text, "the value")
    except ConfigError as error:
        raise ConfigError(f"--set {override:.200}: {error}; a list is [a, b]") from None


def _explain(error: ValidationError, kind: type[Config]) -> str:
    return "; ".join(_explain_one(item, kind) for item in error.errors())


def _explain_one(item: Mapping[str, Any], kind: type[Config]) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        if key in _RENAMED:
            return f"unknown key '{key}': it is now called '{_RENAMED[key]}'"
        known = known_keys(path[:-1], kind)
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.0)
        return f"unknown key '{key}': did you mean '{near[0]}'? Known here: {', '.join(known)}"
    if item["type"] == "missing":
        return f"'{key}' is required and was not given"
    value = item["input"]
    # what is no number or text where one is asked for may be anything, credentials for example
    shown = (
        f"{value!r:.200}"
        if isinstance(value, str | int | float | None)
        else f"a {type(value).__name__}"
    )
    return f"'{key}' is {shown}: {item['msg']}"


def known_keys(path: Iterable[str], kind: type[Config] = Config) -> list[str]:
    """Field names of the section at `path` (empty: the sections)."""
    section: Any = kind
    for part in path:
        fields = section.__pydantic_fields__
        section = fields[part].annotation if part in fields else section
    return [f.name for f in dataclasses.fields(section)]


def documented_yaml(kind: type[Config] = Config) -> str:
    """Every field with its default below its description: a configuration to start from."""
    return "\n".join(_document(kind, "")) + "\n"


def _choices(annotation: Any) -> str:
    """` (error | sort)` of a field that takes one of a few words."""
    if get_origin(annotation) is not Literal:
        return ""
    return f" ({' | '.join(map(str, get_args(annotation)))})"


def _document(section: Any, indent: str) -> list[str]:
    lines = []
    for name, field in section.__pydantic_fields__.items():
        text = f"{field.description}{_choices(field.annotation)}"
        mark = f"{indent}# "
        lines += textwrap.wrap(
            text, _COMMENT, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
        )
        if dataclasses.is_dataclass(field.annotation):
            lines += [f"{indent}{name}:", *_document(field.annotation, indent + "  ")]
        else:
            value = (
                "data.csv" if field.is_required() else field.get_default(call_default_factory=True)
            )
            lines.append(f"{indent}{name}: {json.dumps(value)}")
        if not indent:
            lines.append("")
    return lines
