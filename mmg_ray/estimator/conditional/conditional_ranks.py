"""What is left of a variable once a condition is known: its rank among samples of like condition.

With U = F(x | c) in every coordinate, c known, x -> U is one to one and each coordinate of U is
independent of C: whatever X and Y share beyond C is shared by U_x and U_y. F is estimated in three steps with one
smoother: location, scale, then what is left of the shape, the shares below a few thresholds. Errors
of U_x and of U_y make a dependence of the size of their product only, hence little where one is good
(the idea of double machine learning, Chernozhukov et al. 2018; Shah & Peters 2020).

The smoother is kernel ridge regression on Nystrom features: linear terms and categories are free,
the rest is penalised as generalised cross-validation says, for each target by itself. It depends on the condition alone, so all variables
of a run share it, and a variable costs a few matrix products.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmg_ray.errors import DataError
from mmg_ray.estimator.ranks import marginals
from mmg_ray.estimator.streams import numpy_stream

_LANDMARKS = 256
_WIDTH = 0.3  # of the kernels of single coordinates, in standard deviations
_JOINT = 1.0  # of the kernel of all coordinates, times the root of their number
_PENALTIES = np.geomspace(1e-5, 1e5, 21)
_DEGREE = (
    1.4  # a degree of freedom counts for more than one: plain cross-validation overfits at times
)
_LEVELS = np.array([0.01, 0.03, 0.07, *np.arange(0.125, 0.9, 0.0625), 0.93, 0.97, 0.99])
_LEAST_VARIANCE = 1e-6  # a smaller share of the variance is no variable of its own
_MAX_CATEGORIES = 64
_MOST_BYTES = 2**28  # of smoothers that are kept


class Condition(NamedTuple):
    """What is known beside the two variables of a pair.

    Attributes:
        name: keys random streams.
        codes: (N, D) ordinal codes of numbers, as in `Variable`; D may be 0.
        categories: (N, E) codes without an order; E may be 0; -1 is missing in both.
    """

    name: str
    codes: np.ndarray
    categories: np.ndarray

    @classmethod
    def of(
        cls, name: str, n: int, numbers: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> Condition:
        """From the codes (N,) of columns of numbers and of labels, of n samples each."""
        empty = np.empty((n, 0), dtype=np.int32)
        return cls(name, *(np.stack(c, axis=1) if c else empty for c in (numbers, labels)))

    @property
    def present(self) -> np.ndarray:
        """(N,) true where all of it is known."""
        both = np.concatenate([self.codes, self.categories], axis=1)
        return (both != marginals.MISSING).all(axis=1)

    def at(self, rows: np.ndarray) -> Condition:
        """The condition over the samples where `rows` (N,) is true."""
        return self._replace(codes=self.codes[rows], categories=self.categories[rows])

    def informative(self) -> Condition:
        """Without columns that say nothing: of one value, or as an earlier one says."""
        numbers, labels = (
            [k for k, why in enumerate(says_nothing(list(c.T), ordered=ordered)) if not why]
            for c, ordered in ((self.codes, True), (self.categories, False))
        )
        return self._replace(codes=self.codes[:, numbers], categories=self.categories[:, labels])

    def columns(self) -> np.ndarray:
        """(N, F) codes of all of it as coordinates of a vector: a category is an indicator column each."""
        indicators = [
            (column[:, None] == np.unique(column)[1:]).astype(np.int32)
            for column in self.categories.T
        ]
        return np.concatenate([self.codes, *indicators], axis=1)


def warnings_of(condition: Condition, numbers: Sequence[str], labels: Sequence[str]) -> list[str]:
    """What a user should know of a condition, a sentence each, given the names of its columns.

    Raises DataError where no sample has all of it.
    """
    names = [*numbers, *labels]
    present = condition.present
    if not present.any():
        missing = [
            name
            for name, column in zip(
                names, [*condition.codes.T, *condition.categories.T], strict=True
            )
            if (column == marginals.MISSING).all()
        ]
        raise DataError(
            f"{', '.join(missing) or 'the condition'} has no value in any sample"
            f"{'' if missing else ' together with the others'}; leave it out"
        )
    known = condition.at(present)
    reasons = [
        *says_nothing(list(known.codes.T), ordered=True),
        *says_nothing(list(known.categories.T), ordered=False),
    ]
    return [
        f"{name} {why}, so it is no condition"
        for name, why in zip(names, reasons, strict=True)
        if why
    ]


def says_nothing(columns: Sequence[np.ndarray], *, ordered: bool) -> list[str]:
    """Of columns (N,) of codes, why each tells nothing as a condition beside those before it, "" if it does.

    A column of one value says nothing, nor does a copy: the same order or its reverse, of labels
    (`ordered` false) the same groups under any names.
    """
    reasons, seen = [], set()
    for column in columns:
        known = column != marginals.MISSING
        _, first, codes = np.unique(column[known], return_index=True, return_inverse=True)
        # ordered so that the value that comes first is in the lower half, or groups as they come
        last = len(first) - 1
        names = np.argsort(np.argsort(first))
        if ordered:
            names = np.arange(last + 1)
            turn = codes.size and (2 * codes[codes * 2 != last][:1] > last).any()
            names = names[::-1] if turn else names
        key = (known.tobytes(), names[codes].tobytes())
        reasons.append("has one value" if last < 1 else "repeats another" if key in seen else "")
        seen.add(key)
    return reasons


def label_codes(labels: np.ndarray, name: str = "the condition") -> np.ndarray:
    """(n,) texts, booleans or anything with a text -> (n,) int32 codes; None, "" and nan are missing.

    Raises DataError, which calls it `name`, where nearly every sample has a label of its own.
    """
    texts = np.array(["" if label is None else str(label) for label in labels])
    absent = np.isin(texts, ["", "nan", "NaN", "None", "<NA>"])
    codes = np.full(len(texts), marginals.MISSING, dtype=np.int32)
    values, codes[~absent] = np.unique(texts[~absent], return_inverse=True)
    n = int((~absent).sum())
    if len(values) > max(_MAX_CATEGORIES, n // 20) or 2 <= n < 2 * len(values):
        raise DataError(
            f"{name} has {len(values)} different labels for {n} samples, such as {values[0]!r}: so few "
            "samples of each show nothing. Leave it out, join labels, or, if they are numbers, pass them as "
            "numbers"
        )
    return codes


class Smoother:
    """Regression on a condition over n complete samples."""

    def __init__(self, condition: Condition, seed: int) -> None:
        c = (
            np.stack([marginals.midrank_scores(column) for column in condition.codes.T], 1)
            if (condition.codes.shape[1])
            else np.empty((len(condition.categories), 0))
        )
        labels = [np.unique(column, return_inverse=True)[1] for column in condition.categories.T]
        n = len(c)
        indicators = [np.eye(int(label.max()) + 1)[label][:, 1:] for label in labels]
        free = np.concatenate([np.ones((n, 1)), c, *indicators], axis=1)
        left, size, _ = np.linalg.svd(free, full_matrices=False)
        self._free = left[:, size > 1e-8 * size[0]]
        chosen = numpy_stream(seed, "landmarks", condition.name).permutation(n)[:_LANDMARKS]
        kernel = _kernel(c, labels, chosen)
        values, vectors = np.linalg.eigh(kernel[chosen])
        keep = values > 1e-9 * values[-1]
        features = kernel @ (vectors[:, keep] / np.sqrt(values[keep]))
        features -= self._free @ (self._free.T @ features)
        gram, turn = np.linalg.eigh(features.T @ features)
        keep = gram > 1e-9 * max(gram[-1], 1e-300)
        self._penalised = features @ (turn[:, keep] / np.sqrt(gram[keep]))
        self._squares = gram[keep]

    @property
    def nbytes(self) -> int:
        """Of its features: 2 kB a sample at most."""
        return self._free.nbytes + self._penalised.nbytes

    def __call__(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, T) -> fitted values (n, T) and the leverage of each sample (n, T)."""
        n = len(targets)
        fitted = self._free @ (self._free.T @ targets)
        along = self._penalised.T @ targets
        rest = ((targets - fitted) ** 2).sum(0)
        kept = self._squares / (self._squares + _PENALTIES[:, None])
        error = rest - ((2 * kept - kept**2)[:, :, None] * along**2).sum(1)
        degrees = self._free.shape[1] + kept.sum(1)
        score = error / np.maximum(1 - _DEGREE * degrees[:, None] / n, 1e-3) ** 2
        best = kept[score.argmin(0)].T
        fitted += self._penalised @ (best * along)
        leverage = (self._free**2).sum(1, keepdims=True) + self._penalised**2 @ best
        return fitted, leverage


