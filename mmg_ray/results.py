"""What a stored run and a matrix in memory both give, made of what either says of its pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from mmg_ray.network.graph import Network
    from mmg_ray.report.page import Report
    from mmg_ray.report.subject import Subject


class Result:
    """MI of pairs of V named variables."""

    if TYPE_CHECKING:  # what either has of its own, as a field or read from storage

        @property
        def names(self) -> list[str]: ...

        def matrix(self, name: str = ...) -> Any: ...

        def network(self, steps: Sequence[str] = ...) -> Network: ...

    def _subject(self) -> Subject:
        """What its report is about."""
        raise NotImplementedError

    def to_frame(self, name: str = "mi_nats") -> pd.DataFrame:
        """(V, V) one of the numbers of each pair, such as "spearman", with the names of the variables."""
        import pandas as pd

        return pd.DataFrame(self.matrix(name)[:], index=self.names, columns=self.names)

    def to_anndata(self, adata: AnnData, steps: Sequence[str] = ()) -> AnnData:
        """Write `network(steps)` into an AnnData of these variables: .varp["mmg_ray_mi_nats"], ...

        In place, and returned. DataError where `adata` has none of the variables.
        """
        from mmg_ray.store.exports.anndata import annotate

        return annotate(self.network(steps), adata)

    def report(
        self,
        url: str = "report.html",
        steps: Sequence[str] | None = None,
        figures: str | None = None,
    ) -> Report:
        """Write one HTML page, which needs no network to read, to a file at any URL; of a run a complete one.

        Args:
            steps: of the network that it shows; default `fdr=0.05`.
            figures: a folder for its charts as SVG files, too.

        Returns:
            What it says, in numbers; in a notebook it shows as the page.
        """
        from mmg_ray.report import page  # torch takes seconds, and looking does without

        return page.write(self._subject(), url, steps, figures)
