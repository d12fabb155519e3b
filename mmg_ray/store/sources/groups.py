"""The groups file: which columns form one vector variable."""

from __future__ import annotations

from mmg_ray.errors import DataError
from mmg_ray.names import visible
from mmg_ray.store.sources.name_table import read_name_table
from mmg_ray.store.sources.select import nearest


def read_groups(url: str) -> dict[str, list[str]]:
    """Members of each group, groups in order of their first row: {group: [variable, ...]}.

    The file (csv, tsv, parquet) has columns `variable` and `group`, one membership a row; a
    variable may be in several groups. Raises DataError for a missing column, no row, an empty cell.
    """
    groups: dict[str, list[str]] = {}
    for variable, group in read_name_table(url, ("variable", "group"), "data.groups"):
        groups.setdefault(visible(group), []).append(visible(variable))
    if not groups:
        raise DataError(f"data.groups: {url} has no rows; leave data.groups out for no groups")
    return groups


def resolve_groups(groups: dict[str, list[str]], names: list[str]) -> dict[str, list[int]]:
    """Column positions of each group's members, sorted, each once: {group: [position, ...]}.

    Raises DataError for a member that is not in `names`, and for a group with the name of a
    variable that stays one of its own.
    """
    positions = {name: v for v, name in enumerate(names)}
    resolved = {}
    for group, members in groups.items():
        for member in members:
            if member not in positions:
                raise DataError(
                    f"data.groups: {member!r} of group {group!r} is no variable of the table"
                    f"{nearest(member, names)} Remove it there, or keep it in data.variables"
                )
        resolved[group] = sorted({positions[member] for member in members})
    grouped = {v for members in resolved.values() for v in members}
    for group in resolved:
        if group in positions and positions[group] not in grouped:
            raise DataError(
                f"data.groups: group {group!r} has the name of a variable that is in no group; "
                "rename the group, or leave that variable out with data.exclude"
            )
    return resolved
