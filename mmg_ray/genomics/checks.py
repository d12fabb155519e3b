"""What is wrong with expression matrices more often than with other tables, named before work begins."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mmg_ray.errors import DataError
from mmg_ray.store.sources import Table

# Names that only genes have: Ensembl, ribosomal and mitochondrial genes, what every cell expresses.
_GENE = re.compile(
    r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?|RP[LS]\d+[AXYL]?\d*|MT-[A-Z0-9]+|HLA-D?[A-Z0-9]+|MALAT1|ACTB|ACTG1"
    r"|GAPDH|B2M|EEF1A1|EEF2|TMSB4X|TMSB10|FTL|FTH1|PTMA|TPT1|TUBA1[ABC]|UBC|VIM|LDHA|PGK1|HPRT1?"
    r"|CD\d+[A-Z]?\d?|IL\d+[A-Z]*|STAT\d[AB]?|JUN[BD]?|FOS[BL]?\d?|MYC|TP53|TRP53|SOX\d+|GATA\d|HOX[ABCD]\d+",
    re.IGNORECASE,
)
_BARCODE = re.compile(r".*[ACGT]{10,}(-\d+)?.*")


def refuse_turned(table: Table, regulators: Sequence[str]) -> None:
    """DataError where genes are the samples: by what the names of both axes look like.

    A list of regulators decides, where there is one; else names that only genes or only cells have.
    """
    samples = table.sample_names or []
    named = set(regulators)
    listed = len(named.intersection(samples)), len(named.intersection(table.names))
    looks = _look(samples, _GENE), _look(table.names, _GENE)
    barcodes = _look(table.names, _BARCODE), _look(samples, _BARCODE)
    for (here, there), what in (
        (listed, "regulators"),
        (looks, "names of genes"),
        (barcodes, "cell barcodes"),
    ):
        if here != there:
            if here > max(there, 1):
                axes = (
                    "variables, which should be genes"
                    if what == "cell barcodes"
                    else "samples, which should be cells"
                )
                raise DataError(
                    f"the table ({table.n_samples:,} samples x {table.n_variables:,} variables) is the "
                    f"wrong way round: {here:,} {what} are among its {axes} (first samples: "
                    f"{', '.join(samples[:3])}; first variables: {', '.join(table.names[:3])}). Change "
                    "data.transpose"
                )
            return


def _look(names: Sequence[str], pattern: re.Pattern[str]) -> int:
    return sum(pattern.fullmatch(name) is not None for name in names)


def describe(table: Table) -> tuple[bool, bool, list[str]]:
    """Whether all values are whole, some negative, and what there is to say; a column at a time.

    Raises DataError for negative values in what is otherwise counts: they are neither.
    """
    counts, n_missing, negative = True, 0, 0
    genes, cells = [], np.zeros(table.n_samples, dtype=np.int64)
    for v in range(table.n_variables):
        column = table.column(v)
        missing = ~np.isfinite(column)
        if missing.any():
            n_missing += int(missing.sum())
            genes.append(v)
            cells += missing
            column = column[~missing]
        counts = counts and bool((column == np.floor(column)).all())
        negative += bool((column < 0).any())
    if counts and negative:
        raise DataError(
            f"all values are whole numbers, but {negative:,} genes have negative ones: no counts of "
            "reads are. Take the right layer (data.layer), or write them as they were measured"
        )
    notes = []
    if n_missing:
        whole = [table.names[v] for v in genes if not np.isfinite(table.column(v)).any()]
        rows = np.flatnonzero(cells == table.n_variables)
        notes.append(
            f"missing: {n_missing:,} values, in {len(genes):,} genes ({_some(table.names, genes)}) "
            f"and {int((cells > 0).sum()):,} cells ({_some(table.sample_names, np.flatnonzero(cells))})"
            f"; a pair does without the cells it misses"
        )
        if whole:
            notes.append(
                f"missing: no value at all of {', '.join(whole[:5])}: {len(whole):,} genes"
            )
        if rows.size:
            notes.append(
                f"missing: no value at all in {rows.size:,} cells ({_some(table.sample_names, rows)})"
            )
    return counts, negative > 0, notes


def _some(names: Sequence[str] | None, places: Sequence[int] | np.ndarray) -> str:
    shown = [str(p) if names is None else names[p] for p in list(places)[:3]]
    return ", ".join(shown) + (", ..." if len(places) > 3 else "")
