"""The columns of the edge table, and the version of everything that is stored."""

from __future__ import annotations

from dataclasses import dataclass

# Raised whenever columns of a stored table, their meaning, or the layout of a stored file change; every table
# that is stored says with which version it was written, and readers check it.
SCHEMA_VERSION = 1
SCHEMA_KEY = "mmg_ray.schema_version"
CURVE = "list<float32>"


@dataclass(frozen=True)
class Column:
    """One column of a stored table: its name, type and meaning."""

    name: str
    dtype: str  # int32, float64, string, CURVE
    doc: str


EDGE_COLUMNS: tuple[Column, ...] = (
    Column("i", "int32", "index of the first variable (row of the matrix), i < j"),
    Column("j", "int32", "index of the second variable"),
    Column("source", "string", "name of variable i"),
    Column("target", "string", "name of variable j"),
    Column("n_samples", "int32", "samples with both variables present"),
    Column("mi_nats", "float64", "mutual information, nats; null unless status is ok"),
    Column("se_nats", "float64", "its standard error, nats"),
    Column("mi_ij", "float64", "estimate from denoising j given i, nats"),
    Column("mi_ji", "float64", "estimate from denoising i given j, nats"),
    Column(
        "mi_posterior",
        "float64",
        "mean MI in the light of all pairs, nats: shrunk where samples say little; null where not asked",
    ),
    Column("p_dependent", "float64", "probability of dependence: 1 - local false-discovery rate"),
    Column("gap", "float64", "direct form: held-out gap in denoising error, nats"),
    Column("orthogonal", "float64", "orthogonal form: squared distance of the denoisers, nats"),
    Column("p_value", "float64", "of independence: exact for scalars, else by permutations"),
    Column("spearman", "float64", "Spearman correlation (sign of the edge); null for groups"),
    Column("ess", "float64", "effective share of the noise-level draws, 0..1"),
    Column(
        "n_effective",
        "float64",
        "time series: independent samples worth as much; null where samples are independent",
    ),
    Column(
        "lag_s",
        "float64",
        "lag of the largest dependence, s; positive: the target follows the source; null without lags",
    ),
    Column(
        "band", "float64", "what the largest of the curve exceeds in 5 % of independent pairs, nats"
    ),
    Column("transfer_ij", "float64", "transfer entropy from source to target, nats"),
    Column("transfer_ji", "float64", "transfer entropy from target to source, nats"),
    Column("transfer_p_ij", "float64", "its p-value, source to target"),
    Column("transfer_p_ji", "float64", "its p-value, target to source"),
    Column(
        "curve", CURVE, "MI at every lag, nats, from the most negative lag to the most positive"
    ),
    Column("denoiser", "string", "which denoiser produced the row"),
    Column("stop", "string", "why no deeper denoiser was asked; null unless status is ok"),
    Column("status", "string", "ok, or why there is no value"),
    Column(
        "message",
        "string",
        "reason and way out where status is not ok; what to know of an ok value",
    ),
)
