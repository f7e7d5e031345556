"""The README's pictures: their files, and that only the reference changes as in Fig. 3."""

from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from videogen_jax.errors import UserError
from videogen_jax.evaluation.shapes.gallery import PROMPTS, enlarged, make_gallery
from videogen_jax.media.video import Video
from videogen_jax.pipeline.videogen import VideoGen

PIXELS = 8


class StandIn:
    """A model that draws plain frames, with the seed as grey level, and records its calls."""

    def __init__(self):
        self.calls: list[tuple[Any, dict]] = []

    def images(self, prompt: str, seed: int) -> np.ndarray:
        return np.full((1, PIXELS, PIXELS, 3), 100 + seed, np.uint8)

    def __call__(self, prompts: str | list[str], **options: Any) -> Video | list[Video]:
        self.calls.append((prompts, options))
        frames = np.full((15 * 2 ** options.get("temporal_sr", 1) + 1, PIXELS, PIXELS, 3), 7)
        video = Video(frames.astype(np.uint8), 8.0, "a prompt", seed=options["seed"])
        return video if isinstance(prompts, str) else [video] * len(prompts)


def test_all_files_are_written(tmp_path):
    Image.new("RGB", (PIXELS, PIXELS)).save(tmp_path / "own.png")
    model = StandIn()
    make_gallery(cast(VideoGen, model), tmp_path / "own.png", "a star", tmp_path / "out", seed=5)
    clips = [f"prompt_{number}.webp" for number in range(len(PROMPTS))]
    clips += ["own_image.webp", "frames_16.webp", "frames_61.webp"]
    sheets = ["own_image.png", "prompts.png", "references.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(clips + sheets)
    with Image.open(tmp_path / "out" / "frames_61.webp") as clip:
        assert clip.size == (3 * PIXELS, 3 * PIXELS)
    references = [options["reference"] for _, options in model.calls if "reference" in options]
    assert [picture.mean() for picture in references[:3]] == [100, 101, 102]
    assert {options["seed"] for _, options in model.calls} == {5}
    assert references[3] == tmp_path / "own.png"


def test_an_image_in_the_output_folder_is_refused(tmp_path):
    Image.new("RGB", (PIXELS, PIXELS)).save(tmp_path / "own_image.png")
    model = StandIn()
    with pytest.raises(UserError, match="own_image.png is in the output folder"):
        make_gallery(cast(VideoGen, model), tmp_path / "own_image.png", "a", tmp_path, seed=5)
    assert model.calls == []


def test_enlarging_repeats_pixels():
    frames = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    large = enlarged(Video(frames, 8.0)).frames
    assert large.shape == (2, 12, 12, 3)
    np.testing.assert_array_equal(large[:, 2::3, 1::3], frames)
