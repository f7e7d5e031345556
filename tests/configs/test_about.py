"""The line of each preset."""

from videogen_jax.configs import MODELS, RUNS
from videogen_jax.configs.about import HARDWARE, about_run


def test_the_line_of_a_stage_has_its_own_resolution():
    line = about_run(RUNS["shapes-stage-1"])
    assert line == "stage_1, 16 × 32² px, batch 16, 2000 steps, 2 CPU cores"


def test_an_image_has_no_frames():
    assert about_run(RUNS["tiny-image"]).startswith("image_unet, 32² px, batch 8, ")


def test_every_model_has_its_hardware():
    assert set(HARDWARE) == set(MODELS)
