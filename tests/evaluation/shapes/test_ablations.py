"""The tables of the paper's ablations: the model's calls and the cells."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from videogen_jax.config import DenoiserConfig
from videogen_jax.evaluation.shapes import ablation_sheets
from videogen_jax.evaluation.shapes.ablations import (
    PerClip,
    Spread,
    decoder_table,
    interpolation_table,
    reference_row,
)
from videogen_jax.evaluation.shapes.held_out import held_out
from videogen_jax.evaluation.shapes.measures import sharpness
from videogen_jax.media.video import Video
from videogen_jax.pipeline.temporal_sr import Interpolation
from videogen_jax.pipeline.videogen import VideoGen

DATA = held_out(12, resolution=64)


class Copyist:
    """A model that returns the true clip of each caption, or the clip of another caption."""

    def __init__(self, shift: int = 0):
        clips = DATA.clips[-shift:] + DATA.clips[:-shift] if shift else DATA.clips
        self._clips = dict(zip(DATA.captions, clips, strict=True))
        self.calls: list[dict[str, Any]] = []

    def __call__(self, prompts: Sequence[str], **options: Any) -> list[Video]:
        self.calls.append(options)
        return [Video(self._clips[prompt], 8.0, prompt) for prompt in prompts]


def test_a_row_of_true_clips_is_perfect():
    model = Copyist()
    cells = reference_row(cast(VideoGen, model), DATA, (1, 20), use_reference=False)
    assert cells == ["100.0 (100.0–100.0)"] * 5 + ["0.000 (0.000–0.000)"]
    assert [options["seed"] for options in model.calls] == [1, 9, 20, 28]  # batches of eight
    assert not any(options["options"].use_reference for options in model.calls)


def test_a_row_of_other_clips_is_not():
    """The set of clips is the same, so only the shares decrease, not the distance."""
    *shares, distance = reference_row(cast(VideoGen, Copyist(1)), DATA, (1,), use_reference=True)
    assert max(float(cell.split()[0]) for cell in shares[:3]) < 60
    assert distance == "0.000 (0.000–0.000)"


def test_a_spread_shows_mean_lowest_and_highest():
    assert Spread((0.9, 0.93, 0.96)).text(100) == "93.0 (90.0–96.0)"


def test_numbers_of_clips_are_compared_clip_by_clip():
    one, other = PerClip((11.0, 21.0, 34.0, np.nan)), PerClip((10.0, 20.0, 32.0, 40.0))
    assert other.text() == "25.50"
    # Gains of 1, 1 and 2: mean 4/3, standard deviation sqrt(1/3), of three clips.
    assert one.text(other) == "22.00 (+1.33 ± 0.33)"


def test_sharpness_is_of_edges_not_of_noise():
    clip = DATA.clips[0]
    assert sharpness(clip, clip) == 1.0
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in clip])
    assert sharpness(blurred, clip) < 0.7
    noisy = clip + np.random.default_rng(0).normal(0, 10, clip.shape)
    assert sharpness(noisy, clip) == pytest.approx(1, abs=0.03)
    assert np.isnan(sharpness(clip, np.zeros_like(clip)))


def _numbers(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def _plain(denoiser: DenoiserConfig) -> DenoiserConfig:
    """Returns a denoiser without attention on its level, to be compiled faster."""
    unet = dataclasses.replace(denoiser.unet, attention_levels=(False,))
    return dataclasses.replace(denoiser, unet=unet, resolution=16)


@pytest.fixture(scope="module")
def model() -> VideoGen:
    """A whole model with one stage."""
    config = dataclasses.replace(
        micro_model.MICRO,
        image=_plain(micro_model.MICRO.image),
        stages=(_plain(micro_model.MICRO.stages[0]),),
        refiner=_plain(micro_model.MICRO.refiner),
    )
    return VideoGen(config, micro_model.params(config), micro_model.TOKENIZER)


@pytest.mark.slow  # 17 seconds; the test below draws sheets of the same rows
def test_the_tables_of_figures_6_and_7_compare_row_with_row(model):
    frames = _numbers(interpolation_table(model, 2, 0, {"flow": model, "slerp": model}))
    assert list(frames) == ["slerp", "flow", "slerp, refined", "flow, refined", "true frames"]
    decoders = _numbers(decoder_table(model, 2, 0))
    names = [
        f"{clips}, {by}" for clips in ("clean", "degraded", "sampled") for by in ("image", "video")
    ]
    assert list(decoders) == names
    assert decoders["sampled, image"][:3] == ["–"] * 3
    for rows, base, better in (
        (frames, "slerp", "flow"),
        (frames, "slerp, refined", "flow, refined"),
        (decoders, "clean, image", "clean, video"),
    ):
        first, compared = rows[base][0], rows[better][0]
        gain = float(compared.split("(")[1].split()[0])
        assert float(compared.split()[0]) - float(first) == pytest.approx(gain, abs=0.011)
        assert gain != 0


def test_the_sheets_have_a_row_for_every_way(model, tmp_path, monkeypatch):
    """Uses the sizes of the test above."""
    monkeypatch.setattr(ablation_sheets, "_PROMPTS", 2)
    monkeypatch.setattr(ablation_sheets, "_CLIPS", 2)
    rows: dict[str, list[Video]] = {}
    save = ablation_sheets.save_sheet

    def remember(path: Path, videos: list[Video]) -> None:
        rows[path.stem] = videos
        save(path, videos)

    monkeypatch.setattr(ablation_sheets, "save_sheet", remember)
    refiners: dict[Interpolation, VideoGen] = {"slerp": model, "flow": model}
    ablation_sheets.save_ablation_sheets(model, model, refiners, tmp_path, 0)
    ways = {name: [video.prompt.split(":")[0] for video in videos] for name, videos in rows.items()}
    assert ways == {
        "with_and_without": 2 * ["with reference", "without"],
        "missing_frames": 2 * ["true", "slerp", "flow"],
        "decoders": 2 * ["true", "degraded", "image decoder", "video decoder"],
    }
    for name in rows:
        with Image.open(tmp_path / f"{name}.png") as sheet:
            assert sheet.width > 10 * len(rows[name][0].frames)
    with_reference, without = rows["with_and_without"][:2]
    assert with_reference.reference is not None and without.reference is None
    true, _, flow = (video.frames for video in rows["missing_frames"][:3])
    assert true.shape == flow.shape and np.any(true != flow)
