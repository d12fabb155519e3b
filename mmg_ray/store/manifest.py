"""What a run is: its configuration, the data it belongs to and its plan; written once.

`plan.npz` holds the plan, `manifest.json` everything else. The manifest is written last, before the first shard: a run without one has not begun and is
prepared anew. It holds digests of the plan, of the prepared variables and of itself.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mmg_ray.config import RESULT_SECTIONS, Config, from_dict, to_dict
from mmg_ray.errors import FingerprintError, StoreError, VersionError
from mmg_ray.plan.pairs import ListedPairs, SourcePairs
from mmg_ray.plan.tiles import Plan
from mmg_ray.schema import SCHEMA_VERSION
from mmg_ray.store import digests as digested
from mmg_ray.store.archive import archived
from mmg_ray.store.digests import Digest
from mmg_ray.store.location import Location

MANIFEST = "manifest.json"
PLAN = "plan.npz"

# Raised whenever the same configuration and data would give other numbers; then `make golden` (see
# tests/test_golden.py). It is part of the fingerprint.
RESULTS_FORMAT = 13

_WAY_OUT = (
    "Restore it; or delete it and run the configuration again, which keeps the finished shards"
)

# Where the data and the list of pairs lie does not matter, what they say does: digests stand for them.
_DIGESTED = frozenset({"data.path", "data.groups", "pairs.path", "pairs.sources_file"})


@dataclass(frozen=True)
class Manifest:
    """The identity of a run.

    Attributes:
        results_format: of the numbers. schema_version: of the stored tables.
        fingerprint: sha256 of what determines the results, see `fingerprint`.
        config: the resolved configuration.
        source_digest: of the input table.
        pairs_digest: of the file that lists pairs or sources; empty without one.
        plan_digest, prepared_digest: of the files that hold them.
        version: of mmg_ray.
        environment: versions of the numerical libraries and the CPU's features, of the driver that
            began it; `environments` has those of the workers.
        evidence: what its pairs look like, see `estimator.dependence.evidence`; None where there is no posterior.
        created: UTC time, ISO 8601.
    """

    results_format: int
    schema_version: int
    fingerprint: str
    config: dict[str, Any]
    source_digest: str
    pairs_digest: str
    plan_digest: str
    prepared_digest: str
    version: str
    n_variables: int
    n_samples: int
    n_pairs: int
    n_tiles: int
    n_shards: int
    tile_variables: int
    created: str
    environment: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, Any] | None = None

    def resolved(self) -> Config:
        """The stored configuration as an object."""
        return from_dict(self.config)


def exists(run: Location) -> bool:
    """Whether a run has begun at this place."""
    return (run / MANIFEST).exists()


def read(run: Location) -> Manifest:
    """The manifest of a run; StoreError where there is none or another version wrote it."""
    if not exists(run):
        raise StoreError(
            f"{run.url} holds no run (no {MANIFEST}); check the URL, or start one with "
            "`mmg-ray run CONFIG`"
        )
    tree = (run / MANIFEST).read_json(_WAY_OUT)
    _require_version(run, tree)
    return Manifest(**digested.require_signed(run / MANIFEST, tree, _WAY_OUT))


def read_plan(run: Location, digest: str) -> Plan:
    """The plan of a run whose manifest gives this `plan_digest`; StoreError if it was changed."""
    data = (run / PLAN).read_bytes()
    digested.require(run, PLAN, data, Digest(digest))
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        n_variables = int(arrays["n_variables"])
        return Plan(
            ListedPairs(n_variables, arrays["pairs"])
            if "pairs" in arrays
            else SourcePairs(n_variables, arrays["sources"]),
            int(arrays["tile_variables"]),
            arrays["starts"],
        )


def write(
    run: Location,
    config: Config,
    digests: Mapping[str, str],
    plan: Plan,
    n_samples: int,
    prepared_digest: str,
    environment: Mapping[str, str],
    evidence: dict[str, Any] | None,
) -> Manifest:
    """Freeze a run: its plan, then its manifest; the manifest that is there if another was first."""
    plan_digest = write_plan(run, plan)
    manifest = Manifest(
        results_format=RESULTS_FORMAT,
        schema_version=SCHEMA_VERSION,
        fingerprint=fingerprint(config, digests),
        config=to_dict(config),
        source_digest=digests["source digest"],
        pairs_digest=digests["pairs digest"],
        plan_digest=plan_digest,
        prepared_digest=prepared_digest,
        version=_version(),
        n_variables=plan.n_variables,
        n_samples=n_samples,
        n_pairs=plan.n_pairs,
        n_tiles=plan.n_tiles,
        n_shards=plan.n_shards,
        tile_variables=plan.tile_variables,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=dict(environment),
        evidence=evidence,
    )
    (run / MANIFEST).create_json(digested.signed(asdict(manifest)))
    found = read(run)
    refuse_other(found, config, digests, run.url)
    return found


def write_plan(run: Location, plan: Plan) -> str:
    """Write a plan; sha256 of the bytes."""
    arrays = {
        "n_variables": np.array(plan.n_variables),
        "tile_variables": np.array(plan.tile_variables),
        "starts": plan.starts,
    }
    if isinstance(plan.pairs, ListedPairs):
        arrays["pairs"] = plan.pairs.pairs
    else:
        arrays["sources"] = plan.pairs.sources
    data = archived(arrays, zipfile.ZIP_DEFLATED)
    (run / PLAN).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def fingerprint(config: Config, digests: Mapping[str, str]) -> str:
    """sha256 over the sections of the configuration that change results, and the digests.

    Args:
        config: resolved.
        digests: 'source digest' and 'pairs digest' (empty without a file of pairs).
    """
    text = json.dumps(_identity(to_dict(config), digests), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_other(manifest: Manifest, config: Config, digests: Mapping[str, str], url: str) -> None:
    """FingerprintError naming every difference, unless the run at `url` is of this configuration."""
    if manifest.fingerprint == fingerprint(config, digests):
        return
    theirs = _identity(manifest.config, stored_digests(manifest))
    ours = _identity(to_dict(config), digests)
    different = [
        f"{key} is {theirs.get(key)!r} there and {ours.get(key)!r} here"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    ]
    raise FingerprintError(
        f"{url} holds a run of another configuration: {'; '.join(different)}. Nothing was touched. "
        "Choose another output.url, or restore these settings to go on with that run"
    )


def stored_digests(manifest: Manifest) -> dict[str, str]:
    """The digests a run was started with."""
    return {
        "source digest": manifest.source_digest,
        "pairs digest": manifest.pairs_digest,
    }


def _identity(config: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Everything that determines the results, flat: key -> value."""
    flat: dict[str, Any] = {"results format": RESULTS_FORMAT, **digests}
    for section in RESULT_SECTIONS:
        flat |= _flatten(section, config[section])
    return {key: value for key, value in flat.items() if key not in _DIGESTED}


def _flatten(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flatten(f"{key}.{name}", inner)
    return flat


def _require_version(run: Location, tree: Any) -> None:
    for key, ours in (("results_format", RESULTS_FORMAT), ("schema_version", SCHEMA_VERSION)):
        theirs = tree.get(key) if isinstance(tree, dict) else None
        if theirs != ours:
            wrote = tree.get("version", "unknown") if isinstance(tree, dict) else "unknown"
            raise VersionError(
                f"{run.url} was written by mmg_ray {wrote} with {key.replace('_', ' ')} {theirs or 'unknown'}; "
                f"this version ({_version()}) has {ours}, and numbers of the two must not be mixed. Start "
                "it anew at another output.url, or use the version that wrote it"
            )


def _version() -> str:
    return importlib.metadata.version("mmg-ray")
