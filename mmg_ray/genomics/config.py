"""The YAML of mmg_ray/genomics: three sections of its own before those of every run."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mmg_ray.config import CascadeConfig, Config, EstimatorConfig, Texts
from mmg_ray.jobs import FilesConfig

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class CellsConfig:
    """What is done to cells (or bulk samples), in this order."""

    each: str | None = Field(
        default=None,
        description="metadata column, such as cell_type: a run for each of its values, in a folder each",
    )
    min_genes: int = Field(
        default=1, ge=0, description="cells that express fewer genes are left out, and listed"
    )
    pseudobulk: Texts = Field(
        default=(),
        description="metadata columns, such as [donor, cell_type]: cells alike in all of them are "
        "pooled into one sample",
    )
    metacells: int | None = Field(
        default=None,
        ge=2,
        description="pool about this many similar cells into one sample; p-values then say too much",
    )
    normalise: Literal["auto", "log", "none"] = Field(
        default="auto",
        description="log: scale every cell to the median depth, take log(1 + x); auto: for counts, whole or "
        "corrected, told by the values; refused where it is open",
    )
    within: Texts = Field(
        default=(),
        description="covariates held fixed, as [depth, batch]: genes become ranks among cells alike "
        "in all of them; zeros stay harmless",
    )
    regress: Texts = Field(
        default=(),
        description="covariates whose linear effect is subtracted; for bulk data without ties",
    )


@dataclass(frozen=True, config=_STRICT)
class GenesConfig:
    """Which genes take part."""

    min_cells: int = Field(
        default=10, ge=0, description="genes above 0 in fewer cells are left out, and listed"
    )
    top: int | None = Field(
        default=None, ge=2, description="keep this many genes, and all regulators; default all"
    )
    by: Literal["variable", "expressed"] = Field(
        default="variable",
        description="top: of most variance for their mean, or of highest mean",
    )
    regulators: str | None = Field(
        default=None,
        description="file of transcription factors, one symbol a line: pairs are regulators x genes",
    )
    sets: str | None = Field(
        default=None,
        description="GMT file of gene sets: pairs are set x set; a gene of several sets is in none",
    )


@dataclass(frozen=True, config=_STRICT)
class ExpressionCascade(CascadeConfig):
    """Without fine structure: scaled counts of a cell are equal where its counts are."""

    fine_structure: bool = Field(
        default=False,
        description="whether a test of ranks in bins and nearest neighbours may show what no smooth "
        "function sees; scaled counts of one cell lie on lines, which only tell of its depth",
    )


@dataclass(frozen=True, config=_STRICT)
class ExpressionEstimator(EstimatorConfig):
    """How MI of expression is estimated."""

    cascade: ExpressionCascade = Field(
        default_factory=ExpressionCascade, description="how deep denoiser: auto takes a pair"
    )


@dataclass(frozen=True, config=_STRICT)
class GenomicsConfig(Config):
    """A run's configuration and, before it, what makes its table of an expression matrix."""

    cells: CellsConfig = Field(
        default_factory=CellsConfig, description="genomics: what is done to cells, in this order"
    )
    genes: GenesConfig = Field(default_factory=GenesConfig, description="genomics: which genes")
    estimator: ExpressionEstimator = Field(
        default_factory=ExpressionEstimator, description="how MI is estimated"
    )
    network: FilesConfig = Field(
        default_factory=FilesConfig, description="genomics: what is made of the edges"
    )
