"""Videos whose first frame is the user's image, to the pixel."""

import jax
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import UserError
from videogen_jax.pipeline.exact import with_first_frame

PROMPT = "a red circle"
PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def test_the_first_frame_is_the_image_and_its_latents_stay():
    model = micro_model.model()
    latents: list[np.ndarray] = []

    def callback(name: str, step: int, x: jax.Array) -> None:
        latents.append(np.asarray(x)[0])

    options = {"stages": 1, "decoder": "image", "reference": PICTURE}
    exact = model(PROMPT, exact_reference=True, callback=callback, **options)
    assert exact.reference is not None
    free = model(PROMPT, **options)
    expected = with_first_frame(free.frames[None], exact.reference[None], 1)[0, 0]
    np.testing.assert_array_equal(exact.frames[0], expected)
    assert (free.frames[0] != expected).mean() > 0.5
    encode = jax.jit(model.cascade._encoded, static_argnums=2)
    own = np.asarray(encode(model.params["autoencoder"], exact.reference[None], (8, 8)))[0]
    np.testing.assert_allclose(latents[-1][0], own, rtol=0, atol=1e-5)
    errors = [np.abs(x[0] - latents[-1][0]).mean() for x in latents]
    assert errors[0] > errors[1] > errors[2] == 0  # the noise of its latents decreases


def test_the_difference_is_blended_out():
    frames = np.full((1, 6, 4, 4, 3), 100, np.uint8)
    image = np.full((1, 8, 8, 3), 140, np.uint8)
    result = with_first_frame(frames, image, 4)
    assert result[0, :, 0, 0, 0].tolist() == [140, 130, 120, 110, 100, 100]
    assert with_first_frame(frames, image, 1)[0, :, 0, 0, 0].tolist() == [140] + [100] * 5
    assert with_first_frame(frames, image, 8)[0, -1, 0, 0, 0] == 115
    assert frames.max() == 100


def test_it_needs_a_reference():
    with pytest.raises(UserError, match="exact_reference is True, but use_reference is False"):
        micro_model.model()(PROMPT, exact_reference=True, use_reference=False)
