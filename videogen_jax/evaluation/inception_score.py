"""The inception score (Salimans et al. 2016), for videos by C3D (Saito et al. 2017, TGAN)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from videogen_jax.errors import UserError
from videogen_jax.evaluation.statistics import Predictions


class InceptionScore(NamedTuple):
    """The mean and the standard deviation (divisor S) over splits, 0 for one split."""

    mean: float
    deviation: float


def inception_score(predictions: Predictions) -> InceptionScore:
    """Computes exp(E KL(p(y|x) ‖ p(y))) of each split, and the mean and deviation over splits.

    The score is between 1 and the number of classes. Few videos in a split lower it: with 10 splits
    of 2,048 videos it is about a tenth lower than with one split. Compare only scores with equal
    numbers of videos and splits.

    Raises:
        UserError: A split has no video.
    """
    if (empty := np.flatnonzero(predictions.count_S == 0)).size:
        raise UserError(
            f"an inception score with {len(predictions.count_S)} splits needs as many videos or "
            f"more, got {predictions.count_S.sum()}; split {empty[0]} has none"
        )
    counts = predictions.count_S
    mean_SK = predictions.total_SK / counts[:, None]
    mean_SK /= mean_SK.sum(1, keepdims=True)  # of float32 probabilities, which sum to 1 nearly
    marginal_S = np.where(mean_SK > 0, mean_SK * np.log(np.where(mean_SK > 0, mean_SK, 1)), 0)
    scores_S = np.exp(predictions.negentropy_S / counts - marginal_S.sum(1))
    return InceptionScore(float(scores_S.mean()), float(scores_S.std()))


def split_of(indices_N: ArrayLike, num_videos: int, splits: int) -> np.ndarray:
    """Returns the split of each video: `splits` runs of consecutive videos, of nearly equal length.

    Split s has the videos from ⌊s · num_videos / splits⌋, as in the code of TGANv2 and of Salimans
    et al. The order of videos must be random where they are sorted by class.

    Args:
        indices_N: Numbers of videos, 0 to `num_videos` − 1.
        num_videos: Number of videos of the whole set, over all processes.
        splits: Number of splits.

    Raises:
        UserError: There are fewer videos than splits.
    """
    if not 1 <= splits <= num_videos:
        raise UserError(f"need 1 to {num_videos} splits of {num_videos} videos, got {splits}")
    return ((np.asarray(indices_N, np.int64) + 1) * splits - 1) // num_videos
