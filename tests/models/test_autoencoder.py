"""The autoencoder; weights/stable_diffusion/test_parity.py compares it with Stable Diffusion's."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_model
from tests.support.references import import_reference
from videogen_jax.configs.paper import PAPER
from videogen_jax.configs.shapes import SHAPES
from videogen_jax.configs.tiny import TINY
from videogen_jax.models.autoencoder import (
    Autoencoder,
    LatentDistribution,
    scale_latents,
    unscale_latents,
)

torch = import_reference("torch")

BLOCK_TOLERANCE = 1e-5
CONFIG = TINY.autoencoder
RNG = np.random.default_rng(0)
IMAGES_NHWC = RNG.uniform(-1, 1, (2, 8, 12, 3)).astype(np.float32)

# Limits of the log-variance, as in diffusers.
LOWEST, HIGHEST = -30.0, 20.0


@pytest.fixture(scope="module")
def params():
    return tiny_model.random_params(
        lambda key: Autoencoder(CONFIG).init(key, IMAGES_NHWC)["params"]
    )


@jax.jit
def encode(params, x_NHWC) -> LatentDistribution:
    return Autoencoder(CONFIG).apply({"params": params}, x_NHWC, method="encode")


def test_latents_are_smaller_by_the_factor(params):
    latents = encode(params, IMAGES_NHWC)
    assert CONFIG.factor == 4
    assert latents.mean.shape == latents.logvar.shape == (2, 2, 3, CONFIG.latent_channels)
    decode = lambda z: Autoencoder(CONFIG).apply({"params": params}, z, method="decode")
    assert jax.eval_shape(decode, latents.mean).shape == IMAGES_NHWC.shape


def test_images_do_not_see_each_other(params):
    before, after = encode(params, IMAGES_NHWC), encode(params, IMAGES_NHWC * [[[[1]]], [[[-1]]]])
    np.testing.assert_array_equal(before.mean[0], after.mean[0])
    assert (before.mean[1] != after.mean[1]).any()


def test_log_variances_are_bounded(params):
    bias = params["quant_conv"]["bias"] + [0, 0, 0, 0, 100, -100, 0, 0]
    extreme = {**params, "quant_conv": {**params["quant_conv"], "bias": bias.astype(np.float32)}}
    logvar = encode(extreme, IMAGES_NHWC).logvar
    assert (logvar[..., 0] == HIGHEST).all() and (logvar[..., 1] == LOWEST).all()


def test_half_precision_has_float32_ends(params):
    half = Autoencoder(CONFIG, jnp.bfloat16)
    latents, pixels = jax.eval_shape(
        lambda x: (
            half.apply({"params": params}, x, method="encode"),
            half.apply({"params": params}, x),
        ),
        IMAGES_NHWC,
    )
    assert latents.mean.dtype == latents.logvar.dtype == pixels.dtype == jnp.float32


def test_samples_have_the_distributions_moments():
    mean, logvar = jnp.full((4, 32, 32, 4), 3.0), jnp.full((4, 32, 32, 4), math.log(0.25))
    draw = LatentDistribution(mean, logvar).sample(jax.random.key(0))
    # The standard error of the mean of 16,384 draws is 0.004.
    np.testing.assert_allclose(draw.mean(), 3.0, atol=0.02)
    np.testing.assert_allclose(draw.std(), 0.5, atol=0.02)


def test_kl_is_torchs():
    mean, logvar = RNG.standard_normal((2, 3, 4, 5, 6), np.float32)
    gaussian = torch.distributions.Normal(
        torch.from_numpy(mean), torch.from_numpy(np.exp(0.5 * logvar))
    )
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(gaussian, standard).sum((1, 2, 3))
    np.testing.assert_allclose(LatentDistribution(mean, logvar).kl(), expected, rtol=1e-5)


def test_scaling_is_undone():
    config = dataclasses.replace(CONFIG, scaling_factor=0.18215)
    latents = RNG.standard_normal((2, 3), np.float32)
    scaled = scale_latents(config, latents)
    np.testing.assert_allclose(scaled, 0.18215 * latents, rtol=1e-6)
    np.testing.assert_allclose(unscale_latents(config, scaled), latents, rtol=1e-6)


def test_mid_attention_can_be_left_out():
    names = {}
    for model in (TINY, SHAPES):
        init = Autoencoder(model.autoencoder).init
        tree = jax.eval_shape(init, tiny_model.key(), jnp.zeros((1, 8, 8, 3)))["params"]
        names[model.name] = "attentions_0" in tree["decoder"]["mid_block"]
    assert names == {"tiny": True, "shapes": False}


def test_the_papers_has_stable_diffusions_number_of_parameters():
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(Autoencoder(PAPER.autoencoder).init, tiny_model.key(), x)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == 83_653_863
