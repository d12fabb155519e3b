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

    group_by: str | None = Field(
        default=None,
        description="metadata column, such as cell_type: a separate run for each of its values, each in its own "
        "folder",
    )
    min_genes: int = Field(
        default=1, ge=0, description="leave out cells that express fewer genes; they are listed"
    )
    pseudobulk: Texts = Field(
        default=(),
        description="metadata columns, such as [donor, cell_type]: cells that agree in all of them form one sample; "
        "counts are summed, other values averaged",
    )
    metacells: int | None = Field(
        default=None,
        ge=2,
        description="pool about this many similar cells into one sample; p-values are then too small, rank by MI "
        "instead",
    )
    normalise: Literal["auto", "log", "none"] = Field(
        default="auto",
        description="log: scale every cell to the median depth and take log(1 + x); none: leave the values as they "
        "are; auto: log for counts, recognised by their values, and refused if ambiguous, of which cells of like depth are compared "
        "where scaled counts would make independent genes seem to depend",
    )
    stratify_by: Texts = Field(
        default=(),
        description="covariates to hold fixed, such as [depth, batch]: every pair is tested and estimated among cells that "
        "are alike in all of them; zeros stay zeros, and a run of any size costs little more",
    )
    regress: Texts = Field(
        default=(),
        description="covariates whose linear effect is subtracted; for bulk data without ties",
    )


@dataclass(frozen=True, config=_STRICT)
class GenesConfig:
    """Which genes take part."""

    min_cells: int = Field(
        default=10, ge=0, description="leave out genes detected in fewer cells; they are listed"
    )
    top: int | None = Field(
        default=None, ge=2, description="keep this many genes, and all regulators; default: all"
    )
    by: Literal["variable", "expressed"] = Field(
        default="variable",
        description="top: the genes most variable for their mean, or those of highest mean expression",
    )
    regulators: str | None = Field(
        default=None,
        description="file of transcription factors, one symbol a line: pairs are then regulators x genes",
    )
    sets: str | None = Field(
        default=None,
        description="GMT file of gene sets: pairs are then set x set; genes in several sets are left out",
    )


@dataclass(frozen=True, config=_STRICT)
class ExpressionCascade(CascadeConfig):
    """Without fine structure: scaled counts of a cell are equal where its counts are."""

    fine_structure: bool = Field(
        default=False,
        description="whether binned ranks and nearest neighbours may find fine structure; in scaled counts it mostly "
        "reflects the depth of the cells",
    )


@dataclass(frozen=True, config=_STRICT)
class ExpressionEstimator(EstimatorConfig):
    """How MI of expression is estimated."""

    cascade: ExpressionCascade = Field(
        default_factory=ExpressionCascade, description="denoiser auto: which pairs get which tier"
    )


@dataclass(frozen=True, config=_STRICT)
class GenomicsConfig(Config):
    """A run's configuration and, before it, what makes its table of an expression matrix."""

    cells: CellsConfig = Field(
        default_factory=CellsConfig,
        description="genomics: filtering, pooling and adjusting cells, in this order",
    )
    genes: GenesConfig = Field(
        default_factory=GenesConfig, description="genomics: which genes and pairs"
    )
    estimator: ExpressionEstimator = Field(
        default_factory=ExpressionEstimator, description="how MI is estimated"
    )
    network: FilesConfig = Field(
        default_factory=FilesConfig, description="genomics: network steps and files written"
    )
