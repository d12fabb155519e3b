"""Results of an earlier run, taken over where nothing that they depend on has changed.

The estimate of a pair is a function of the two variables' codes, their names (which key random streams)
and the estimator's configuration. So a pair may be taken over if the earlier run has the same estimator,
conditions and samples, and knows both variables under the same names with the same codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmg_ray.config import Config, to_dict
from mmg_ray.errors import ConfigError, VersionError
from mmg_ray.schema import CURVE, EDGE_COLUMNS, Labels, PairEstimates, Variable
from mmg_ray.store import manifest, shards
from mmg_ray.store.edge_table import edge_schema
from mmg_ray.store.edges import Edges
from mmg_ray.store.location import Location
from mmg_ray.store.prepared import Prepared

_FIELDS = [column.name for column in EDGE_COLUMNS if column.name not in ("source", "target")]


class Reuse:
    """The earlier run at `config.plan.reuse`.

    Raises:
        ConfigError: it has another estimator or other conditions, stored some of its pairs only, or
            was written by a version whose numbers differ.
    """

    def __init__(self, config: Config) -> None:
        assert config.plan.reuse is not None
        self._location = Location(config.plan.reuse)
        try:
            found = manifest.read(self._location)
        except VersionError as error:
            raise ConfigError(
                f"plan.reuse: nothing can be taken over: {error}; or leave plan.reuse out, so that every "
                "pair is estimated anew"
            ) from None
        self._fingerprint = found.fingerprint
        earlier = found.resolved()
        why = ""
        if to_dict(earlier.estimator) != to_dict(config.estimator):
            why = "its estimator section differs"
        elif earlier.lags != config.lags:
            why = "its lags section differs"
        elif config.lags.trials is not None:
            why = "trials are prepared anew for every run"
        elif earlier.data.conditions or config.data.conditions:
            why = "conditions are prepared anew for every run"
        elif earlier.data.strata or config.data.strata:
            why = "strata are prepared anew for every run"
        elif earlier.edges.filtered:
            why = "it stored some of its pairs only (edges.max_p_value or edges.top_k)"
        if why:
            raise self._refused(why)
        self._prepared = Prepared.open(self._location, found.prepared_digest)
        self._place = {name: k for k, name in enumerate(self._prepared.names)}
        self._plan = manifest.read_plan(self._location, found.plan_digest)
        self._same: dict[
            str, int
        ] = {}  # position in the earlier run by name; -1 where it has changed

    def require_complete(self) -> None:
        """ConfigError where some of its shards are missing: a listing and a read of each."""
        done = len(shards.finished(self._location, self._fingerprint))
        if done < self._plan.n_shards:
            raise self._refused(f"it has {done} of {self._plan.n_shards} shards")

    def _refused(self, why: str) -> ConfigError:
        return ConfigError(
            f"plan.reuse: nothing of {self._location.url} can be taken over: {why}. Leave plan.reuse out"
        )

    def take(
        self, pairs: np.ndarray, variables: Mapping[int, Variable]
    ) -> tuple[np.ndarray, PairEstimates]:
        """Which of the (P, 2) pairs are there already, (P,) bool, and their estimates."""
        self._look_at(list(variables.values()))
        position = {index: self._same[v.name] for index, v in variables.items()}
        earlier = np.array([[position[i], position[j]] for i, j in pairs.tolist()])
        earlier = earlier.reshape(-1, 2)
        known = np.flatnonzero((earlier >= 0).all(axis=1))
        swapped = earlier[known, 0] > earlier[known, 1]
        wanted = np.sort(earlier[known], axis=1)
        shard = self._plan.shard_of(wanted)
        keys = wanted @ np.array([self._prepared.n_variables, 1])
        edges = Edges(self._location, self._fingerprint, np.unique(shard[shard >= 0]).tolist())
        parts = [pa.RecordBatch.from_pylist([], schema=_schema())]
        for rows in edges.batches(_FIELDS):
            parts.append(
                rows.filter(pa.array(np.isin(_keys(rows, self._prepared.n_variables), keys)))
            )
        table = pa.Table.from_batches(parts)
        there = _keys(table, self._prepared.n_variables)
        order = np.argsort(there, kind="stable")
        place = np.searchsorted(there[order], keys)
        inside = place < len(order)
        inside[inside] = there[order][place[inside]] == keys[inside]
        found = np.zeros(len(pairs), dtype=bool)
        found[known[inside]] = True
        estimates = _estimates(table).take(order[place[inside]])
        flipped = swapped[inside]
        ij, ji = estimates.mi_ij.copy(), estimates.mi_ji.copy()
        estimates.mi_ij[flipped], estimates.mi_ji[flipped] = ji[flipped], ij[flipped]
        return found, estimates

    def _look_at(self, variables: list[Variable]) -> None:
        """Compare variables that were not seen before with the earlier run's."""
        new = [v for v in variables if v.name not in self._same]
        places = {v.name: self._place[v.name] for v in new if v.name in self._place}
        loaded = self._prepared.load(list(places.values()))
        for v in new:
            earlier = loaded.get(places.get(v.name, -1))
            same = (
                earlier is not None
                and earlier.status is v.status
                and np.array_equal(earlier.codes, v.codes)
            )
            self._same[v.name] = places[v.name] if same else -1


def _schema() -> pa.Schema:
    return pa.schema([edge_schema().field(name) for name in _FIELDS])


def _keys(rows: pa.RecordBatch | pa.Table, n_variables: int) -> np.ndarray:
    i, j = (rows.column(end).to_numpy().astype(np.int64) for end in ("i", "j"))
    found: np.ndarray = i * n_variables + j
    return found


def _estimates(table: pa.Table) -> PairEstimates:
    """Rows of an edge table as an estimator gives them."""
    columns: dict[str, Any] = {}
    for column in EDGE_COLUMNS:
        if column.name in ("i", "j", "source", "target"):
            continue
        values = table.column(column.name).combine_chunks()
        if column.dtype == "string":
            coded = values.dictionary_encode()
            codes = coded.indices.fill_null(-1).to_numpy().astype(np.int32)
            columns[column.name] = Labels(codes, tuple(coded.dictionary.to_pylist()))
        elif column.dtype == CURVE:
            columns[column.name] = _curves(values)
        else:
            numbers = values.to_numpy(zero_copy_only=False)
            columns[column.name] = np.array(
                numbers, dtype=np.int32 if column.dtype == "int32" else float
            )
    return PairEstimates(**columns)


def _curves(lists: pa.ListArray) -> np.ndarray:
    """(P, L) of P lists of one length, NaN where there is none."""
    n_lags = pc.max(pc.list_value_length(lists)).as_py() or 0
    found = np.full((len(lists), n_lags), np.nan, dtype=np.float32)
    found[lists.is_valid().to_numpy(zero_copy_only=False)] = (
        lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, max(n_lags, 1))[:, :n_lags]
    )
    return found
