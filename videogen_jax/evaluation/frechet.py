"""The Fréchet distance of feature sets (Heusel et al. 2017; FVD, Unterthiner et al. 2018)."""

import numpy as np


def frechet_distance(features_ND: np.ndarray, others_MD: np.ndarray) -> float:
    """Computes the squared Fréchet (2-Wasserstein) distance of Gaussians fitted to two sets.

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), with the sets' means and covariances. Even two finite
    sets of one distribution have a distance, which grows with the number of features.

    Args:
        features_ND: float [N, D], a row per clip.
        others_MD: float [M, D].

    Returns:
        at least 0, in the squared unit of the features.

    Raises:
        ValueError: a set is not a matrix of at least two rows, the numbers of features differ, or a
            value is not finite.
    """
    sets = [np.asarray(features, np.float64) for features in (features_ND, others_MD)]
    for features in sets:
        if features.ndim != 2 or len(features) < 2:
            raise ValueError(f"need features [2 clips or more, D], got shape {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError("a feature is not finite")
    if sets[0].shape[1] != sets[1].shape[1]:
        raise ValueError(f"need as many features, got {sets[0].shape[1]} and {sets[1].shape[1]}")
    (mean, covariance), (other_mean, other_covariance) = (
        (features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))) for features in sets
    )
    # tr (Σ₁ Σ₂)^½ from the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric.
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ other_covariance @ root).clip(0)).sum()
    apart = np.square(mean - other_mean).sum()
    total = apart + np.trace(covariance) + np.trace(other_covariance) - 2 * shared
    return float(max(total, 0.0))
