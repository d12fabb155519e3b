"""Two runs compared: of other days, other settings, or other samples of the same variables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.estimator.dependence.differences import test_difference
from mmg_ray.estimator.ranks.marginals import MISSING
from mmg_ray.estimator.ranks.ranked_variable import RankCache, RankedVariable
from mmg_ray.network.compare import Comparison, Values, compare_networks, pairs_of
from mmg_ray.network.graph import Network
from mmg_ray.schema import Variable
from mmg_ray.store.run import Run

_AT_ONCE = 256  # variables in memory while pairs are permuted


def compare(
    first: Run,
    second: Run,
    steps: Sequence[str] = ("fdr=0.05",),
    *,
    rate: float = 0.05,
    permutations: int = 0,
    paired: bool = False,
    seed: int = 0,
) -> Comparison:
    """Edges gained, lost, and changed beyond their errors from one complete run to another.

    Variables are matched by name. A difference is judged by both standard errors, as if the runs had no
    samples in common (too careful where they have), or by permutations: then samples of the two runs,
    ranked within their run, are permuted between them.

    Args:
        steps: of the network of either run, see `Run.network`.
        rate: false-discovery rate of a change, over all pairs that both runs have.
        permutations: most of a pair; 0 uses the standard errors.
        paired: sample k of both runs belongs to one subject: permutations swap the two.
        seed: of the permutations, keyed by pair.

    Raises:
        StoreError: a run is not complete. ConfigError: a wrong step.
        DataError: no variable in common, or paired runs of different lengths.
    """
    if not 0 < rate <= 1:
        raise ConfigError(f"a false-discovery rate is above 0 and at most 1; got {rate:g}")
    networks = first.network(steps), second.network(steps)
    there = set(networks[1].names)
    names = tuple(name for name in networks[0].names if name in there)
    if len(names) < 2:
        raise DataError(
            f"{first.url} and {second.url} have {len(names)} variables of the same name; there is "
            "nothing to compare"
        )
    if paired and first.manifest.n_samples != second.manifest.n_samples:
        raise DataError(
            f"paired: the runs have {first.manifest.n_samples} and {second.manifest.n_samples} samples; "
            "sample k of one must belong to sample k of the other"
        )
    position = {name: k for k, name in enumerate(names)}
    pairs = pairs_of(networks[0], position) | pairs_of(networks[1], position)
    values = (
        _values(first, networks[0], position, pairs),
        _values(second, networks[1], position, pairs),
    )
    permuted = None
    if permutations:
        permuted = _permuted((first, second), networks, names, pairs, permutations, paired, seed)
    n_tests = min(len(names) * (len(names) - 1) // 2, first.n_tests(), second.n_tests())
    return compare_networks(networks, values, names, max(n_tests, len(pairs)), rate, permuted)


def _values(
    run: Run, network: Network, position: dict[str, int], pairs: set[tuple[int, int]]
) -> Values:
    """MI and standard error of some pairs, by the positions of their names."""
    place = np.array([position.get(name, -1) for name in network.names])
    wanted = np.array(sorted(i * len(position) + j for i, j in pairs), dtype=np.int64)
    found: dict[tuple[int, int], tuple[float, float]] = {}
    columns = ("i", "j", "mi_nats", "se_nats")
    for rows in run.edge_store().batches(columns, pc.field("mi_nats").is_valid()):
        i, j, mi, se = (c.to_numpy(zero_copy_only=False) for c in rows.columns)
        a, b = np.minimum(place[i], place[j]), np.maximum(place[i], place[j])
        mine = np.flatnonzero((a >= 0) & np.isin(a * len(position) + b, wanted))
        for k in mine.tolist():
            found[int(a[k]), int(b[k])] = float(mi[k]), float(se[k])
    return found


def _permuted(
    runs: tuple[Run, Run],
    networks: tuple[Network, Network],
    names: tuple[str, ...],
    pairs: set[tuple[int, int]],
    permutations: int,
    paired: bool,
    seed: int,
) -> dict[tuple[int, int], float]:
    """p-values of no difference, of pairs of scalars."""
    prepared = [run.prepared() for run in runs]
    index = [{name: k for k, name in enumerate(network.names)} for network in networks]
    held: list[dict[int, Variable]] = [{}, {}]
    found = {}
    for i, j in sorted(pairs):
        variables = []
        for p, of, kept in zip(prepared, index, held, strict=True):
            both = [of[names[k]] for k in (i, j)]
            missing = [k for k in both if k not in kept]
            if len(kept) > _AT_ONCE:
                kept.clear()
                missing = both
            kept |= p.load(missing)
            variables.append([kept[k] for k in both])
        if all(v.dim == 1 for of_run in variables for v in of_run):
            complete = [_complete(*of_run) for of_run in variables]
            if paired:
                complete = [complete[0] & complete[1]] * 2
            first, second = (
                _sides(of_run, present, seed)
                for of_run, present in zip(variables, complete, strict=True)
            )
            found[i, j] = test_difference(first, second, permutations, paired, seed).p_value
    return found


def _complete(a: Variable, b: Variable) -> np.ndarray:
    complete: np.ndarray = ((a.codes != MISSING) & (b.codes != MISSING))[:, 0]
    return complete


def _sides(
    pair: list[Variable], present: np.ndarray, seed: int
) -> tuple[RankedVariable, RankedVariable]:
    sides = RankCache(seed)
    return sides.of(pair[0], present), sides.of(pair[1], present)
