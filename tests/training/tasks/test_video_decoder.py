"""The video decoder task: warm start, losses and the networks that they train, training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.micro_model import MICRO
from tests.support.task_context import examples_of, task_context
from videogen_jax import trees
from videogen_jax.configs import RUNS
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.data.shapes.sources import DegradedClips, ShapesClips
from videogen_jax.data.transforms import resize, to_float
from videogen_jax.errors import MissingFile, UserError
from videogen_jax.models.autoencoder import unscale_latents
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from videogen_jax.models.features.loading import load_network
from videogen_jax.models.features.lpips import LPIPSConfig
from videogen_jax.models.layers import fold_frames
from videogen_jax.models.parameters import init_lpips
from videogen_jax.models.video_decoder import VideoDecoder
from videogen_jax.pipeline.encode import encode_frames
from videogen_jax.training.losses.perceptual import draw_frames, take_frames
from videogen_jax.training.runs.build import abstract_task, batch_shapes
from videogen_jax.training.step import as_scalar
from videogen_jax.training.tasks import video_decoder
from videogen_jax.training.tasks.video_decoder import VideoDecoderTask, VideoDecoderTaskConfig
from videogen_jax.weights.configured import add_configured

NETWORK_TOLERANCE = 1e-4
NUM_CLIPS, NUM_FRAMES = 2, 3
RESOLUTION = MICRO.stages[-1].resolution
OF_FRAMES = DiscriminatorConfig(channels=4, num_layers=1)
OF_WINDOWS = DiscriminatorConfig(channels=4, num_layers=1, frames=3)
LPIPS_SIZES = LPIPSConfig("vgg16", (2, 3, 4, 4, 4))
EVERY_TERM = VideoDecoderTaskConfig(
    adversarial_weight=0.5,
    discriminator=OF_FRAMES,
    temporal_adversarial_weight=0.25,
    temporal_discriminator=OF_WINDOWS,
    lpips="DIR",
    perceptual_weight=2.0,
    perceptual_frames=2,
    clean_probability=0.5,
)
TERMS = ("l1", "lpips", "fooling", "temporal_fooling", "judging", "temporal_judging")


@pytest.fixture(scope="module")
def batch():
    clips = ShapesClips("train", NUM_CLIPS, resolution=64, num_frames=NUM_FRAMES)
    degrade = DegradeConfig(blur_scale=0.25, codec_probabilities=(1.0, 0.0, 0.0))
    return tiny_model.batch_of(DegradedClips(clips, degrade), NUM_CLIPS)


def like_lpips(frozen, x_NHWC, y_NHWC):
    """Stands for `perceptual_loss`, which takes long to compile and has tests of its own."""
    return (frozen["lpips"]["scale"] * jnp.square(x_NHWC - y_NHWC)).mean()


def make_task(
    batch, config: VideoDecoderTaskConfig = VideoDecoderTaskConfig(), **fields
) -> VideoDecoderTask:
    frozen = {"autoencoder": tiny_model.frozen()["autoencoder"]}
    network = (None, {"scale": np.linspace(1, 3, 3, dtype=np.float32)})
    context = task_context(MICRO, frozen, feature_network=network, examples=examples_of(batch))
    return dataclasses.replace(config, **fields).build(context)


@pytest.fixture(scope="module")
def every_term(batch):
    """The task with every term: its parameters, batch, keys, loss and metrics, and gradient."""
    task = make_task(batch, EVERY_TERM)
    params = task.warm_start(tiny_model.random_params(task.init))
    degraded = batch["degraded"].copy()
    degraded[1] = batch["video"][1]
    batch = {**batch, "degraded": degraded}
    keys_B = tiny_model.keys(tiny_model.key(3), batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_decoder, "perceptual_loss", like_lpips)
        value_and_grad = jax.jit(jax.value_and_grad(task.loss, has_aux=True))
        return task, params, batch, keys_B, value_and_grad(params, task.frozen, batch, keys_B)


@pytest.fixture(scope="module")
def terms(every_term):
    """Each term, as its formula has it, with the gradient of each, and the decoded clips."""
    task, params, batch, keys_B, _ = every_term
    clean = resize(to_float(batch["video"]), RESOLUTION)
    scaled = encode_frames(MICRO, task.frozen, to_float(batch["degraded"]), RESOLUTION)
    latents = unscale_latents(MICRO.autoencoder, scaled)
    frames_BK = draw_frames(keys_B, NUM_FRAMES, 2)

    def logits(params, config, video):
        return PatchDiscriminator(config).apply({"params": params}, video)

    def values(params):
        network = VideoDecoder(MICRO.autoencoder)
        decoded = network.apply({"params": params["video_decoder"]}, latents)
        chosen = (fold_frames(take_frames(video, frames_BK)) for video in (decoded, clean))
        found = {
            "l1": jnp.abs(decoded - clean).mean(),
            "lpips": like_lpips(task.frozen, *chosen),
        }
        for prefix, config in {"": OF_FRAMES, "temporal_": OF_WINDOWS}.items():
            own = params[f"{prefix}discriminator"]
            of_decoded, of_real = (logits(own, config, video) for video in (decoded, clean))
            found[f"{prefix}fooling"] = -of_decoded.mean()
            hinges = (jnp.maximum(0, 1 - of_real), jnp.maximum(0, 1 + of_decoded))
            found[f"{prefix}judging"] = (hinges[0].mean() + hinges[1].mean()) / 2
        return jnp.stack([found[name] for name in TERMS]), decoded

    @jax.jit
    def value_and_gradients(params):
        value, pull_back, decoded = jax.vjp(values, params, has_aux=True)
        return value, decoded, *jax.vmap(pull_back)(jnp.eye(len(value)))

    value, decoded, gradient = jax.device_get(value_and_gradients(params))
    gradients = {name: jax.tree.map(lambda x: x[i], gradient) for i, name in enumerate(TERMS)}
    return dict(zip(TERMS, value, strict=True)), gradients, decoded, np.asarray(clean)


def test_starts_from_the_image_decoder(batch, capsys):
    task = make_task(batch)
    fresh = tiny_model.random_params(task.init, seed=5)
    started = trees.flatten(task.warm_start(fresh)["video_decoder"])
    source = trees.flatten(task.frozen["autoencoder"])
    for path, value in started.items():
        if "temporal_" in path:
            np.testing.assert_array_equal(value, trees.flatten(fresh["video_decoder"])[path])
        else:
            np.testing.assert_array_equal(value, source[path])
    assert "0 grown" in capsys.readouterr().out


def test_an_autoencoder_that_does_not_fit_is_an_error(batch):
    task = make_task(batch)
    autoencoder = dict(
        task.frozen["autoencoder"], post_quant_conv={"kernel": np.zeros((1, 1, 4, 4))}
    )
    task.frozen = {"autoencoder": autoencoder}
    with pytest.raises(ValueError, match="missing post_quant_conv/bias"):
        task.warm_start(tiny_model.random_params(task.init))


@pytest.mark.slow  # 15 seconds; the tests below have every term and its gradient
def test_overfits_a_batch(batch):
    task = make_task(batch)
    params = task.warm_start(tiny_model.random_params(task.init))
    params, metrics = tiny_model.overfit(task, params, batch, 80, 5e-3)
    assert metrics[-1]["loss"] < 0.4 * metrics[0]["loss"]
    assert metrics[-1]["psnr"] > metrics[0]["psnr"] + 5
    assert metrics[-1]["flicker"] < metrics[0]["flicker"]
    assert task.components(params) == {"video_decoder": params["video_decoder"]}

    rows, fps, _ = task.samples(params, seed=0)
    assert rows.shape == (NUM_CLIPS * 4, NUM_FRAMES, RESOLUTION, RESOLUTION, 3)
    assert fps == batch["fps"][0]
    clean, degraded, by_image, by_video = (rows[i::4].astype(int) for i in range(4))
    assert np.abs(by_video - clean).mean() < 0.5 * np.abs(by_image - clean).mean()
    assert 0 < np.abs(degraded - clean).mean() < 30


def test_a_term_without_a_weight_has_no_network(batch):
    plain = make_task(batch)
    assert set(jax.eval_shape(plain.init, tiny_model.key())) == {"video_decoder"}
    assert set(plain.frozen) == {"autoencoder"} and not plain.couples_samples
    for prefix in ("", "temporal_"):
        task = make_task(batch, EVERY_TERM, **{f"{prefix}adversarial_weight": 0.0})
        other = "discriminator" if prefix else "temporal_discriminator"
        params = jax.eval_shape(task.init, tiny_model.key())
        assert set(params) == {"video_decoder", other} and task.couples_samples
        assert set(task.components(params)) == {"video_decoder"}
        assert set(task.frozen) == {"autoencoder", "lpips"}


def test_every_term_is_its_formula(every_term, terms):
    *_, ((_, metrics), _) = every_term
    for name, value in terms[0].items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-3, err_msg=name)


def adaptive_weights(gradients) -> tuple[float, float]:
    """Returns the ratios of the norms at the last layer, of the whole networks' gradients."""
    at_last = {
        name: gradient["video_decoder"]["decoder"]["conv_out"]["kernel"]
        for name, gradient in gradients.items()
    }
    reconstruction = np.linalg.norm(at_last["l1"] + 2.0 * at_last["lpips"])
    of_frames, of_windows = (
        reconstruction / (np.linalg.norm(at_last[name]) + 1e-4)
        for name in ("fooling", "temporal_fooling")
    )
    return float(of_frames), float(of_windows)


