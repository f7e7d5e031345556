"""The metrics by name: what each needs, its statistics, and its score.

A `Measure` adds batches of videos to the statistics of `evaluation/statistics.py`, which have
constant size. So a score needs no memory for its videos, and statistics of parts merge.

Letters: B batch, F frames, H height, W width, D features; `3` RGB channels, uint8.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from videogen_jax.data.shapes.captions import parse
from videogen_jax.evaluation import features
from videogen_jax.evaluation.clip_similarity import clip_similarity
from videogen_jax.evaluation.frechet import frechet_distance_of, fvd
from videogen_jax.evaluation.image_quality import video_lpips, video_psnr, video_ssim
from videogen_jax.evaluation.inception_score import inception_score, split_of
from videogen_jax.evaluation.runner.protocols import Protocol
from videogen_jax.evaluation.shapes.analyser import Reading, analyse
from videogen_jax.evaluation.statistics import Averages, Moments, Predictions
from videogen_jax.evaluation.steadiness import estimate_flows, flicker, warping_error
from videogen_jax.models.features import loading


@dataclass(frozen=True)
class Batch:
    """Videos of one size.

    Attributes:
        indices: Their numbers.
        videos: uint8 [B, F, H, W, 3].
        captions: Their captions, "" without one.
        truths: The real videos of the same numbers, for metrics of pairs.
    """

    indices: tuple[int, ...]
    videos: np.ndarray
    captions: tuple[str, ...]
    truths: np.ndarray | None = None


Scores = dict[str, float]


@dataclass(frozen=True)
class Measure:
    """A metric that is ready to use.

    Attributes:
        empty: Returns the statistics of no videos.
        update: Adds a batch to statistics.
        score: Returns the scores, by name, of statistics of generated videos; a second argument
            are those of real videos, for metrics that compare sets.
        resampled: As `score`, for resampled statistics, which may be of too few videos.
    """

    empty: Callable[[], Any]
    update: Callable[[Any, Batch], Any]
    score: Callable[[Any, Any], Scores]
    resampled: Callable[[Any, Any], Scores]


@dataclass(frozen=True)
class Setup:
    """What a measure is built from: networks, protocol, and the videos scored together."""

    networks: Path
    protocol: Protocol
    num_videos: int
    batch_size: int


@dataclass(frozen=True)
class Metric:
    """A row of the table of metrics.

    Attributes:
        build: Loads the network, if there is one, and returns the measure.
        component: The network in the directory of networks, None without one.
        settings: Fields of the protocol that the statistics depend on.
        needs_real: Compares with the set of real videos.
        needs_truths: Compares each video with the real one of the same number.
        needs_captions: Compares videos with captions.
    """

    build: Callable[[Setup], Measure]
    component: str | None = None
    settings: tuple[str, ...] = ()
    needs_real: bool = False
    needs_truths: bool = False
    needs_captions: bool = False


def _fvd(setup: Setup) -> Measure:
    grid, covariance = setup.protocol.grid, setup.protocol.covariance
    extractor = features.i3d_features(*loading.load_i3d(setup.networks), grid=grid)

    def update(moments: Moments, batch: Batch) -> Moments:
        return moments.update(_in_full_batches(extractor, batch.videos, setup.batch_size))

    return Measure(
        lambda: Moments.empty(extractor.num_features),
        update,
        lambda generated, real: {"fvd": fvd(real, generated, covariance)},
        lambda generated, real: {"fvd": frechet_distance_of(real, generated, covariance)},
    )


def _inception(setup: Setup) -> Measure:
    extractor = features.c3d_probabilities(*loading.load_c3d(setup.networks))
    splits = setup.protocol.splits

    def update(predictions: Predictions, batch: Batch) -> Predictions:
        found = _in_full_batches(extractor, batch.videos, setup.batch_size)
        return predictions.update(found, split_of(batch.indices, setup.num_videos, splits))

    def score(predictions: Predictions, real: Any) -> Scores:
        mean, deviation = inception_score(predictions)
        return {"is": mean, "is_deviation_over_splits": deviation}

    empty = lambda: Predictions.empty(extractor.num_features, splits)
    return Measure(empty, update, score, score)


def _clipsim(setup: Setup) -> Measure:
    clip = features.ClipExtractor(*loading.load_clip(setup.networks))

    def values(batch: Batch) -> np.ndarray:
        images = _in_full_batches(clip.images, batch.videos, setup.batch_size)
        return clip_similarity(images, clip.texts(batch.captions))[:, None]

    return _averages(values, "clipsim")


def _lpips(setup: Setup) -> Measure:
    params = loading.load_lpips(setup.networks)

    def values(batch: Batch) -> np.ndarray:
        assert batch.truths is not None
        pairs = np.concatenate([batch.videos, batch.truths], axis=1)
        frames = batch.videos.shape[1]
        distances = lambda both: video_lpips(params, both[:, :frames], both[:, frames:])
        return _in_full_batches(distances, pairs, setup.batch_size)[:, None]

    return _averages(values, "lpips")


def _of_pairs(name: str, measure: Callable[[np.ndarray, np.ndarray], float]) -> Metric:
    def values(batch: Batch) -> np.ndarray:
        assert batch.truths is not None
        pairs = zip(batch.videos, batch.truths, strict=True)
        return np.array([[measure(video, truth)] for video, truth in pairs])

    return Metric(lambda setup: _averages(values, name), needs_truths=True)


def _steadiness(setup: Setup) -> Measure:
    def values(batch: Batch) -> np.ndarray:
        rows = [(video, estimate_flows(video)) for video in batch.videos]
        found = np.array([[warping_error(*row), flicker(*row)] for row in rows])
        return found[
            np.isfinite(found).all(axis=1)
        ]  # NaN: no pixel is seen twice, or none is still

    return _averages(values, "warping_error", "flicker")


def _shapes(setup: Setup) -> Measure:
    names = ("colour", "shape", "motion")  # which every caption of the shapes names

    def values(batch: Batch) -> np.ndarray:
        wanted = [Reading(**parse(caption)) for caption in batch.captions]
        read = [analyse(video) for video in batch.videos]
        pairs = list(zip(read, wanted, strict=True))
        right = [[getattr(a, name) == getattr(b, name) for name in names] for a, b in pairs]
        return np.array(right, np.float64)

    return _averages(values, *names)


def _averages(values: Callable[[Batch], np.ndarray], *names: str) -> Measure:
    def score(averages: Averages, real: Any) -> Scores:
        if averages.count == 0:
            return dict.fromkeys(names, math.nan)
        return dict(zip(names, averages.mean_D.tolist(), strict=True))

    update = lambda averages, batch: averages.update(values(batch))
    return Measure(lambda: Averages.empty(len(names)), update, score, score)


def _in_full_batches(
    apply: Callable[[Any], Any], videos_BFHW3: np.ndarray, size: int
) -> np.ndarray:
    """Applies a network to a batch that is filled up to `size`, over this process's devices.

    The last batch of a set has fewer videos, and every size compiles anew.
    """
    count, devices = len(videos_BFHW3), jax.local_devices()
    rows = np.minimum(np.arange(size), count - 1)
    mesh = Mesh(np.array(devices), ("batch",))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    return np.asarray(apply(jax.device_put(videos_BFHW3[rows], sharding)))[:count]


METRICS: Mapping[str, Metric] = {
    "fvd": Metric(_fvd, loading.I3D_COMPONENT, ("grid",), needs_real=True),
    "is": Metric(_inception, loading.C3D_COMPONENT, ("splits",)),
    "clipsim": Metric(_clipsim, loading.CLIP_COMPONENT, needs_captions=True),
    "lpips": Metric(_lpips, loading.LPIPS_COMPONENT, needs_truths=True),
    "psnr": _of_pairs("psnr", video_psnr),
    "ssim": _of_pairs("ssim", video_ssim),
    "steadiness": Metric(_steadiness),
    "shapes": Metric(_shapes, needs_captions=True),
}
"""The metrics by name; `steadiness` is warping error and flicker, `shapes` the analyser's."""