class Smoothers:
    """The smoothers of a condition over n samples, by which of them a variable has; made once while there is room."""

    def __init__(self, condition: Condition, seed: int) -> None:
        self._condition, self._seed = condition, seed
        self._made: dict[bytes, Smoother] = {}

    def __call__(self, complete: np.ndarray) -> Smoother:
        """Over the samples where `complete` (n,)."""
        key = hashlib.blake2b(np.packbits(complete).tobytes(), digest_size=16).digest()
        if key not in self._made:
            if sum(made.nbytes for made in self._made.values()) > _MOST_BYTES:
                self._made.clear()  # variables that all lack other samples would fill the memory
            self._made[key] = Smoother(self._condition.at(complete), self._seed)
        return self._made[key]


def conditional_ranks(x: np.ndarray, smooth: Smoother) -> np.ndarray | None:
    """(n,) scores -> (n,) ranks 0..n-1 of F(x | c); None where c says all there is of x."""
    mean, leverage = smooth(x[:, None])
    rest = (x - mean[:, 0]) / np.maximum(1 - leverage[:, 0], 0.1)  # as if left out
    if rest.var() < _LEAST_VARIANCE * x.var():
        return None
    # E log e^2 is the log of the scale but for a constant; the floor tames the log of nearly 0
    squares = np.log(rest**2 + 1e-3 * np.median(rest**2) + 1e-300)
    log_scale, _ = smooth(squares[:, None])
    rest = rest * np.exp(-0.5 * (log_scale[:, 0] - log_scale.mean()))
    rank = _ranks(rest)
    share = (rank + 0.5) / len(x)
    below, _ = smooth((share[:, None] < _LEVELS).astype(np.float64) - _LEVELS)
    below = np.maximum.accumulate(np.clip(below + _LEVELS, 1e-4, 1 - 1e-4), axis=1)
    # from the marginal to the conditional distribution function, linear between thresholds
    zero, one = np.zeros((len(x), 1)), np.ones((len(x), 1))
    knots, values = np.concatenate([[0.0], _LEVELS, [1.0]]), np.concatenate([zero, below, one], 1)
    k = np.searchsorted(knots, share, side="right") - 1
    row = np.arange(len(x))
    low, high = values[row, k], values[row, k + 1]
    inside = (share - knots[k]) / (knots[k + 1] - knots[k])
    return _ranks(low + (high - low) * inside)


def _ranks(values: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _kernel(c: np.ndarray, labels: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """(n, M) similarity to the chosen samples: alike in one coordinate, in all, in a category."""
    n, dim = c.shape
    total = np.zeros((n, len(chosen)))
    joint = np.zeros((n, len(chosen)))
    for column in c.T:
        squares = (column[:, None] - column[chosen]) ** 2
        total += np.exp(-0.5 * squares / _WIDTH**2)
        joint += squares
    if dim > 1:
        total += np.exp(-0.5 * joint / (_JOINT**2 * dim))
    same = [(label[:, None] == label[chosen]).astype(np.float64) for label in labels]
    for alike in same:
        total += alike * (1 + np.exp(-0.5 * joint / (_WIDTH**2 * max(dim, 1)))) * bool(dim)
    return total + 1e-12
