"""Look at a stored run in a browser: variables, their edges, pairs, modules.

Reads the edges of a complete run at any URL once, and serves a page about them on this machine alone: find a
variable, filter its edges by q-value and MI, click one for its samples and its curve, download what is shown.
Stop it with Ctrl-C.
"""

from __future__ import annotations

import click

from mmg_ray.output import HELP


@click.command(
    "explore",
    context_settings=HELP,
    help=__doc__,
    epilog="""
    \b
    Examples:
      mmg-ray explore runs/pbmc
      mmg-ray explore s3://bucket/run-1 --no-browser --port 8123   # then: ssh -L 8123:127.0.0.1:8123 HOST
    """,
)
@click.argument("url")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the page; default: any that is free.",
)
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
def main(url: str, port: int, no_browser: bool) -> None:
    from mmg_ray.errors import ConfigError  # of a run: `--help` does without
    from mmg_ray.explore.pages import Explorer
    from mmg_ray.runs import open_run

    run = open_run(url)
    explorer = Explorer(run)  # reads while the server starts

    import asyncio
    import webbrowser

    from mmg_ray.explore.server import serve

    def started(address: str) -> None:
        click.echo(f"{run!r}\nopen {address} (Ctrl-C stops it)")
        if not no_browser:
            webbrowser.open(address)

    try:
        asyncio.run(serve(explorer, port, started))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise ConfigError(
            f"--port {port}: {error.strerror or error}; leave it out for a free one"
        ) from None
