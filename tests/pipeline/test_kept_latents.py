"""Calls that go on from the results of an earlier one, and callbacks."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.support import micro_model
from videogen_jax import StopSampling, UserError, Video, VideoGen

PROMPT = "a red circle"


@pytest.fixture(scope="module")
def model() -> VideoGen:
    return micro_model.model()


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def video(model, kept) -> Video:
    return model(PROMPT, keep_latents=kept)


def test_every_part_is_kept_and_the_video_does_not_change(model, video, kept):
    names = {path.name for path in kept.iterdir()}
    assert names == {"reference.npy", "stage_1.npy", "stage_2.npy", "temporal_sr.npy"}
    np.testing.assert_array_equal(video.frames, model(PROMPT).frames)
    np.testing.assert_array_equal(np.load(kept / "reference.npy")[0], video.reference)
    assert np.load(kept / "temporal_sr.npy").shape == (1, 7, 8, 8, 4)


def test_going_on_with_the_same_options_gives_the_same_video(model, video, kept):
    for part in ("reference", "stage_1", "stage_2", "temporal_sr", None):
        again = model(PROMPT, start_from=kept, start_after=part)
        np.testing.assert_array_equal(again.frames, video.frames, err_msg=str(part))
        np.testing.assert_array_equal(again.reference, video.reference)


def test_earlier_parts_do_not_run_and_need_no_parameters(model, video, kept):
    part = VideoGen(
        model.config, {"autoencoder": model.params["autoencoder"]}, micro_model.TOKENIZER
    )
    part.decoder = model.decoder
    other = part("another prompt", start_from=kept, decoder="image")
    assert other.frames.shape == video.frames.shape
    assert (other.frames != video.frames).mean() > 0.1  # of another decoder
    with pytest.raises(FileNotFoundError, match="no text_encoder.safetensors"):
        part(PROMPT, start_from=kept, start_after="stage_2")


def test_later_parts_may_have_other_options(model, video, kept):
    steps: list[str] = []

    def callback(name: str, step: int, latents: jax.Array) -> None:
        steps.append(name)

    options: Any = {"temporal_sr": 0, "start_from": kept, "start_after": "stage_1"}
    same = model(PROMPT, **options)
    other = model(PROMPT, guidance=1.0, steps=2, callback=callback, **options)
    assert steps == ["stage_2"] * 2
    assert (other.frames != same.frames).mean() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_from": None, "start_after": "stage_1"}, "expected start_from with it"),
        ({"start_after": "stage_3"}, "start_after is 'stage_3', expected one of reference, st"),
        ({"num_frames": 3}, r"this call needs float32 \[1, 5, 8, 8, 4\]: the same prompts"),
        ({"height": 32, "start_after": "reference"}, r"this call needs uint8 \[1, 32, 16, 3\]"),
        ({"prompt": [PROMPT] * 2}, r"float32 \[2, 7, 8, 8, 4\]"),
    ],
)
def test_results_that_do_not_fit_are_refused(model, video, kept, change, message):
    with pytest.raises(UserError, match=message):
        model(**{"prompt": PROMPT, "start_from": kept, **change})


def test_missing_and_damaged_files_are_named(model, video, tmp_path):
    with pytest.raises(FileNotFoundError, match="has none of reference.npy, stage_1.npy"):
        model(PROMPT, start_from=tmp_path)
    with pytest.raises(FileNotFoundError, match="stage_1.npy, which a call with keep_latents"):
        model(PROMPT, start_from=tmp_path, start_after="stage_1")
    (tmp_path / "stage_1.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match=r"stage_1.npy is damaged"):
        model(PROMPT, start_from=tmp_path)


def test_a_callback_sees_every_step_and_changes_nothing(model, video):
    seen: list[tuple[str, int, tuple[int, ...]]] = []
    watched = model(PROMPT, callback=lambda name, step, x: seen.append((name, step, x.shape)))
    np.testing.assert_array_equal(watched.frames, video.frames)
    shapes = {
        "image": (1, 1, 8, 8, 4),
        "stage_1": (1, 4, 4, 4, 4),
        "stage_2": (1, 4, 8, 8, 4),
        "refiner": (1, 3, 8, 8, 4),
    }
    assert seen == [(name, step, shape) for name, shape in shapes.items() for step in range(3)]


def test_a_callback_may_end_a_call_and_another_go_on(model, video, tmp_path):
    def stop(name: str, step: int, latents: jax.Array) -> None:
        if (name, step) == ("stage_2", 1):
            raise StopSampling

    with pytest.raises(StopSampling):
        model(PROMPT, callback=stop, keep_latents=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"reference.npy", "stage_1.npy"}
    np.testing.assert_array_equal(model(PROMPT, start_from=tmp_path).frames, video.frames)
    with pytest.raises(StopSampling):
        model.images(PROMPT, callback=lambda name, step, x: stop("stage_2", step, x))
