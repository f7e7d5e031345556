"""Images made from the user's image, as a whole or within a mask."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import UserError, VideoGen

PROMPT = "a red circle"
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
ATOL = 1e-4  # float32 in a network, compiled with and without the held part


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


def clean(model: VideoGen, picture: np.ndarray = PICTURE) -> np.ndarray:
    """Returns the latents `[1, h, w, Z]` of a picture."""
    return np.asarray(model.cascade.encode_images(model.params, jnp.asarray(picture[None])))


@pytest.fixture
def left() -> np.ndarray:
    """A mask of the left half, and one pixel more."""
    mask = np.zeros((16, 16), bool)
    mask[:, :8] = True
    mask[4, 8] = True
    return mask


def test_fewer_steps_leave_more_of_the_image(model):
    steps: list[int] = []
    decoded = np.asarray(
        model.cascade.decode_pictures(model.params, clean(model)[:, None], as_float=True)
    )
    errors = []
    for strength in (0.34, 0.67, 1.0):
        made = model.images(
            PROMPT,
            image=PICTURE,
            strength=strength,
            as_float=True,
            callback=lambda name, step, latents: steps.append(step),
        )
        errors.append(np.abs(made - decoded).mean())
    assert steps == [2, 1, 2, 0, 1, 2]
    assert errors[0] < min(errors[1:])
    np.testing.assert_array_equal(made, model.images(PROMPT, as_float=True))


def test_a_strength_of_one_and_a_mask_of_everything_leave_nothing_of_the_image(model):
    everywhere = np.ones((16, 16), bool)
    made = model.images(PROMPT, image=PICTURE, mask=everywhere, as_float=True)
    np.testing.assert_allclose(made, model.images(PROMPT, as_float=True), atol=ATOL)


def test_outside_of_the_mask_the_image_stays_to_the_pixel(model, left):
    made = model.images(PROMPT, image=PICTURE, mask=left)
    np.testing.assert_array_equal(made[0][~left], PICTURE[~left])
    assert (made[0][left] != PICTURE[left]).mean() > 0.5
    floats = model.images(PROMPT, image=PICTURE, mask=left, as_float=True)
    np.testing.assert_array_equal(floats[0][~left], PICTURE[~left].astype(np.float32) / 255)


def test_the_held_latents_are_noised_like_the_others_and_end_clean(model, left):
    """DDIM's levels: after the last step no noise is left, before it some."""
    latents: list[np.ndarray] = []

    def callback(name: str, step: int, x: jax.Array) -> None:
        latents.append(np.asarray(x)[:, 0])

    model.images(PROMPT, image=PICTURE, mask=left, callback=callback)
    held = np.ones((8, 8), bool)
    held[:, :4] = held[2, 4] = False
    expected = clean(model)
    np.testing.assert_array_equal(latents[-1][:, held], expected[:, held])
    errors = [np.abs(x - expected)[:, held].mean() for x in latents]
    assert errors[0] > errors[1] > errors[2] == 0
    assert np.abs(latents[-1] - expected)[:, ~held].mean() > 0.01


def test_each_prompt_may_have_its_image(model, left):
    other = 255 - PICTURE
    both = model.images([PROMPT] * 2, image=[PICTURE, other], mask=left)
    np.testing.assert_array_equal(both[1][~left], other[~left])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.5}, "strength is given without an image, expected one to start from"),
        ({"mask": np.ones((4, 4), bool)}, "mask is given without an image"),
        ({"image": PICTURE, "strength": 0.0}, "strength is 0.0, expected a number above 0"),
        ({"image": PICTURE, "strength": 1.5}, "strength is 1.5, expected a number above 0"),
        ({"image": [PICTURE] * 2}, "2 images for 1 prompts"),
        ({"image": PICTURE[..., 0]}, "image: expected an image file or a numpy array uint8"),
        ({"image": PICTURE, "fit": "squeeze"}, "fit is 'squeeze'"),
    ],
)
def test_bad_input_costs_no_sampling(model, options: dict[str, Any], message):
    with (
        micro_model.counting_compilations() as compilations,
        pytest.raises(UserError, match=message),
    ):
        model.images(PROMPT, **options)
    assert not compilations
