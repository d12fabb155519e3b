"""Golden numbers, and versions: what another version of the estimator or of the files wrote is never mixed in."""

from __future__ import annotations

import copy
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from golden import edges as golden

import mmg_ray
from mmg_ray.config import from_dict
from mmg_ray.errors import ConfigError, VersionError
from mmg_ray.schema import SCHEMA_KEY, SCHEMA_VERSION
from mmg_ray.store import manifest


def test_numbers_change_with_their_version_only():
    stored = json.loads(golden.FILE.read_text())
    changed = golden.differences(stored["edges"], golden.compute())
    raised = stored["results_format"] != manifest.RESULTS_FORMAT
    if changed and not raised:
        pytest.fail(
            f"{len(changed)} numbers of the estimator have changed, such as {changed[:3]}: raise the results' "
            "version (RESULTS_FORMAT in mmg_ray/store/manifest.py), then `make golden`"
        )
    assert not raised, (
        "the results' version was raised: run `make golden` and commit what it writes"
    )


def test_any_change_of_a_number_is_seen():
    stored = json.loads(golden.FILE.read_text())["edges"]
    assert {row["denoiser"] for row in stored.values()} >= {
        "screen",
        "contingency",
        "gaussian",
        "spline",
        "neural",
    }
    name = "spline: gaussian - quadratic"
    for key, by in (("mi_nats", 1e-4), ("se_nats", 1e-3), ("p_value", 1e-3)):
        other = copy.deepcopy(stored)
        other[name][key] *= 1 + by
        assert len(golden.differences(stored, other)) == 1
    other[name]["denoiser"] = "contingency"
    assert any("denoiser was" in line for line in golden.differences(stored, other))


@pytest.fixture
def config(tmp_path):
    np.save(tmp_path / "t.npy", np.random.default_rng(0).standard_normal((100, 4)))
    return {
        "data": {"path": str(tmp_path / "t.npy")},
        "estimator": {"denoiser": "screen"},
        "execute": {"executor": "serial"},
        "output": {"url": str(tmp_path / "run")},
    }


@pytest.mark.parametrize("version", ["RESULTS_FORMAT", "SCHEMA_VERSION"])
def test_runs_of_another_version_are_refused_with_a_way_out(config, monkeypatch, version):
    run = mmg_ray.run(from_dict(config))
    before = run.manifest.fingerprint
    monkeypatch.setattr(manifest, version, getattr(manifest, version) + 1)
    for open_again in (lambda: mmg_ray.run(from_dict(config)), lambda: mmg_ray.open_run(run.url)):
        with pytest.raises(
            VersionError, match=r"must not be mixed\. Start it anew at another output\.url"
        ):
            open_again()
    other = {**config, "output": {"url": f"{run.url}-2"}}
    with pytest.raises(
        ConfigError, match=r"plan\.reuse: nothing can be taken over.* leave plan\.reuse out"
    ):
        mmg_ray.run(from_dict({**other, "plan": {"reuse": run.url}}))
    if version == "RESULTS_FORMAT":
        assert mmg_ray.run(from_dict(other)).manifest.fingerprint != before


def test_stored_tables_carry_their_schema_version(config, tmp_path):
    run = mmg_ray.run(from_dict(config))
    folder = tmp_path / "run"
    assert run.manifest.schema_version == SCHEMA_VERSION
    variables = pq.read_schema(folder / "prepared/variables.parquet").metadata
    assert variables[SCHEMA_KEY.encode()] == str(SCHEMA_VERSION).encode()
    (shard,) = (folder / "edges").glob("*.parquet")
    footer = json.loads(pq.read_schema(shard).metadata[b"mmg_ray"])
    assert footer["schema_version"] == SCHEMA_VERSION
    attributes = zarr.open_group(str(folder / "matrix.zarr"), mode="r").attrs
    assert attributes[SCHEMA_KEY] == SCHEMA_VERSION


@pytest.mark.parametrize("module", ["shards", "prepared", "matrix"])
def test_readers_check_it(config, monkeypatch, module):
    run = mmg_ray.run(from_dict(config))
    monkeypatch.setattr(f"mmg_ray.store.{module}.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    read = {"shards": run.edges, "prepared": run.variables, "matrix": run.matrix}[module]
    if module == "shards":
        from mmg_ray.store.edges import Edges
        from mmg_ray.store.location import Location

        edges = Edges(Location(run.url), run.manifest.fingerprint, [0])
        read = edges.table
    with pytest.raises(
        mmg_ray.MMGError, match=f"schema version is {SCHEMA_VERSION}, and this version"
    ):
        read()
