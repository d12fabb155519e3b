"""Network steps as methods, for Python and its editors: ``net.fdr(0.05).clr()`` is ``["fdr=0.05", "clr"]``."""

from __future__ import annotations

from typing import Self


class Chain:
    """What takes steps one after the other; each returns a new one, and reads the edges once or twice."""

    def then(self, step: str) -> Self:
        """One more step, `name` or `name=value`; `network.steps.STEPS` lists them. ConfigError where there is no such."""
        raise NotImplementedError

    def _then(self, name: str, value: float) -> Self:
        return self.then(f"{name}={float(value)!r}".removesuffix(".0"))

    def fdr(self, rate: float = 0.05) -> Self:
        """Keep edges found at this false-discovery rate (Benjamini-Hochberg)."""
        return self._then("fdr", rate)

    def by(self, rate: float = 0.05) -> Self:
        """The same under any dependence of the tests (Benjamini-Yekutieli)."""
        return self._then("by", rate)

    def lfdr(self, rate: float = 0.2) -> Self:
        """Keep edges up to this local false-discovery rate, 1 - p_dependent."""
        return self._then("lfdr", rate)

    def mi(self, nats: float) -> Self:
        """Keep edges of at least this MI."""
        return self._then("mi", nats)

    def weight(self, least: float) -> Self:
        """Keep edges of at least this weight, as the steps before left it."""
        return self._then("weight", least)

    def top(self, k: int) -> Self:
        """Keep the k strongest edges of each variable."""
        return self._then("top", k)

    def clr(self) -> Self:
        """Weigh an edge against the others of both ends (CLR, Faith 2007)."""
        return self.then("clr")

    def dpi(self, tolerance: float = 0.1) -> Self:
        """Drop the weakest edge of triangles, up to a tolerance (ARACNE, Margolin 2006)."""
        return self._then("dpi", tolerance)

    def mrnet(self) -> Self:
        """Weigh an edge by what it adds to stronger ones (MRNET, Meyer 2007)."""
        return self.then("mrnet")
