"""A stored run as people hold it: what storage says of it, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmg_ray.results import Result
from mmg_ray.store import run as of_storage

if TYPE_CHECKING:
    from mmg_ray.report.subject import Subject


class Run(of_storage.Run, Result):
    """A run at a URL, finished or not. Cheap to make: one small read.

    Attributes:
        url: where it is.
        manifest: its configuration, data digest and sizes.
    """

    def _subject(self) -> Subject:
        from mmg_ray.report.of_run import OfRun  # torch takes seconds, and looking does without

        return OfRun(self)


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
