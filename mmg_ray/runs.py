"""A stored run as people hold it: what storage says of it, and its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmg_ray.store import run as of_storage

if TYPE_CHECKING:
    import pandas as pd

    from mmg_ray.report.page import Report


class Run(of_storage.Run):
    """A run at a URL, finished or not. Cheap to make: one small read.

    Attributes:
        url: where it is.
        manifest: its configuration, data digest and sizes.
    """

    def to_frame(self, name: str = "mi_nats") -> pd.DataFrame:
        """(V, V) one of the matrices of a complete run, with the names of the variables, as `MIMatrix.to_frame`."""
        import pandas as pd

        return pd.DataFrame(self.matrix(name)[:], index=self.names, columns=self.names)

    def report(
        self,
        url: str = "report.html",
        steps: Sequence[str] | None = None,
        figures: str | None = None,
    ) -> Report:
        """Write one HTML page about the complete run, which needs no network, to a file at any URL.

        Args:
            steps: of the network that it shows; default `fdr=0.05`.
            figures: a folder for its charts as SVG files, too.

        Returns:
            What it says, in numbers; in a notebook it shows as the page.
        """
        # torch takes seconds, and looking does without
        from mmg_ray.report.of_run import write_report

        return write_report(self, url, steps, figures)


def open_run(url: str) -> Run:
    """The run stored at `url`; StoreError where there is none.

    Examples:
        >>> import numpy as np, mmg_ray
        >>> x, e = np.random.default_rng(0).standard_normal((2, 300))
        >>> _ = mmg_ray.run(np.stack([x, x + e, e**2], axis=1), url="memory://open_run/run")
        >>> run = mmg_ray.open_run("memory://open_run/run")
        >>> run.strongest(1)[["source", "target"]].to_dict("records")
        [{'source': 'v0', 'target': 'v1'}]
        >>> run.network(["fdr=0.05"])
        Network(3 variables, 2 edges)
    """
    return Run(url)
