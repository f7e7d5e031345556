"""The latent cache: what goes in comes out, and it is whole or not there."""

from pathlib import Path

import numpy as np
import pytest

from videogen_jax.data.latent_cache import LatentCache, write_latent_cache
from videogen_jax.data.loader import make_loader
from videogen_jax.data.sources import ShapesClips

CLIPS = ShapesClips("train", 5, num_frames=2, resolution=16)


def _encode(video_BFHWC: np.ndarray) -> dict[int, np.ndarray]:
    """Stands in for an autoencoder: the mean colour of blocks of 8 and of 4 pixels."""
    blocks = video_BFHWC.reshape(*video_BFHWC.shape[:2], 2, 8, 2, 8, 3)
    latents = blocks.mean(axis=(3, 5)) / 255.0
    return {16: latents, 8: latents[:, :, :1, :1]}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    write_latent_cache(CLIPS, _encode, tmp_path / "cache", batch_size=2)
    return tmp_path / "cache"


def test_every_clip_keeps_its_latents_fps_and_caption(cache: Path):
    source = LatentCache(cache)
    assert len(source) == 5
    for i in range(5):
        clip, cached = CLIPS[i], source[i]
        expected = _encode(clip["video"][None])
        assert cached["caption"] == clip["caption"]
        assert cached["fps"] == clip["fps"]
        np.testing.assert_allclose(cached["latents_16"], expected[16][0], atol=1e-3)  # float16
        assert cached["latents_8"].shape == (2, 1, 1, 3)


def test_it_feeds_the_loader(cache: Path):
    batch = next(make_loader(LatentCache(cache), 4, seed=0))
    assert batch["latents_16"].shape == (4, 2, 2, 2, 3)
    assert batch["latents_16"].dtype == np.float16


def test_a_cache_is_not_overwritten(cache: Path):
    with pytest.raises(FileExistsError, match="exists already"):
        write_latent_cache(CLIPS, _encode, cache)


def test_an_interrupted_cache_is_not_there(tmp_path: Path):
    def fail(video: np.ndarray) -> dict[int, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_latent_cache(CLIPS, fail, tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="no latent cache there"):
        LatentCache(tmp_path / "cache")
    write_latent_cache(CLIPS, _encode, tmp_path / "cache")
    assert len(LatentCache(tmp_path / "cache")) == 5
