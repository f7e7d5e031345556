"""The command line `python -m sample.long`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import micro_model
from videogen_jax import Video, VideoGen, VideoOptions
from videogen_jax.commands.sample import long as sample_long
from videogen_jax.pipeline.own_video.stream import FrameStream


@pytest.fixture
def seen(monkeypatch, tmp_path) -> dict[str, Any]:
    """The arguments of the model's call; the model returns a black video."""
    seen: dict[str, Any] = {}

    class Model:
        def long(self, prompts: tuple[str, ...], **options: Any) -> FrameStream:
            seen.update(options, prompts=prompts)
            return FrameStream.of(Video(np.zeros((5, 16, 16, 3), np.uint8), 8.0))

    def load(name: str, *, dtype: str, offload: bool) -> Any:
        seen.update(dtype=dtype, offload=offload)
        return Model()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(VideoGen, "load", load)
    monkeypatch.setattr(sample_long, "read_model_config", micro_model.read_config)
    monkeypatch.setattr(sample_long, "list_components", lambda directory: micro_model.params())
    monkeypatch.setattr(sample_long, "enable_compilation_cache", lambda directory: None)
    return seen


def call(*arguments: str | Path) -> None:
    sample_long.call("videogen", [str(argument) for argument in arguments])


def test_prompts_become_one_video_and_a_sheet(seen, tmp_path, capfd):
    call("a ring", "a star", "--clips", "6", "--seed", "4", "--out", "long.mp4", "--offload")
    assert seen == {
        "prompts": ("a ring", "a star"),
        "clips": 6,
        "reference": None,
        "options": VideoOptions(seed=4),
        "progress": True,
        "dtype": "float32",
        "offload": True,
    }
    assert (tmp_path / "long.mp4").read_bytes()[4:8] == b"ftyp"
    with Image.open(tmp_path / "long.png") as sheet:
        assert sheet.width > 4 * 96
    assert "long.mp4 and long.png: 5 frames of 16x16 at 8 fps" in capfd.readouterr().out


def test_a_storyboard_has_a_prompt_for_each_clip(seen, tmp_path):
    (tmp_path / "story.txt").write_text("a ring\na star\n")
    call("--storyboard", "story.txt", "--out", "long.webp")
    assert (seen["prompts"], seen["clips"]) == (("a ring", "a star"), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a ring", "--storyboard", "story.txt"], "there are prompts and --storyboard"),
        (["--storyboard", "story.txt"], "no file of prompts story.txt"),
        ([], "the list of prompts is empty"),
        (["a ring", "--out", "out.avi"], "cannot write out.avi: unknown suffix"),
        (["a ring", "--steps", "0"], "steps is 0"),
    ],
)
def test_bad_input_is_one_line(seen, capfd, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    assert stopped.value.code == 1 and "prompts" not in seen
    assert f"error: {message}" in capfd.readouterr().err
