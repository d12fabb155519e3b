"""How noisy is the integral over noise levels? Rules for the levels, and paired against unpaired noise.

The denoisers of a few pairs are trained once; then the direct integral over all their held-out
samples is drawn again and again at equal evaluations, and its standard deviation is printed:

    python benchmarks/sampling.py

"paired": both denoisers see one (level, eps), as mmg_ray does. "unpaired": each error is estimated
from draws of its own, as in MMG's public code. "stratified" is mmg_ray's way of drawing levels and
eps; the others draw independently. "balanced" is the cross-product estimate that is reported.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import directions

from mmg_ray import known_mi
from mmg_ray.config import EstimatorConfig, NetworkConfig
from mmg_ray.estimator import channel, snr
from mmg_ray.estimator.streams import Streams
from mmg_ray.estimator.tiers.neural import denoiser as neural
from mmg_ray.estimator.tiers.neural.halves import held_out
from mmg_ray.estimator.tiers.neural.samples import Points

TASKS = [
    known_mi.gaussian(0.75),
    known_mi.student(1),
    known_mi.location_scale("x^2 + e", lambda x: x**2, lambda x: 1 + 0 * x),
    known_mi.location_scale("sin 2x + .3 e", lambda x: np.sin(2 * x), lambda x: 0.3 + 0 * x),
]


def linear(p: Points) -> torch.Tensor:
    """(S, M) direct integrand of the linear denoiser."""
    return (2 * p.w * p.f_linear - p.f_linear.square()).sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=1000)
    parser.add_argument("--n-draws", type=int, default=1, help="noise levels per sample")
    parser.add_argument("--repeats", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)

    sampled = [
        task.sample(np.random.default_rng([77, k]), args.n_samples) for k, task in enumerate(TASKS)
    ]
    # y denoised given x
    batch = directions([(y, x) for x, y in sampled]).select(list(range(len(TASKS))))
    cfg = EstimatorConfig(network=NetworkConfig(width=32, learning_rate=1e-2))
    fitted, _ = neural.fit(batch, cfg)
    part = fitted.residual[-1]
    everything = torch.arange(args.n_samples).repeat_interleave(16).expand(len(TASKS), -1)

    def pilot(name: str) -> snr.Sampler:
        """The rule `name`, shown the whole direct integrand once (16 levels a sample)."""
        rule = snr.SAMPLERS[name](part.sampler.logsnr_max[:, 0], cfg.snr)
        streams = Streams(0, [(k, "pilot") for k in range(len(TASKS))], batch.x.device)
        u, _ = rule.draw(streams.uniform(everything.shape[1]).clamp(1e-6, 1 - 1e-6))
        p = fitted.samples.points(everything, u, streams.normal(everything.shape[1], 1))
        terms = fitted.terms(p, fitted.samples.half[everything])
        rule.observe(u, terms.direct + linear(p))
        return rule

    samplers = {name: pilot(name) for name in snr.SAMPLERS}

    def integral(rule: snr.Sampler, paired: bool, repeat: int) -> torch.Tensor:
        """(S,) direct integral, levels and eps drawn independently."""
        samples = fitted.samples
        index = torch.arange(args.n_samples).repeat_interleave(args.n_draws).expand(len(TASKS), -1)

        def errors(part: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            streams = Streams(repeat, [(k, part) for k in range(len(TASKS))], batch.x.device)
            u, weight = rule.draw(streams.uniform(index.shape[1]).clamp(1e-6, 1 - 1e-6))
            p = samples.points(index, u, streams.normal(index.shape[1], 1))
            g = held_out(part(p.for_both()), samples.half[index])
            conditional = p.w - p.f_linear - g
            weight = 0.5 * weight * snr.tail_weight(channel.level(u).logsnr, rule.logsnr_max)
            return weight, p.w.square().sum(-1), conditional.square().sum(-1)

        weight, free, _ = errors(0)
        other, _, conditional = errors(0 if paired else 1)
        return (weight * free - other * conditional).mean(-1)

    def stratified(repeat: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(S,) direct and cross-product integrals as mmg_ray draws them."""
        samples = fitted.samples
        streams = Streams(repeat, [(k,) for k in range(len(TASKS))], batch.x.device)
        direct = torch.zeros(len(TASKS))
        balanced = torch.zeros(len(TASKS))
        for draw in samples.integral(samplers["adaptive"], streams, args.n_draws):
            p = samples.points(draw.sample, draw.u, draw.eps)
            terms = fitted.terms(p, samples.half[draw.sample])
            direct += (draw.weight * (linear(p) + terms.direct)).sum(-1) / args.n_samples
            # the linear part needs no draws: it is known in closed form
            balanced += (draw.weight * terms.cross).sum(-1) / args.n_samples
        return direct, balanced

    rows: dict[str, list[torch.Tensor]] = {}
    for repeat in range(args.repeats):
        for name, sampler in samplers.items():
            for paired in (False, True):
                label = f"{name}, {'paired' if paired else 'unpaired'}"
                rows.setdefault(label, []).append(integral(sampler, paired, repeat))
        direct, balanced = stratified(repeat)
        rows.setdefault("adaptive, paired, stratified", []).append(direct)
        rows.setdefault("  the same, balanced", []).append(balanced)

    print(
        f"standard deviation of the integral, nats: N = {args.n_samples}, {args.n_draws} level(s) a sample"
    )
    print(f"{'':30s} " + " ".join(f"{task.name:>16s}" for task in TASKS) + "     median")
    for label, values in sorted(
        rows.items(), key=lambda item: -float(torch.stack(item[1]).std(0).median())
    ):
        sd = torch.stack(values).std(0)
        print(
            f"{label:30s} "
            + " ".join(f"{s:16.4f}" for s in sd.tolist())
            + f" {float(sd.median()):10.4f}"
        )


if __name__ == "__main__":
    main()
