"""Which kinds of CPU and versions of libraries took part in a run: one small object for each.

    environments/DIGEST.json   versions, instruction sets (see `execute.numerics`)

The last digits of a result depend on them. A shard does not hold its own: its bytes would differ by
host, and those of equal numbers would not be equal any more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence

from mmg_ray.errors import StoreError
from mmg_ray.store.location import Location

log = logging.getLogger(__name__)

FOLDER = "environments"

Environment = dict[str, str]


def record(run: Location, environment: Mapping[str, str]) -> None:
    """Say that this environment computed shards of the run; nothing happens if that was said."""
    (run / FOLDER / _name(environment)).create_json(dict(environment))


def recorded(run: Location) -> list[Environment]:
    """Those that computed shards so far."""
    folder = run / FOLDER
    return [found for name in folder.names() if (found := _read(folder / name))]


def differences(environments: Sequence[Mapping[str, str]]) -> list[str]:
    """What is not the same in all of them, each with its values; empty if nothing is."""
    names = sorted({name for environment in environments for name in environment})
    values = {name: sorted({e.get(name, "unknown") for e in environments}) for name in names}
    return [f"{name}: {' or '.join(found)}" for name, found in values.items() if len(found) > 1]


def _name(environment: Mapping[str, str]) -> str:
    text = json.dumps(environment, sort_keys=True)
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


def _read(place: Location) -> Environment | None:
    if not place.name.endswith(".json"):
        return None  # left by a writer that was killed
    try:
        tree = place.read_json()
    except StoreError:
        tree = None
    found = {str(k): str(v) for k, v in tree.items()} if isinstance(tree, dict) else {}
    if place.name != _name(found):  # no result depends on it, so it stops nobody
        log.warning(
            "%s is damaged: which CPU and libraries it stood for is not known any more", place.url
        )
        return None
    return found
