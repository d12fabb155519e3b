"""MI by the conventions of scikit-learn."""

from __future__ import annotations

from typing import Any

from mmg_ray.api.pair import estimate_mi
from mmg_ray.config import EstimatorConfig
from mmg_ray.errors import ConfigError


class MMGEstimator:
    """MI of two variables by the conventions of scikit-learn (`clone`, `get_params`) and of MI benchmarks.

    Denoisers are cross-fitted on the samples given, so nothing carries over between calls.

    Args:
        denoiser, seed, config, n_jobs: as in `estimate_mi`.

    Attributes:
        mi_, se_: of the last `fit`, nats; NaN where there is no value, see ``result_.status``.
        p_value_: of independence; NaN where no test was made.
        result_: everything found.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 500, 1))
        >>> estimator = mmg_ray.MMGEstimator("gaussian")
        >>> estimator
        MMGEstimator(denoiser='gaussian')
        >>> round(estimator.estimate(x, 0.8 * x + 0.6 * e), 1)
        0.6
        >>> round(estimator.fit(x, e).mi_, 1)
        0.0
    """

    def __init__(
        self,
        denoiser: str | None = None,
        seed: int | None = None,
        config: EstimatorConfig | None = None,
        n_jobs: int = 1,
    ) -> None:
        self.denoiser, self.seed, self.config, self.n_jobs = denoiser, seed, config, n_jobs

    def fit(self, X: Any, Y: Any) -> MMGEstimator:
        """Estimate the MI of (n, p) X and (n, q) Y."""
        self.result_ = found = estimate_mi(X, Y, **self.get_params())
        self.mi_, self.se_, self.p_value_ = (
            float("nan") if value is None else value
            for value in (found.mi_nats, found.se_nats, found.p_value)
        )
        return self

    def estimate(self, X: Any, Y: Any) -> float:
        """``fit(X, Y).mi_``, the one method that MI benchmarks call."""
        return self.fit(X, Y).mi_

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  # of the protocol
        """The arguments of the constructor."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **params: Any) -> MMGEstimator:
        """Change arguments of the constructor. ConfigError for a name that it has not."""
        for name, value in params.items():
            if name not in _PARAMETERS:
                raise ConfigError(
                    f"MMGEstimator has no parameter {name!r}; it has {', '.join(_PARAMETERS)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        default = type(self)().get_params()
        changed = (f"{k}={v!r}" for k, v in self.get_params().items() if v != default[k])
        return f"MMGEstimator({', '.join(changed)})"


_PARAMETERS = ("denoiser", "seed", "config", "n_jobs")
