"""Which edges come again and again: networks of repeated draws of the samples, put together.

Draws are without replacement (`data.subsample`): a bootstrap repeats samples, and repeated samples look like
dependence to any estimator of ranks or neighbours. With halves, an edge that a share s > 1/2 of the draws
finds is chance in at most q^2 / ((2 s - 1) P) cases of q edges a draw among P pairs (Meinshausen & Buhlmann
2010).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mmg_ray.errors import ConfigError, DataError
from mmg_ray.network.graph import NETWORK_COLUMNS, Network


def consensus(networks: Sequence[Network], min_share: float = 0.5) -> Network:
    """Edges that at least this share of the networks have; `weight` is that share.

    mi_nats, spearman and p_dependent are means over the networks that have the edge, se_nats is the scatter of their
    MI; p_value and q_value are the largest of theirs.

    Raises:
        DataError: networks of different variables, or some directed and some not.
        ConfigError: a share that is not above 0 and at most 1.
    """
    if not 0 < min_share <= 1:
        raise ConfigError(
            f"min_share, of the networks, is above 0 and at most 1; got {min_share:g}"
        )
    if len(networks) < 2:
        raise DataError(f"a consensus is of two or more networks; got {len(networks)}")
    first = networks[0]
    for other in networks[1:]:
        if (other.names, other.directed) != (first.names, first.directed):
            raise DataError(
                f"{other.provenance.get('run')} has other variables than {first.provenance.get('run')}, or "
                "other directions; a consensus is of runs of one table with data.subsample"
            )
    edges = pa.concat_tables([network.table for network in networks]).combine_chunks()
    i, j = (edges[end].to_numpy().astype(np.int64) for end in ("i", "j"))
    pair, row, count = np.unique(i * len(first.names) + j, return_inverse=True, return_counts=True)
    numbers = {
        name: edges[name].to_numpy()
        for name in ("mi_nats", "p_value", "q_value", "spearman", "p_dependent")
    }
    mean = np.bincount(row, numbers["mi_nats"], len(pair)) / count
    squares = np.bincount(row, numbers["mi_nats"] ** 2, len(pair)) / count
    largest = {}
    for name in ("p_value", "q_value"):
        largest[name] = np.full(len(pair), -np.inf)
        np.maximum.at(largest[name], row, numbers[name])
    columns: dict[str, np.ndarray] = {
        "i": (pair // len(first.names)).astype(np.int32),
        "j": (pair % len(first.names)).astype(np.int32),
        "weight": count / len(networks),
        "mi_nats": mean,
        "se_nats": np.sqrt(np.maximum(squares - mean**2, 0.0)),
        **{
            name: np.bincount(row, numbers[name], len(pair)) / count
            for name in ("spearman", "p_dependent")
        },
        **largest,
    }
    kept = np.flatnonzero(columns["weight"] >= min_share)
    kept = kept[np.lexsort((-mean[kept], -columns["weight"][kept]))]
    names = pa.array(first.names, pa.string())
    table = {name: pa.array(v[kept], from_pandas=True) for name, v in columns.items()}
    table |= {"source": names.take(table["i"]), "target": names.take(table["j"])}
    provenance = {
        "consensus": {"networks": len(networks), "min_share": min_share},
        "of": [network.provenance for network in networks],
        "steps": first.provenance.get("steps", []),
    }
    ordered = pa.table({column.name: table[column.name] for column in NETWORK_COLUMNS})
    return Network(first.names, first.directed, provenance, None, lambda _: ordered)
