"""Genes: filters, lists of regulators, gene sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import median_filter

from mmg_ray.errors import DataError
from mmg_ray.store.location import Location
from mmg_ray.store.sources import Table
from mmg_ray.store.sources.files import locate
from mmg_ray.store.sources.select import match_names, nearest

_NEAREST = 11


def read_regulators(url: str) -> list[str]:
    """Symbols of a text file, one a line; of a table the first column. DataError where it is empty."""
    lines = _lines(url)
    found = [line.split("\t")[0].split(",")[0].strip().strip("\"'").strip() for line in lines]
    names = list(dict.fromkeys(name for name in found if name and not name.startswith("#")))
    if not names:
        raise DataError(f"genes.regulators: {url} names no gene; it needs one symbol a line")
    return names


def overlap(
    names: Sequence[str], wanted: Sequence[str], url: str
) -> tuple[dict[str, str], list[str]]:
    """{wanted: gene of the table} of those that are there, and notes; see `match_names`.

    DataError, with the reason in sight, where none is.
    """
    found, notes = match_names(wanted, names)
    if not found:
        upper = len({n.upper() for n in names} & {w.upper() for w in wanted})
        hint = (
            f"{upper:,} would match if case did not count: is the list of another species?"
            if upper
            else f"symbols in one and identifiers in the other (data.variable_names)?{nearest(wanted[0], names)}"
        )
        raise DataError(
            f"genes.regulators: none of the {len(wanted):,} names of {url} ({', '.join(wanted[:3])}, "
            f"...) is a gene of the table ({', '.join(list(names)[:3])}, ...); {hint}"
        )
    return found, notes


def read_gmt(url: str) -> dict[str, list[str]]:
    """{set: [gene, ...]} of a GMT file: name, description and genes, by tabs. DataError for others."""
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(_lines(url), start=1):
        if not line.strip():
            continue
        name, *rest = line.rstrip("\r\n").split("\t")
        genes = [gene.strip() for gene in rest[1:] if gene.strip()]
        if not genes:
            raise DataError(
                f"genes.sets: line {number} of {url} has no genes ({line[:40]!r}); a GMT line is name, "
                "description and genes, separated by tabs"
            )
        if name in sets:
            raise DataError(f"genes.sets: {name!r} occurs twice in {url}; rename one")
        sets[name] = list(dict.fromkeys(genes))
    if not sets:
        raise DataError(f"genes.sets: {url} is empty")
    return sets


def disjoint(
    sets: dict[str, list[str]], names: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The sets with the genes that are in the table and in no other set, and what was left out.

    The MI of two sets with a gene in common has no bound. DataError where fewer than two sets remain.
    """
    there = set(names)
    times = Counter(gene for genes in sets.values() for gene in genes if gene in there)
    kept = {
        name: found
        for name, genes in sets.items()
        if (found := [gene for gene in genes if times.get(gene) == 1])
    }
    shared = sorted(gene for gene, n in times.items() if n > 1)
    absent = len({gene for genes in sets.values() for gene in genes} - there)
    notes = [
        f"sets: {len(kept):,} of {len(sets):,}, with {sum(map(len, kept.values())):,} genes; left out "
        f"are {absent:,} genes that the table does not have and {len(shared):,} that several sets share"
        + (f" ({', '.join(shared[:5])}{', ...' if len(shared) > 5 else ''})" if shared else "")
    ]
    lost = [name for name in sets if name not in kept]
    if lost:
        notes.append(f"sets: without a gene of their own: {', '.join(lost)}")
    if len(kept) < 2:
        raise DataError(
            f"genes.sets leaves {len(kept)} sets, and pairs need two. {' '.join(notes)}"
        )
    return kept, notes


def moments(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(V,) cells above 0, mean and variance of each gene, over the cells that have a value."""
    n_cells, mean, variance = (np.zeros(table.n_variables) for _ in range(3))
    for v in range(table.n_variables):
        column = table.column(v)
        column = column[np.isfinite(column)]
        if len(column):
            n_cells[v] = (column > 0).sum()
            mean[v], variance[v] = column.mean(), column.var()
    return n_cells, mean, variance


def strongest(mean: np.ndarray, variance: np.ndarray, k: int, by: str) -> np.ndarray:
    """Positions, sorted, of the k genes of highest mean, or of most variance for their mean.

    The latter is log variance less its running median over the tenth of the genes of nearest mean.
    """
    score = mean
    if by == "variable":
        varies = np.flatnonzero((mean > 0) & (variance > 0))
        order = varies[np.argsort(mean[varies], kind="stable")]
        spread = np.log(variance[order])
        score = np.full(len(mean), -np.inf)
        size = max(_NEAREST, len(order) // 10)
        score[order] = spread - median_filter(spread, size=size, mode="nearest")
    return np.sort(np.argsort(-score, kind="stable")[:k])


def _lines(url: str) -> list[str]:
    location: Location = locate(url)
    try:
        return location.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{url} is no text in UTF-8 ({error}); is it the right file?") from None
