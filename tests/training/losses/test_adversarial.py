"""The adversarial terms of a decoder's loss, and the weight that balances them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogen_jax import trees
from videogen_jax.errors import UserError
from videogen_jax.models.discriminator import DiscriminatorConfig
from videogen_jax.training.losses.adversarial import (
    Adversary,
    adaptive_weight,
    fooling_loss,
    judging_loss,
    with_pull_back,
)


def test_hinge_losses_are_their_formulas():
    real, decoded = np.random.default_rng(0).normal(0, 2, (2, 3, 4)).astype(np.float32)
    expected = (np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + decoded).mean()) / 2
    np.testing.assert_allclose(judging_loss(real, decoded), expected, rtol=1e-6)
    np.testing.assert_allclose(fooling_loss(decoded), -decoded.mean(), rtol=1e-6)
    assert judging_loss(jnp.zeros(2), jnp.zeros(2)) == 1 and judging_loss(2.0, -2.0) == 0


def test_the_adaptive_weight_is_a_ratio_of_norms_with_a_limit():
    reconstruction, fooling = np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([0.0, 2.0])
    np.testing.assert_allclose(adaptive_weight(reconstruction, fooling), 5 / (2 + 1e-4), rtol=1e-6)
    assert adaptive_weight(reconstruction, 0 * fooling) == 1e4
    assert adaptive_weight(0 * reconstruction, fooling) == 0
    assert jax.grad(lambda x: adaptive_weight(x, fooling))(reconstruction).max() == 0


def test_a_gradient_in_pixels_is_pulled_back_to_the_last_layer_by_one_decoding():
    rng = np.random.default_rng(1)
    params = {"body": {"kernel": rng.normal(size=(4, 5))}, "out": {"kernel": rng.normal(size=5)}}
    x, target = rng.normal(size=(3, 4)), rng.normal(size=3)
    decodings = []

    def decode(params):
        decodings.append(params)
        return jnp.tanh(x @ params["body"]["kernel"]) @ params["out"]["kernel"]

    def loss(decoded):
        return jnp.square(decoded - target).sum()

    def with_norm(params):
        decoded, pull_back = with_pull_back(decode, params, "out/kernel")
        gradient = pull_back(jax.grad(loss)(jax.lax.stop_gradient(decoded)))
        return loss(decoded), gradient

    (_, found), gradient = jax.jit(jax.value_and_grad(with_norm, has_aux=True))(params)
    assert len(decodings) == 1
    expected = jax.grad(lambda params: loss(decode(params)))(params)
    np.testing.assert_allclose(found, expected["out"]["kernel"], rtol=1e-5)
    for path, leaf in trees.flatten(expected).items():
        np.testing.assert_allclose(trees.flatten(gradient)[path], leaf, rtol=1e-5)


@pytest.mark.parametrize("prefix", ["", "temporal_"])
def test_a_negative_weight_is_named(prefix):
    with pytest.raises(UserError, match=f"task.{prefix}adversarial_weight is -1.0, expected 0 or"):
        Adversary("discriminator", prefix, -1.0, DiscriminatorConfig(), "float32")
