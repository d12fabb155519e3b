"""The command line: each command is a few lines around the library, and prints what a person needs.

Exit codes: 0 done, 1 some shards failed (the others are stored), 2 a mistake that the message
explains, 75 stopped early as asked (run it again to go on), 130 stopped with Ctrl-C, 141 the reader
of a pipe has gone.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

import click

from mmg_ray.errors import INTERRUPTED, MMGError
from mmg_ray.memory import require_address_space
from mmg_ray.output import HELP, PIPE_CLOSED, say, standard_output

# The commands as help shows them; one that is in no section comes last.
_SECTIONS = {
    "Complete analyses": ("genomics", "neural"),
    "Runs": ("config", "plan", "run", "status"),
    "Results of a run": (
        "edges",
        "network",
        "export",
        "report",
        "explore",
        "heatmap",
        "compare",
        "consensus",
    ),
    "Schedules and clusters": ("nightly", "submit"),
    "One pair": ("estimate",),
}
# Each is imported when it is asked for: `status` needs neither torch nor the readers of files.
_HOME = {
    "config": "mmg_ray.commands.run:config_command",
    "plan": "mmg_ray.commands.run:plan",
    "run": "mmg_ray.commands.run:run_command",
    "status": "mmg_ray.commands.status:status",
    "edges": "mmg_ray.commands.edges:edges",
    "network": "mmg_ray.commands.network:network",
    "export": "mmg_ray.commands.network:export",
    "consensus": "mmg_ray.commands.network:consensus",
    "compare": "mmg_ray.commands.compare:compare",
    "report": "mmg_ray.commands.report:report",
    "heatmap": "mmg_ray.commands.report:heatmap",
    "estimate": "mmg_ray.commands.estimate:estimate",
    "genomics": "mmg_ray.genomics.command:main",
    "neural": "mmg_ray.neural.command:main",
    "explore": "mmg_ray.explore.command:main",
    "nightly": "mmg_ray.scheduled.nightly:main",
    "submit": "mmg_ray.scheduled.submit:main",
}


class _Commands(click.Group):
    """Errors that a user can act on become one message and an exit code."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*_HOME]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _HOME:
            return None
        module, _, attribute = _HOME[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        left = set(self.list_commands(ctx))
        width = max(map(len, left)) + 2
        for title, names in {**_SECTIONS, "More": tuple(sorted(left))}.items():
            rows = [
                (f"{name:<{width}}", command.get_short_help_str(limit=200))
                for name in names
                if name in left and (command := self.get_command(ctx, name))
            ]
            left.difference_update(names)
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_spacing=0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            require_address_space()
            with standard_output():
                return super().invoke(ctx)
        except BrokenPipeError:  # `| head` has seen enough
            ctx.exit(PIPE_CLOSED)
        except MMGError as error:
            say(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except MemoryError as error:
            say(
                f"error: this process ran out of memory ({str(error) or 'no more was given'}); `mmg-ray plan` "
                "says what a task needs, and plan.tile_variables lowers it. What is finished is stored",
                err=True,
            )
            ctx.exit(2)
        except KeyboardInterrupt:
            say("stopped; what is finished is stored, and `run` again goes on", err=True)
            ctx.exit(INTERRUPTED)


class _Echo(logging.Handler):
    """The library's log on standard error, wherever that is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), err=True)


@click.group(cls=_Commands, context_settings=HELP)
@click.version_option(package_name="mmg-ray")
def main() -> None:
    """Mutual-information networks with standard errors and p-values, over very many pairs of variables.

    \b
    The usual order: a configuration, its cost, the run, its results.
      mmg-ray config > run.yaml          # then set data.path and output.url
      mmg-ray plan run.yaml              # pairs, time, memory and bytes
      mmg-ray run run.yaml
      mmg-ray network runs/run --step fdr=0.05

    Expression matrices and neural recordings have commands of their own, `genomics` and `neural`, which also
    prepare the data. A run that was interrupted continues with the same command. `status` and `edges` work at any
    time, also while it runs. Every command takes --help, which has examples.
    """
    handler = _Echo()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log = logging.getLogger("mmg_ray")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
