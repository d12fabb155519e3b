"""Gene networks: from an expression matrix to edges, exports and figures. `mmg-ray genomics`, or `run` in Python."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmg_ray.runs import Run


def run(data: Any, overrides: Iterable[str] = (), *, url: str, layer: str | None = None) -> Run:
    """The network of an expression matrix in memory, as `mmg-ray genomics` makes it of a file.

    Cells and genes are filtered, sequencing depth is taken out of counts, pairs are estimated, and the network's
    files and the report are written, all under `url`. What is finished is not done again.

    Args:
        data: cells x genes: an AnnData object, or whatever `mmg_ray.mi_matrix` takes.
        overrides: `section.key=value`, such as "genes.top=2000", "data.conditions=[batch]" with a column of obs,
            or "genes.regulators=tfs.txt"; `mmg-ray genomics --show-config` lists them.
        url: where the run is stored.
        layer: of an AnnData object, or "raw", instead of X.

    Raises:
        ConfigError, DataError: before anything of the run is written. Others: as `mmg_ray.run`.

    Examples:
        >>> import anndata, numpy as np, pandas as pd
        >>> from mmg_ray import genomics
        >>> rng = np.random.default_rng(0)
        >>> program = rng.gamma(2, size=(300, 1))  # two of the genes follow it
        >>> counts = rng.poisson(np.hstack([3 * program, 4 * program, np.full((300, 9), 6)]))
        >>> adata = anndata.AnnData(counts.astype(float))
        >>> adata.var_names = ["MYC", "NCL", *(f"GENE{k}" for k in range(9))]
        >>> run = genomics.run(adata, ["network.report=false"], url="memory://genes/run")
        >>> run.strongest(1)[["source", "target"]].to_dict("records")
        [{'source': 'MYC', 'target': 'NCL'}]
    """
    from mmg_ray.errors import ConfigError
    from mmg_ray.genomics.config import GenomicsConfig
    from mmg_ray.genomics.job import go
    from mmg_ray.jobs import require_no_failures
    from mmg_ray.start import in_memory

    cfg, table = in_memory(GenomicsConfig, data, url, overrides, layer)
    if (column := cfg.cells.group_by) is not None:
        raise ConfigError(
            f"cells.group_by: {column!r} would make several runs; of data in memory, call this for each "
            f"part, such as data[data.obs[{column!r}] == 'B cell'], with a url of its own"
        )
    ((made, found, _),) = go(cfg, table=table)
    for note in made.notes:
        if note.startswith("warning: "):
            warnings.warn(note.removeprefix("warning: "), stacklevel=2)
    assert found is not None  # without group_by there is one run or an error
    require_no_failures(found)
    return found
