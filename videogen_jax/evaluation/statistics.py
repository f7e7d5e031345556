"""Statistics of a set of videos in constant memory: sums that take batches and that merge.

Each is a NamedTuple of float64 NumPy arrays on the host. `update` adds a batch, `merge` joins the
statistics of two disjoint sets, and both return new statistics. Videos may be distributed over
batches and processes in any way: the results differ by rounding alone, below 1e-10 of their size
(deviations are summed about the mean, as in Chan et al. 1979, so a large mean costs no digits).

To send them between processes, send their bytes: without `jax_enable_x64`, JAX would cast them to
float32.

Letters: N videos, D features, S splits, K classes.
"""

from collections.abc import Iterable
from functools import reduce
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

Covariance = Literal["unbiased", "population"]
"""Divisor of a covariance: N − 1 (`unbiased`), or N (`population`)."""


class _Merges(Protocol):
    def merge(self, other: Any) -> Any: ...


T = TypeVar("T", bound=_Merges)


def merge_all(parts: Iterable[T]) -> T:
    """Joins the statistics of one or more disjoint sets, such as those of all processes."""
    return reduce(lambda a, b: a.merge(b), parts)


class Moments(NamedTuple):
    """The number, the mean and the deviations of feature vectors, for a Fréchet distance.

    Attributes:
        count: Number of vectors.
        mean_D: Their mean; 0 without any.
        scatter_DD: Sum of the outer products of their deviations from the mean.
    """

    count: np.int64
    mean_D: np.ndarray
    scatter_DD: np.ndarray

    @classmethod
    def empty(cls, num_features: int) -> "Moments":
        """Returns the statistics of no vectors."""
        zeros_D, zeros_DD = np.zeros(num_features), np.zeros((num_features, num_features))
        return cls(np.int64(0), zeros_D, zeros_DD)

    def update(self, features_ND: ArrayLike) -> "Moments":
        """Adds a batch of feature vectors.

        Raises:
            ValueError: It is not a matrix with D columns, or a value is not finite.
        """
        features = _finite(features_ND, self.mean_D.shape)
        if len(features) == 0:
            return self
        mean_D = features.mean(0)
        deviations = features - mean_D
        return self.merge(Moments(np.int64(len(features)), mean_D, deviations.T @ deviations))

    def merge(self, other: "Moments") -> "Moments":
        """Joins the statistics of two disjoint sets."""
        count, mean_D, gap_D = _joined(self, other)
        shared = self.count * other.count / max(count, 1)
        scatter_DD = self.scatter_DD + other.scatter_DD + shared * np.outer(gap_D, gap_D)
        return Moments(count, mean_D, scatter_DD)

    def covariance_DD(self, divisor: Covariance = "unbiased") -> np.ndarray:
        """Returns the covariance of the vectors.

        Raises:
            ValueError: There are fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 vectors or more, got {self.count}")
        return self.scatter_DD / (self.count - (divisor == "unbiased"))


class Averages(NamedTuple):
    """The means of measures of single videos, with their standard deviations.

    Attributes:
        count: Number of videos.
        mean_D: Mean of each measure; 0 without videos.
        scatter_D: Sum of the squared deviations from the mean.
    """

    count: np.int64
    mean_D: np.ndarray
    scatter_D: np.ndarray

    @classmethod
    def empty(cls, num_measures: int) -> "Averages":
        """Returns the statistics of no videos."""
        return cls(np.int64(0), np.zeros(num_measures), np.zeros(num_measures))

    def update(self, values_ND: ArrayLike) -> "Averages":
        """Adds the measures of a batch of videos.

        Raises:
            ValueError: It is not a matrix with D columns, or a value is not finite.
        """
        values = _finite(values_ND, self.mean_D.shape)
        if len(values) == 0:
            return self
        mean_D = values.mean(0)
        scatter_D = np.square(values - mean_D).sum(0)
        return self.merge(Averages(np.int64(len(values)), mean_D, scatter_D))

    def merge(self, other: "Averages") -> "Averages":
        """Joins the statistics of two disjoint sets."""
        count, mean_D, gap_D = _joined(self, other)
        shared = self.count * other.count / max(count, 1)
        return Averages(count, mean_D, self.scatter_D + other.scatter_D + shared * gap_D**2)

    def deviation_D(self) -> np.ndarray:
        """Returns the standard deviations over videos (divisor N − 1); NaN for fewer than two."""
        return np.sqrt(self.scatter_D / (self.count - 1)) if self.count > 1 else self._nan_D()

    def error_D(self) -> np.ndarray:
        """Returns the standard errors of the means."""
        return self.deviation_D() / np.sqrt(max(self.count, 1))

    def _nan_D(self) -> np.ndarray:
        return np.full_like(self.mean_D, np.nan)


class Predictions(NamedTuple):
    """Sums of a classifier's probabilities by split, for an inception score.

    Attributes:
        count_S: Number of videos of each split, int64.
        total_SK: Sum of the probabilities.
        negentropy_S: Sum of Σ p log p of each video.
    """

    count_S: np.ndarray
    total_SK: np.ndarray
    negentropy_S: np.ndarray

    @classmethod
    def empty(cls, num_classes: int, splits: int = 1) -> "Predictions":
        """Returns the statistics of no videos."""
        return cls(np.zeros(splits, np.int64), np.zeros((splits, num_classes)), np.zeros(splits))

    def update(
        self, probabilities_NK: ArrayLike, splits_N: ArrayLike | None = None
    ) -> "Predictions":
        """Adds a batch of predictions.

        Args:
            probabilities_NK: At least 0, each row with the sum 1.
            splits_N: Split of each video, see `inception_score.split_of`; None for the first.

        Raises:
            ValueError: The probabilities are not a matrix with K columns, not finite, negative or
                do not sum to 1, or a split does not exist.
        """
        p = _finite(probabilities_NK, self.total_SK.shape[1:])
        if (p < 0).any() or (np.abs(p.sum(1) - 1) > _SUM_TOLERANCE).any():
            raise ValueError("predictions are not probabilities with the sum 1")
        splits = np.zeros(len(p), np.int64) if splits_N is None else np.asarray(splits_N)
        if splits.shape != p.shape[:1] or not ((splits >= 0) & (splits < len(self.count_S))).all():
            raise ValueError(f"need a split below {len(self.count_S)} for each of {len(p)} videos")
        negentropy = np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1)
        count_S, total_SK, negentropy_S = (array.copy() for array in self)
        for target, value in ((count_S, 1), (total_SK, p), (negentropy_S, negentropy)):
            np.add.at(target, splits, value)
        return Predictions(count_S, total_SK, negentropy_S)

    def merge(self, other: "Predictions") -> "Predictions":
        """Joins the statistics of two disjoint sets."""
        return Predictions(*(a + b for a, b in zip(self, other, strict=True)))


_SUM_TOLERANCE = 1e-4  # of probabilities in float32


def _finite(values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a matrix in float64, whose rows have `shape`."""
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.shape[1:] != shape:
        raise ValueError(f"need a matrix [N, {shape[0]}], got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite")
    return array


def _joined(
    a: Moments | Averages, b: Moments | Averages
) -> tuple[np.int64, np.ndarray, np.ndarray]:
    """Returns the count and the mean of two sets together, and the gap between their means."""
    if a.mean_D.shape != b.mean_D.shape:
        raise ValueError(f"cannot join {len(a.mean_D)} and {len(b.mean_D)} features")
    count = np.int64(a.count + b.count)
    gap_D = b.mean_D - a.mean_D
    return count, a.mean_D + gap_D * (b.count / max(count, 1)), gap_D
