"""Y given X is a curve plus noise: one branch, many branches, jumps, a ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import i0e, logsumexp

from mmg_ray.known_mi import integrate
from mmg_ray.known_mi.laws import LAWS, Law
from mmg_ray.known_mi.task import Array, Task

Curve = Callable[[Array], Array]
NORMAL = LAWS["normal"]


def additive(
    name: str,
    mean: Curve,
    sd: Curve | float = 1.0,
    x: str = "normal",
    noise: str = "normal",
    breaks: Sequence[float] = (),
) -> Task:
    """Y = mean(X) + sd(X) E, X and E from LAWS: I = h(Y) - E log sd(X) - h(E).

    ``breaks`` are the x at which ``mean`` or ``sd`` jumps or has a kink.
    """
    input_law, noise_law = LAWS[x], LAWS[noise]
    low, high = input_law.support
    edges = [low, *sorted(b for b in {*breaks, *input_law.kinks} if low < b < high), high]

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        drawn = input_law.draw(rng, n)
        return drawn, mean(drawn) + _on(sd, drawn) * noise_law.draw(rng, n)

    def integral(n: int) -> float:
        nodes, weights = integrate.gauss_legendre(edges, n // 2)
        weights = weights * input_law.pdf(nodes)
        scales = _on(sd, nodes)
        h_y = _output_entropy(noise_law, mean(nodes), scales, weights, n, jumps)
        return h_y - weights @ np.log(scales) - noise_law.entropy

    # where the curve is flat up to a break, a jump of the noise's density is one of Y's
    ends = np.concatenate([np.add(edges[:-1], 1e-9), np.subtract(edges[1:], 1e-9)])
    jumps = mean(ends) + np.outer(noise_law.jumps, _on(sd, ends))
    return Task(name, integrate.converged(integral, 2000), sample)


def location_scale(name: str, mean: Curve, sd: Curve) -> Task:
    """X ~ N(0, 1), Y | X ~ N(mean(X), sd(X)^2)."""
    return additive(name, mean, sd)


def additive_uniform(half_width: float) -> Task:
    """X ~ U(0, 1), Y = X + U(-h, h): hard edges. I = h - log 2h (h <= 1/2), else 1 / 4h."""

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x = rng.random(n)
        return x, x + rng.uniform(-half_width, half_width, n)

    h = half_width
    mi = h - np.log(2 * h) if h <= 0.5 else 1 / (4 * h)
    return Task(f"additive uniform {h:g}", float(mi), sample)


def branches(
    name: str, means: Sequence[Curve], sds: Sequence[float], shares: Sequence[float] | None = None
) -> Task:
    """X ~ N(0, 1), Y | X ~ sum_b share_b N(mean_b(X), sd_b^2), by default in equal shares.

    I = h(Y) - E h(Y | X), both by quadrature.
    """
    share = np.full(len(means), 1 / len(means)) if shares is None else np.asarray(shares)
    scale = np.asarray(sds, dtype=float)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x, e = rng.standard_normal((2, n))
        branch = rng.choice(share.size, n, p=share)
        return x, np.choose(branch, [mean(x) for mean in means]) + scale[branch] * e

    def integral(n: int) -> float:
        x, weights = integrate.gauss_legendre(NORMAL.support, n // 2)
        weights = weights * NORMAL.pdf(x)
        centres = np.stack([mean(x) for mean in means])
        h_y = _output_entropy(
            NORMAL,
            centres.ravel(),
            np.repeat(scale, x.size),
            np.outer(share, weights).ravel(),
            n,
        )
        return h_y - weights @ _normal_mixture_entropy(centres, scale, share, n // 8)

    return Task(name, integrate.converged(integral, 2000), sample)


def labels_normal(shares: Sequence[float], centres: Sequence[float], sd: float = 1.0) -> Task:
    """X in 0, 1, ... with these probabilities, Y ~ N(centre_X, sd^2): I = h(Y) - h(E)."""
    share, centre = np.asarray(shares), np.asarray(centres, dtype=float)
    scales = np.full(share.size, sd)

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        x = rng.choice(share.size, n, p=share)
        return x.astype(float), centre[x] + sd * rng.standard_normal(n)

    def integral(n: int) -> float:
        h_y = _output_entropy(NORMAL, centre, scales, share, n)
        return h_y - np.log(sd) - NORMAL.entropy

    name = f"{share.size} labels + {sd:g} e"
    return Task(name, integrate.converged(integral, 2000), sample)


def ring(sd: float) -> Task:
    """(X, Y) = (cos T, sin T) + sd (E, E'), T uniform: two branches each way.

    I = 2 h(X) - h(X, Y); the joint density depends on the radius alone (Rice).
    """

    def sample(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        angle = rng.uniform(0, 2 * np.pi, n)
        x, y = np.stack([np.cos(angle), np.sin(angle)]) + sd * rng.standard_normal((2, n))
        return x, y

    def integral(n: int) -> float:
        angle, weights = integrate.gauss_legendre([0, np.pi], n // 2)
        h_x = _output_entropy(NORMAL, np.cos(angle), np.full(angle.size, sd), weights / np.pi, n)
        r, dr = integrate.gauss_legendre([0, 1 + NORMAL.support[1] * sd], n)
        log_p = np.log(i0e(r / sd**2) / (2 * np.pi * sd**2)) - (r - 1) ** 2 / (2 * sd**2)
        return 2 * h_x + dr @ (2 * np.pi * r * np.exp(log_p) * log_p)

    return Task(f"ring + {sd:g} e", integrate.converged(integral, 2000), sample)


def _on(curve: Curve | float, x: Array) -> Array:
    """A curve or a constant at ``x``."""
    return (curve(x) if callable(curve) else curve) * np.ones_like(x)


def _output_entropy(
    law: Law, centres: Array, scales: Array, weights: Array, n: int, jumps: Array | float = 0.0
) -> float:
    """h(Y) on about ``n`` cells: fine around the centre, wider in the tails, cut at ``jumps``."""
    low = np.min(centres + scales * law.support[0])
    high = np.max(centres + scales * law.support[1])
    middle = weights @ centres
    width = weights @ (abs(centres - middle) + scales)
    first, last = np.arcsinh((np.array([low, high]) - middle) / width)
    edges = middle + width * np.sinh(np.linspace(first, last, n + 1))
    edges = np.union1d(edges, np.clip(jumps, low, high))
    return integrate.mixture_entropy(law.cdf, centres, scales, weights, edges)


def _normal_mixture_entropy(centres: Array, sds: Array, shares: Array, n: int) -> Array:
    """(K,) entropies of K normal mixtures of B components: (B, K) centres, (B,) sds and shares."""
    e, weights = integrate.gauss_legendre(NORMAL.support, n)
    weights = weights * NORMAL.pdf(e)
    total = np.zeros(centres.shape[1])
    for centre, sd, share in zip(centres, sds, shares, strict=True):
        y = centre[:, None] + sd * e
        z = (y - centres[..., None]) / sds[:, None, None]
        log_p = logsumexp(-(z**2) / 2, axis=0, b=(shares / sds)[:, None, None])
        total -= share * (log_p - 0.5 * np.log(2 * np.pi)) @ weights
    return total
