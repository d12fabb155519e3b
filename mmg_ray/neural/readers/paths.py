"""Names of what lies in a file of folders: by path, by the end of it, or by the folder that holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmg_ray.errors import ConfigError
from mmg_ray.store.sources.select import nearest


def matches(paths: Sequence[str], name: str) -> list[list[str]]:
    """What a name may mean: one path, or all paths of a folder. A whole path means that path alone."""
    name = name.strip("/")
    if name in paths:
        return [[name]]

    def ends(path: str) -> bool:
        return path == name or path.endswith(f"/{name}")

    meant = {path: [path] for path in paths if ends(path)}
    for path in paths:
        parts = path.split("/")
        for k in range(1, len(parts)):
            folder = "/".join(parts[:k])
            if ends(folder):
                meant.setdefault(f"{folder}/", []).append(path)
    if f"{name}/" in meant:
        return [meant[f"{name}/"]]
    distinct: list[list[str]] = []
    for found in meant.values():
        if found not in distinct:
            distinct.append(found)
    return distinct


def choose(paths: Sequence[str], name: str, option: str, kind: str) -> list[str]:
    """The paths that a name means. ConfigError where it means none, or several things."""
    found = matches(paths, name)
    if len(found) == 1:
        return found[0]
    every = ", ".join(paths) or "none"
    if not found:
        known = [*paths, *(path.rsplit("/", 1)[-1] for path in paths)]
        raise ConfigError(f"{option}: no {kind} {name!r}{nearest(name, known)} There are: {every}")
    listed = "; ".join(", ".join(one) for one in found)
    raise ConfigError(
        f"{option}: {name!r} is the name of {len(found)} {kind} or groups of them ({listed}); name one by its path"
    )


def one_of(
    paths: Sequence[str], name: str | None, usual: str | None, option: str, kind: str
) -> str | None:
    """The path that `name` means, else `usual` where it is there, else the only one; None where there is none.

    ConfigError where several are left.
    """
    if name is not None:
        found = choose(paths, name, option, kind)
    else:
        found = [usual] if usual is not None and usual in paths else list(paths)
    if len(found) > 1:
        raise ConfigError(f"{option}: there is more than one {kind}: {', '.join(found)}; name one")
    return found[0] if found else None


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """{path: the shortest end of it that no other path shares}."""
    ends = {
        path: ["/".join(path.split("/")[-k:]) for k in range(1, path.count("/") + 2)]
        for path in paths
    }
    shared = Counter(end for own in ends.values() for end in own)
    return {path: next((e for e in own if shared[e] == 1), path) for path, own in ends.items()}
