"""The list of denoisers and the tiers each is made of. A new one is a file and an entry.

Every scalar pair is screened first, which gives its p-value. Then a denoiser's tiers take it in turn,
each as far as its gate lets it through; the last that took a pair gives the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mmg_ray.config import CascadeConfig, EstimatorConfig
from mmg_ray.errors import ConfigError
from mmg_ray.estimator.dependence import between_strata, contingency, screen
from mmg_ray.estimator.pairs.directions import Directions
from mmg_ray.estimator.pairs.estimates import BothWays, Estimates
from mmg_ray.estimator.pairs.tables import Samples
from mmg_ray.estimator.ranks.levels import BINS, FINE_BINS, MOST
from mmg_ray.estimator.ranks.ranked_variable import Both
from mmg_ray.estimator.tiers import gaussian
from mmg_ray.estimator.tiers.neural import denoiser as neural
from mmg_ray.estimator.tiers.neural import tilted
from mmg_ray.estimator.tiers.spline import denoiser as spline
from mmg_ray.schema import Cost, Stop

_FINE_NATS = 0.6  # below it fine tables err as coarse ones do, at a multiple of the cost
_MOST_SAMPLES = 20_000  # of networks: their time is in proportion, and error bars of more are small
_BINNED = 0.05  # of the screen's level: bins would let in many more pairs for little


class Known(NamedTuple):
    """What gates look at, of P pairs: p-values, MI and most plausible MI of the screen and of bins, MI so far."""

    p_value: np.ndarray
    screen_mi: np.ndarray
    plausible_mi: np.ndarray
    binned_p_value: np.ndarray
    binned_mi: np.ndarray
    binned_most: np.ndarray
    mi_nats: np.ndarray


class Bins(NamedTuple):
    """Tables of levels in `n` bins, for pairs whose MI is above `from_nats` by coarser ones.

    Of few shapes, for a denoiser that takes many pairs in hardly more time than one.
    """

    n: int
    from_nats: float = -np.inf
    few_shapes: bool = True


# of pairs, by tables of so many bins and of a shape, and by what a sample of each counts for
WithinStrata = Callable[[Sequence[Both], int, tuple[int, int], np.ndarray], BothWays]


class Tier(NamedTuple):
    """One denoiser as a step of a cascade.

    Attributes:
        name: of the denoiser, as rows name it.
        estimate: of a batch of directions. from_tables: of pairs by their (P, 2, X, Y) counts, and by how many
            independent samples a sample of each (P,) counts for. within_strata: of pairs within strata, see
            `between_strata`; by default `from_tables` less what strata explain.
        only: the pairs that it is for, by the (R,) distinct values of both variables and their samples:
            they stop there, and the others go on to the next tier.
        enters: which of the pairs that have got so far go in, by what is known of them.
        otherwise: why the others stay where they are.
        refined: whether nearest neighbours may raise what it finds of a pair.
        tables: ever finer ones, those that an MI asks for.
        from_samples: of pairs whose MI is above `strong_nats`, again, for which all tables are too coarse;
            where every sample is used they take the place of the finer tables.
        fits: which of the pairs that go in are estimated; what only bins see is not.
        from_groups: of pairs with a group of which most coordinates have ties, on a device: those stop there of which it
            has not missed much.
        most_samples: that `estimate` and `from_groups` take.
    """

    name: str
    estimate: Callable[[Directions, EstimatorConfig], Estimates] | None = None
    from_tables: Callable[[np.ndarray, np.ndarray], BothWays] | None = None
    within_strata: WithinStrata | None = None
    enters: Callable[[Known, CascadeConfig], np.ndarray] | None = None
    otherwise: Stop = Stop.FORCED
    refined: bool = False
    tables: tuple[Bins, ...] = (Bins(BINS),)
    from_samples: Callable[[Sequence[Samples], np.ndarray], BothWays] | None = None
    strong_nats: float = np.inf
    fits: Callable[[Known, CascadeConfig], np.ndarray] | None = None
    only: Callable[..., np.ndarray] | None = None
    from_groups: Callable[[Sequence[Both], EstimatorConfig, str], BothWays] | None = None
    most_samples: int = 2**62


class Denoiser(NamedTuple):
    """What `estimator.denoiser` names.

    Attributes:
        scalars: tiers of scalar pairs, after the screen. vectors: of pairs with a group; none
            where groups are not taken.
        independent: those instead of pairs with a group of which no dependence is significant; none where all go in.
        last: why a pair that has passed all tiers stops there.
        cost: of one pair of dimensions (dx, dy) and n samples.
        tile_variables: variables per side of a tile that make a good batch.
    """

    scalars: tuple[Tier, ...]
    vectors: tuple[Tier, ...]
    last: Stop
    cost: Callable[[int, int, int, EstimatorConfig], Cost]
    tile_variables: int
    independent: tuple[Tier, ...] = ()


GAUSSIAN = Tier("gaussian", lambda batch, _cfg: gaussian.estimate(batch))
NEURAL = Tier("neural", neural.estimate, most_samples=_MOST_SAMPLES)
TILTED = Tier(tilted.NAME, from_groups=tilted.estimate, most_samples=_MOST_SAMPLES)
SPLINE = Tier(
    "spline",
    from_tables=spline.warped,
    refined=True,
    tables=(Bins(BINS), Bins(FINE_BINS, _FINE_NATS)),
    from_samples=spline.warped_samples,
    strong_nats=spline.STRONG_NATS,
)
TABLE = Tier(
    contingency.NAME,
    from_tables=contingency.both_ways,
    within_strata=between_strata.without_any,
    only=contingency.of_few_values,
    tables=(Bins(MOST, few_shapes=False),),
)


def _significant(known: Known, cfg: CascadeConfig) -> np.ndarray:
    # without a p-value, below the screen's least number of samples, no pair is held back
    return ~(known.p_value > cfg.p_value)


def _matters(known: Known, cfg: CascadeConfig) -> np.ndarray:
    # of many samples any dependence is significant, and the screen's MI of a weak one is all there is to find
    return _significant(known, cfg) & (known.plausible_mi >= cfg.weak_nats)


def _dependent(known: Known, cfg: CascadeConfig) -> np.ndarray:
    seen = (known.binned_p_value <= _BINNED * cfg.p_value) & (known.binned_most >= cfg.weak_nats)
    return _matters(known, cfg) | seen


def _smooth(known: Known, cfg: CascadeConfig) -> np.ndarray:
    # a few smooth functions may miss what the screen's other orders see
    return np.maximum(known.mi_nats, known.screen_mi) > cfg.mi_nats


def _strong(known: Known, cfg: CascadeConfig) -> np.ndarray:
    return _smooth(known, cfg) | (known.binned_mi > cfg.mi_nats)


CASCADE = (
    TABLE,
    Tier(
        "spline-direct",
        from_tables=spline.direct,
        enters=_dependent,
        otherwise=Stop.NOT_SIGNIFICANT,
        fits=_matters,
    ),
    # where smooth functions see nothing, the warped ones see little that neighbours do not
    SPLINE._replace(enters=_strong, otherwise=Stop.WEAK, fits=_smooth),
)


def _network_cost(n: int, dim_x: int, dim_y: int, cfg: EstimatorConfig) -> Cost:
    """Of a scalar pair, or of groups without ties or with them, whichever takes longer."""
    n = min(n, _MOST_SAMPLES)
    continuous = neural.cost(n, dim_x, dim_y, cfg)
    if dim_x == dim_y == 1:
        return continuous
    tied = tilted.cost(n, dim_x, dim_y, cfg)
    return Cost(
        flops=max(continuous.flops, tied.flops),
        peak_bytes=max(continuous.peak_bytes, tied.peak_bytes),
    )


def _cascade_cost(n: int, dim_x: int, dim_y: int, cfg: EstimatorConfig) -> Cost:
    """Of a matrix like single-cell expression: a quarter of the pairs with more than weak MI, one in thirty strong.

    Mostly independent pairs take a tenth of it, strong ones ten times as much.
    """
    if max(dim_x, dim_y) > 1:
        return _network_cost(n, dim_x, dim_y, cfg)
    return Cost(flops=8e6 + 1e2 * n, peak_bytes=6e4 + 1.0 * n)


DENOISERS: dict[str, Denoiser] = {
    "auto": Denoiser(
        CASCADE, (TILTED, NEURAL), Stop.CONVERGED, _cascade_cost, 64, independent=(GAUSSIAN,)
    ),
    "screen": Denoiser((), (), Stop.FORCED, lambda n, _dx, _dy, _cfg: screen.cost(n), 256),
    "gaussian": Denoiser(
        (GAUSSIAN,), (GAUSSIAN,), Stop.FORCED, lambda n, dx, dy, _cfg: gaussian.cost(n, dx, dy), 16
    ),
    "spline": Denoiser(
        (TABLE, SPLINE),
        (),
        Stop.FORCED,
        lambda n, _dx, _dy, cfg: spline.cost(n, cfg.cascade.neighbour_samples),
        16,
    ),
    "neural": Denoiser((NEURAL,), (TILTED, NEURAL), Stop.FORCED, _network_cost, 4),
}


def denoiser(name: str) -> Denoiser:
    """The denoiser called `name`, or ConfigError listing those there are."""
    if name not in DENOISERS:
        raise ConfigError(
            f"estimator.denoiser is {name!r}; known denoisers: {', '.join(DENOISERS)}"
        )
    return DENOISERS[name]
