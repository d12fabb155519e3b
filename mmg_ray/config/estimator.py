"""The section `estimator`: denoisers, noise levels, the cascade and null distributions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mmg_ray.config.fields import MAX_SEED, STRICT


@dataclass(frozen=True, config=STRICT)
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


@dataclass(frozen=True, config=STRICT)
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


@dataclass(frozen=True, config=STRICT)
class CascadeConfig:
    p_value: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="pairs with a larger p-value keep the screen's estimate, unless binned ranks show dependence at a "
        "twentieth of this level; of groups that of a linear denoiser",
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
    neighbour_samples: int = Field(
        default=20_000,
        ge=1000,
        description="nearest neighbours look at so many samples of a pair at most, a millisecond for a thousand; of more the "
        "error of hard edges and fine structure falls, see the benchmarks",
    )


@dataclass(frozen=True, config=STRICT)
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


@dataclass(frozen=True, config=STRICT)
class EstimatorConfig:
    denoiser: str = Field(
        default="auto",
        description="auto (a cascade: screen, table, splines; tilted for groups of counts, neural for other groups), "
        "screen, spline, neural or gaussian",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=MAX_SEED,
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
