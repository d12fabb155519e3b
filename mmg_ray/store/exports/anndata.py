"""Networks in AnnData: sparse variables x variables matrices in .varp, their origin in .uns."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from mmg_ray.errors import DataError
from mmg_ray.network.graph import Network

if TYPE_CHECKING:
    from anndata import AnnData

KEY = "mmg_ray"
_NUMBERS = ("weight", "mi_nats", "se_nats", "q_value", "spearman")


def annotate(network: Network, adata: AnnData) -> AnnData:
    """Write a network into an AnnData, in place, its matrices in the order of `adata.var_names`.

    .varp["mmg_ray_weight"], _mi_nats, _se_nats, _q_value and _spearman are sparse, an entry where there
    is an edge; .var["mmg_ray"] says which variables took part; .uns["mmg_ray"] holds the provenance.

    Raises:
        DataError: a name occurs twice in `var_names`, or none of them is a variable of the network.
    """
    if not adata.var_names.is_unique:
        repeated = adata.var_names[adata.var_names.duplicated()][0]
        raise DataError(
            f"{repeated!r} occurs more than once in var_names; call adata.var_names_make_unique(), "
            "if possible before the run"
        )
    place = adata.var_names.get_indexer(list(network.names))
    if not (place >= 0).any():
        raise DataError(
            f"none of the run's variables ({network.names[0]!r}, ...) is in var_names "
            f"({adata.var_names[0]!r}, ...); pass the AnnData that the run read"
        )
    i, j = (place[network.table[end].to_numpy()] for end in ("i", "j"))
    there = (i >= 0) & (j >= 0)
    i, j = i[there], j[there]
    shape = (adata.n_vars, adata.n_vars)
    for name in _NUMBERS:
        values = network.table[name].to_numpy()[there]
        if network.directed:
            matrix = csr_matrix((values, (i, j)), shape=shape)
        else:
            both = np.concatenate([i, j]), np.concatenate([j, i])
            matrix = csr_matrix((np.tile(values, 2), both), shape=shape)
        adata.varp[f"{KEY}_{name}"] = matrix
    adata.var[KEY] = adata.var_names.isin(network.names)
    adata.uns[KEY] = {"provenance": json.dumps(network.provenance), "directed": network.directed}
    return adata


def h5ad(network: Network) -> bytes:
    """A file of its own: no observations, the variables and the network."""
    import anndata
    import pandas as pd

    adata = annotate(
        network,
        anndata.AnnData(
            X=None,
            obs=pd.DataFrame(index=pd.Index([], dtype=str)),
            var=pd.DataFrame(index=list(network.names)),
        ),
    )
    with tempfile.TemporaryDirectory() as folder:  # HDF5 writes to files
        path = Path(folder) / "network.h5ad"
        adata.write_h5ad(path)
        return path.read_bytes()
