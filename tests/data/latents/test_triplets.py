"""Target flows in a latent cache, and triplets of cached latents."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.latent_windows import (
    BATCH,
    CLIPS,
    EPOCHS,
    FRAMES,
    LAYOUT,
    Windows,
    expected_flows,
    latents_of,
    text_of,
    tokens_of,
    write,
)
from videogen_jax.data.clips.triplets import Triplets
from videogen_jax.data.latents.layout import CacheLayout
from videogen_jax.data.latents.reader import LatentCache
from videogen_jax.data.latents.shards import Encoders
from videogen_jax.data.latents.triplets import CachedTriplets


def test_every_flow_comes_out_again(cache: Path):
    source = LatentCache(cache)
    for index in range(CLIPS):
        for epoch in range(EPOCHS + 1):
            for frame in range(1, FRAMES - 1):
                found = source.flows(index, epoch, frame)
                np.testing.assert_array_equal(found, expected_flows(index, epoch % EPOCHS, frame))
    with pytest.raises(IndexError):
        source.flows(CLIPS, 0, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_triplets_of_a_cache_are_those_of_the_windows(cache: Path, seed: int):
    triplets, windows = CachedTriplets(LatentCache(cache), seed), Triplets(Windows(), seed)
    assert len(triplets) == CLIPS
    for index in range(CLIPS):
        for epoch in range(EPOCHS):
            found, pixels = triplets.at(index, epoch), windows.at(index, epoch)
            assert found["time"] == pixels["time"] and found["fps"] == pixels["fps"]
            assert found["time"].dtype == found["fps"].dtype == np.float32
            frames = np.stack([pixels["a"], pixels["mid"], pixels["b"]])
            blocks = frames.reshape(3, 2, 8, 2, 8, 3).mean(axis=(2, 4), dtype=np.float32)
            np.testing.assert_allclose(found["latents_16"], blocks, rtol=1e-6)
            frame = round(float(found["time"]) * (FRAMES - 1))
            flows = np.stack([found["flow_a"], found["flow_b"]])
            np.testing.assert_array_equal(flows, expected_flows(index, epoch, frame))
    again = triplets.at(3, EPOCHS)  # the window of epoch 0, with a new draw of the frame
    np.testing.assert_array_equal(again["latents_16"][::2], triplets[3]["latents_16"][::2])
    assert again["time"] == windows.at(3, EPOCHS)["time"]


def test_a_cache_without_flows_or_of_an_earlier_version(cache: Path, tmp_path: Path):
    without = CacheLayout(CLIPS, EPOCHS, 4, "float32", LAYOUT.latents, LAYOUT.text)
    out = write(tmp_path / "out", without, Encoders(latents_of, tokens_of, text_of, BATCH))
    info = json.loads((out / "info.json").read_text())
    assert info.pop("flows") is None
    (out / "info.json").write_text(json.dumps(info))
    assert not list(out.rglob("flows.npy"))
    source = LatentCache(out)
    assert not source.has_flows and "flow_a" not in CachedTriplets(source)[0]
    with pytest.raises(ValueError, match="was opened without flows, or has none"):
        source.flows(0, 0, 1)
    part = shutil.copytree(cache, tmp_path / "part")
    for path in part.rglob("flows.npy"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="flows.npy of the latent cache is missing"):
        LatentCache(part)
    assert "flow_a" not in CachedTriplets(LatentCache(part, flows=False))[0]
