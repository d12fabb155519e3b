"""Networks as arrays: NumPy and NetCDF."""

from __future__ import annotations

import io
import json

import numpy as np
from scipy.io import netcdf_file

from mmg_ray.errors import DataError
from mmg_ray.network.graph import Network

_UNITS = {"lag_s": "s", "transfer_ij": "nats", "transfer_ji": "nats"}
_MOST_VARIABLES = 10_000  # 400 MB a matrix


def npz(network: Network) -> bytes:
    """names (V,), provenance (JSON) and, an edge an entry, i, j and every number; NaN is none."""
    columns = {name: network.table[name].to_numpy() for name in ("i", "j", *network.numbers)}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        names=np.array(network.names),
        provenance=np.array(json.dumps(network.provenance)),
        **columns,
    )
    return buffer.getvalue()


def netcdf(network: Network) -> bytes:
    """NetCDF 3: every number as a matrix (variable, variable_2), NaN where there is no edge."""
    n = len(network.names)
    if n > _MOST_VARIABLES:
        raise DataError(
            f"a network of {n:,} variables would be matrices of {4e-9 * n * n:.1f} GB each; NetCDF is "
            f"written up to {_MOST_VARIABLES:,}. Export to npz or parquet"
        )
    buffer = io.BytesIO()
    with netcdf_file(buffer, "w") as file:
        texts = np.array([name.encode() for name in network.names])
        texts = texts.astype(f"S{max(texts.dtype.itemsize, 1)}")
        file.createDimension("variable", n)
        file.createDimension("variable_2", n)
        file.createDimension("name_length", texts.dtype.itemsize)
        for name in ("variable", "variable_2"):
            # a byte a character, as NetCDF 3 stores text
            file.createVariable(name, "c", (name, "name_length"))[:] = texts.view("S1").reshape(
                n, -1
            )
        for name in network.numbers:
            matrix = file.createVariable(name, "f4", ("variable", "variable_2"))
            matrix[:] = dense(network, name)
            matrix.units = _UNITS.get(name, "nats" if name.endswith("_nats") else "1")
        file.mmg_ray = json.dumps(network.provenance)
        file.flush()
        return buffer.getvalue()


def dense(network: Network, name: str) -> np.ndarray:
    """(V, V) float32 of one of the numbers, symmetric unless directed; NaN where there is no edge."""
    i, j = (network.table[end].to_numpy() for end in ("i", "j"))
    matrix = np.full((len(network.names),) * 2, np.nan, dtype=np.float32)
    matrix[i, j] = network.table[name].to_numpy()
    if not network.directed:
        matrix[j, i] = matrix[i, j]
    return matrix
