"""`estimate`: one pair, nothing stored."""

from __future__ import annotations

import json

import click

from mmg_ray import config as configuration
from mmg_ray.commands.options import SET
from mmg_ray.commands.printing import number, p_value, print_rows
from mmg_ray.errors import DataError


@click.command()
@click.argument("file")
@click.argument("x")
@click.argument("y")
@SET
def estimate(file: str, x: str, y: str, overrides: tuple[str, ...]) -> None:
    """Estimate the MI of two variables X and Y of a FILE; nothing is stored.

    \b
    Examples:
      mmg-ray estimate table.csv STAT1 IRF1
      mmg-ray estimate cells.h5ad STAT1 IRF1 --set data.layer=counts --set estimator.seed=1
    """
    from mmg_ray.api import estimate_mi
    from mmg_ray.store.sources import read_table

    path = json.dumps({"data": {"path": file, "variables": [x, y]}})  # JSON is YAML
    config = configuration.load(path, overrides)
    table = read_table(config.data)
    for note in table.notes:
        click.echo(note, err=True)
    if not {x, y} <= set(table.names):
        raise DataError(f"{x!r} and {y!r} must each be the name of one variable of {file}")
    a, b = (table.column(table.names.index(name)) for name in (x, y))
    result = estimate_mi(a, b, config=config.estimator)
    if result.mi_nats is None:
        raise DataError(f"{x} - {y}: {result.status.value}: {result.status.remedy}")
    print_rows(
        {
            f"I({x}; {y})": f"{result.mi_nats:.4f} ± {result.se_nats:.4f} nats",
            f"{y} given {x}": f"{result.mi_ij:.4f}",
            f"{x} given {y}": f"{result.mi_ji:.4f}",
            "direct, orthogonal": f"{result.gap:.4f}, {result.orthogonal:.4f}",
            "p-value": p_value(result.p_value),
            "Spearman": number(result.spearman, "+.3f"),
            "samples": f"{result.n_samples:,}",
        }
    )
