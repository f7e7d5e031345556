"""The Fréchet distance of feature sets (Heusel et al. 2017; FVD, Unterthiner et al. 2018)."""

import numpy as np

from videogen_jax.errors import UserError
from videogen_jax.evaluation.statistics import Covariance, Moments


def fvd(real: Moments, generated: Moments, covariance: Covariance = "unbiased") -> float:
    """Computes the Fréchet video distance of two sets of videos.

    The features are I3D's logits (`features.i3d_features`). The value depends on the number of
    videos, on their preprocessing and on `covariance`: compare only values with the same.

    Args:
        real: Statistics of real videos.
        generated: Statistics of generated videos.
        covariance: Divisor: `unbiased` as in the original code and TATS, `population` as in
            StyleGAN-V and cd-fvd.

    Raises:
        UserError: A set has no more videos than features, so its covariance is singular.
    """
    for name, moments in (("real", real), ("generated", generated)):
        if moments.count <= (features := len(moments.mean_D)):
            raise UserError(
                f"FVD with {features} features needs at least {features + 1} videos in each set, "
                f"got {moments.count} {name} ones"
            )
    return frechet_distance_of(real, generated, covariance)


def frechet_distance_of(
    moments: Moments, others: Moments, covariance: Covariance = "unbiased"
) -> float:
    """Computes the squared Fréchet (2-Wasserstein) distance of Gaussians with two sets' moments.

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½). The trace of the root is that of the symmetric matrix
    (Σ₁^½ Σ₂ Σ₁^½)^½, from eigenvalues in float64; SciPy's `sqrtm` of Σ₁ Σ₂ gives the same number.
    Even two finite sets of one distribution have a distance, which grows with the number of
    features and shrinks with that of the sets' members.

    Args:
        moments: Statistics of at least two vectors.
        others: Statistics of at least two vectors.
        covariance: Divisor of the covariances.

    Returns:
        at least 0, in the squared unit of the features.

    Raises:
        ValueError: A set has fewer than two members, or the numbers of features differ.
    """
    if moments.mean_D.shape != others.mean_D.shape:
        sizes = f"{len(moments.mean_D)} and {len(others.mean_D)}"
        raise ValueError(f"need as many features, got {sizes}")
    first_DD, second_DD = (m.covariance_DD(covariance) for m in (moments, others))
    values, vectors = np.linalg.eigh(first_DD)
    root_DD = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root_DD @ second_DD @ root_DD).clip(0)).sum()
    apart = np.square(moments.mean_D - others.mean_D).sum()
    return float(max(apart + np.trace(first_DD) + np.trace(second_DD) - 2 * shared, 0.0))


def frechet_distance(features_ND: np.ndarray, others_MD: np.ndarray) -> float:
    """Computes `frechet_distance_of` two sets that are in memory, with unbiased covariances.

    Args:
        features_ND: float [N, D], a row per clip.
        others_MD: float [M, D].

    Raises:
        ValueError: a set is not a matrix of at least two rows, the numbers of features differ, or a
            value is not finite.
    """
    sets = [np.asarray(features, np.float64) for features in (features_ND, others_MD)]
    for features in sets:
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"need features [2 clips or more, D], got shape {features.shape}")
    moments, others = (Moments.empty(x.shape[1]).update(x) for x in sets)
    return frechet_distance_of(moments, others)