def test_the_adaptive_weights_balance_the_last_layer(every_term, terms):
    *_, ((_, metrics), _) = every_term
    of_frames, of_windows = adaptive_weights(terms[1])
    np.testing.assert_allclose(metrics["adaptive_weight"], of_frames, rtol=1e-3)
    np.testing.assert_allclose(metrics["temporal_adaptive_weight"], of_windows, rtol=1e-3)
    assert abs(of_frames / of_windows - 1) > 0.01


def test_each_player_is_trained_by_its_own_loss(every_term, terms):
    """Judging does not train the decoder, nor fooling the discriminators."""
    *_, ((loss, _), gradient) = every_term
    values, gradients, *_ = terms
    of_frames, of_windows = adaptive_weights(gradients)
    weights = {"l1": 1.0, "lpips": 2.0}
    weights |= {"fooling": 0.5 * of_frames, "temporal_fooling": 0.25 * of_windows}
    total = sum(weight * values[name] for name, weight in weights.items())
    total += values["judging"] + values["temporal_judging"]
    np.testing.assert_allclose(loss, total, rtol=1e-3)
    expected = {
        "video_decoder": jax.tree.map(
            lambda *leaves: sum(
                weight * leaf for weight, leaf in zip(weights.values(), leaves, strict=True)
            ),
            *(gradients[name]["video_decoder"] for name in weights),
        ),
        "discriminator": gradients["judging"]["discriminator"],
        "temporal_discriminator": gradients["temporal_judging"]["temporal_discriminator"],
    }
    assert gradient.keys() == expected.keys()
    found, wanted = trees.flatten(gradient), trees.flatten(expected)
    for path, leaf in wanted.items():
        atol = 1e-3 * np.abs(leaf).max() + NETWORK_TOLERANCE
        np.testing.assert_allclose(found[path], leaf, atol=atol, err_msg=path)
    # The formulas without stops do train the other player.
    for name, path in (
        ("judging", "video_decoder/decoder/conv_out/kernel"),
        ("fooling", "discriminator/conv_0/kernel"),
    ):
        assert trees.flatten(gradients[name])[path].any()


