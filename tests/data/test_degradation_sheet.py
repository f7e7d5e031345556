"""The sheet of clips before and after degradation."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videogen_jax.data.degradation_sheet import describe, save_degradation_sheet
from videogen_jax.data.degrade import DegradeConfig, draw_recipe
from videogen_jax.data.shapes.sources import ShapesClips

ROOT = Path(__file__).parents[2]
NOISE_ONLY = DegradeConfig(
    blur_scale=0.01,
    resize_probability=0.0,
    jpeg_probability=0.0,
    noise_level=(25.0, 25.0),
    noise_probabilities=(1.0, 0.0, 0.0),
    frozen_noise_probability=1.0,
    codec_probabilities=(0.0, 0.0, 1.0),
)


def test_a_sheet_has_two_rows_for_each_clip(tmp_path: Path):
    source = ShapesClips("train", 3, resolution=32, num_frames=8)
    path = tmp_path / "sheet.png"
    lines = save_degradation_sheet(source, DegradeConfig(blur_scale=0.1), path, clips=2, seed=1)
    assert [line[:2] for line in lines] == ["0:", "1:"]
    one = save_degradation_sheet(source, DegradeConfig(blur_scale=0.1), tmp_path / "one.png", 1, 1)
    assert one == lines[:1]
    both, first = (np.asarray(Image.open(tmp_path / name)) for name in ("sheet.png", "one.png"))
    assert both.shape[0] > 1.5 * first.shape[0]
    # The rows of the first clip do not depend on the other clips.
    np.testing.assert_array_equal(both[: first.shape[0], : first.shape[1]], first)


def test_the_second_row_is_degraded_and_the_first_is_not(tmp_path: Path):
    source = ShapesClips("train", 1, resolution=32, num_frames=8)
    save_degradation_sheet(source, NOISE_ONLY, tmp_path / "noisy.png", clips=1)
    clean = dataclasses.replace(NOISE_ONLY, noise_level=(0.0, 0.0))
    save_degradation_sheet(source, clean, tmp_path / "clean.png", clips=1)
    noisy, clean = (
        np.asarray(Image.open(tmp_path / name), np.float32) for name in ("noisy.png", "clean.png")
    )
    assert noisy.shape == clean.shape
    changed_H = np.abs(noisy - clean).max(axis=(1, 2)) > 0
    assert not changed_H[: len(changed_H) // 3].any()
    assert changed_H[-90:-10].all()  # frames are 96 pixels high there, below their caption


def test_a_recipe_is_described_in_its_order():
    config = dataclasses.replace(NOISE_ONLY, jpeg_probability=1.0)
    recipe = draw_recipe(config, np.random.default_rng(0))
    description = describe(recipe)
    words = {"blur_1": "blur 3x3", "blur_2": "blur 3x3"}
    words["noise"] = "noise of 25.0 levels and the same in all frames"
    words["jpeg"] = f"jpeg with quality {recipe.jpeg_quality}"
    assert description.split(", ") == [words[step] for step in recipe.steps]
    h264 = dataclasses.replace(recipe, codec="h264", quality=23)
    assert describe(h264).endswith(", h264 with rate factor 23")


def test_no_clips_is_an_error(tmp_path: Path):
    source = ShapesClips("train", 1, resolution=32)
    with pytest.raises(ValueError, match="clips is 0, expected at least 1"):
        save_degradation_sheet(source, DegradeConfig(), tmp_path / "sheet.png", clips=0)
    assert not list(tmp_path.iterdir())


def test_the_script_names_a_folder_that_is_no_dataset(tmp_path: Path):
    command = [sys.executable, "-m", "train.degradations", str(tmp_path / "none"), "out.png"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and str(tmp_path / "none") in done.stderr