def test_clean_clips_are_measured_apart(every_term, terms):
    *_, ((_, metrics), _) = every_term
    *_, decoded, clean = terms
    error = np.square(np.clip(decoded, -1, 1) - clean).mean(axis=(1, 2, 3, 4))
    degraded, of_clean = 10 * np.log10(4 / error)
    assert metrics["clean_share"] == 0.5
    np.testing.assert_allclose(as_scalar(metrics["psnr_clean"]), of_clean, rtol=1e-4)
    np.testing.assert_allclose(as_scalar(metrics["psnr_degraded"]), degraded, rtol=1e-4)


def test_a_run_with_lpips_is_planned_without_its_parameters(tmp_path):
    params = tiny_model.random_params(lambda key: init_lpips(key, LPIPS_SIZES))
    add_configured(tmp_path / "vgg", "lpips", LPIPS_SIZES, params, None)
    (tmp_path / "vgg" / "lpips.safetensors").unlink()
    run = RUNS["tiny-video-decoder"]
    task = VideoDecoderTaskConfig(lpips=str(tmp_path / "vgg"), perceptual_weight=1.0)
    config = dataclasses.replace(run, model=MICRO, task=task)
    planned, batch = abstract_task(config), batch_shapes(config)
    shapes = jax.eval_shape(planned.init, tiny_model.key())
    keys = jax.eval_shape(lambda: tiny_model.keys(tiny_model.key(), batch))
    _, metrics = jax.eval_shape(planned.loss, shapes, planned.frozen, batch, keys)
    assert metrics.keys() == {"psnr", "flicker", "l1", "lpips"}
    with pytest.raises(MissingFile, match="'lpips' in .*vgg"):
        load_network("lpips", tmp_path / "vgg")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adversarial_weight": -1.0}, "task.adversarial_weight is -1.0, expected 0 or more"),
        ({"temporal_adversarial_weight": -1.0}, "task.temporal_adversarial_weight is -1.0"),
        ({"perceptual_weight": 1.0}, "task.lpips is empty"),
        ({"perceptual_frames": 17}, "task.perceptual_frames is 17, expected 0 .all. to 16"),
    ],
)
def test_a_wrong_field_is_named(batch, fields, message):
    with pytest.raises(UserError, match=message):
        make_task(batch, **fields)
