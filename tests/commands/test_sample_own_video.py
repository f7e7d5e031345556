"""The command lines `python -m sample.interpolate` and `python -m sample.restore`."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.media.test_sound import packets, write_with_sound
from tests.support import micro_model
from tests.support.numbered_clips import read_numbers, write_numbered, write_sound
from videogen_jax import VideoGen
from videogen_jax.commands.sample import interpolate, restore
from videogen_jax.pipeline.own_video.stream import FrameStream
from videogen_jax.pipeline.requests.options import InterpolateOptions, RestoreOptions

COMMANDS = {"interpolate": interpolate, "restore": restore}


@pytest.fixture
def seen(monkeypatch) -> dict[str, Any]:
    """The arguments of the call; the model returns each frame twice, or once if it restores."""
    seen: dict[str, Any] = {}

    class Part:
        def __init__(self, count: int):
            self.count = count

        def stream(self, source: FrameStream, **options: Any) -> FrameStream:
            seen.update(options)
            count = self.count
            return FrameStream(
                lambda: (frame for frame in source for _ in range(count)),
                source.rate * count,
                source.num_frames * count,
                source.size,
                source.sound,
            )

    class Model:
        interpolate, restore = Part(2), Part(1)

    def load(name: str, *, dtype: str, offload: bool) -> Any:
        seen.update(model=name, dtype=dtype, offload=offload)
        return Model()

    monkeypatch.setattr(VideoGen, "load", load)
    for module in COMMANDS.values():
        monkeypatch.setattr(module, "read_model_config", micro_model.read_config)
        monkeypatch.setattr(module, "list_components", lambda directory: micro_model.params())
        monkeypatch.setattr(module, "enable_compilation_cache", lambda directory: None)
    return seen


def call(name: str, *arguments: str | Path) -> None:
    COMMANDS[name].call("videogen", [str(argument) for argument in arguments])


def test_a_video_is_interpolated_with_its_sound_and_a_sheet(seen, tmp_path, capfd):
    source = write_with_sound(tmp_path / "in.mp4", "aac")
    out = tmp_path / "new" / "out.mp4"
    call("interpolate", source, "--out", out, "--times", "1")
    assert [data for *_, data in packets(out)] == [data for *_, data in packets(source)]
    with av.open(out) as container:
        (stream,) = container.streams.video
        assert (stream.frames, stream.average_rate) == (50, 50)
    with Image.open(out.with_suffix(".png")) as sheet:
        assert sheet.width > 4 * 96
    sheet = out.with_suffix(".png")
    assert f"{out} and {sheet}: 50 frames of 16x16 at 50 fps" in capfd.readouterr().out


def test_a_video_is_restored_frame_by_frame(seen, tmp_path):
    source = write_numbered(tmp_path / "in.mp4", 12)
    call("restore", source, "--out", tmp_path / "frames")
    pictures = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())]
    assert read_numbers(pictures) == list(range(12))


def test_a_format_without_sound_says_so(seen, tmp_path, capfd):
    source = write_with_sound(tmp_path / "in.mp4", "aac")
    call("restore", source, "--out", tmp_path / "out.webp")
    expected = f"{tmp_path / 'out.webp'} is written without the sound: only .mp4 has any\n"
    assert expected in capfd.readouterr().out
    call("restore", write_numbered(tmp_path / "mute.mp4", 3), "--out", tmp_path / "mute.webp")
    assert "without the sound" not in capfd.readouterr().out


def test_every_argument_reaches_the_model(seen, tmp_path):
    source = write_numbered(tmp_path / "in.mp4", 3)
    call(
        *("interpolate", source, "--model", "small", "--out", tmp_path / "out.mp4"),
        *("--times", "3", "--seed", "5", "--steps", "4", "--sampler", "euler", "--size", "32"),
        *("--interpolation", "slerp", "--no-refine", "--decoder", "image"),
        *("--dtype", "bfloat16", "--offload"),
        *("--refine-strength", "0.5"),
    )
    options = InterpolateOptions(
        times=3,
        seed=5,
        steps=4,
        sampler="euler",
        size=32,
        interpolation="slerp",
        refine=False,
        refine_strength=0.5,
        decoder="image",
    )
    expected = {"model": "small", "dtype": "bfloat16", "offload": True, "progress": True}
    assert seen == expected | {"options": options}
    defaults = InterpolateOptions()
    names = [field.name for field in fields(InterpolateOptions)]
    same = [name for name in names if getattr(options, name) == getattr(defaults, name)]
    assert not same  # a new option must be added above
    call("restore", source, "--out", tmp_path / "out.mp4", "--size", "32", "--decoder", "image")
    assert seen["options"] == RestoreOptions(size=32, decoder="image")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("video", "flags", "message"),
    [
        ("none.mp4", [], "no file none.mp4"),
        ("sound.mp4", [], "sound.mp4 is not a video that can be read: the file has only: audio"),
        ("text.mp4", [], "text.mp4 is not a video that can be read: "),
        ("in.mp4", ["--out", "out.avi"], "cannot write out.avi: unknown suffix '.avi'"),
        ("in.mp4", ["--out", "in.mp4"], "this would overwrite the input in.mp4"),
        ("in.mp4", ["--size", "1"], "size is 1, expected an integer from 4"),
    ],
)
def test_bad_input_is_one_line_before_the_model_is_loaded(
    seen, tmp_path, monkeypatch, capfd, name, video, flags, message
):
    monkeypatch.chdir(tmp_path)
    write_numbered(Path("in.mp4"), 3)
    write_sound(Path("sound.mp4"))
    Path("text.mp4").write_text("not a video")
    before = Path("in.mp4").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        call(name, video, *flags)
    assert stopped.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert "model" not in seen and Path("in.mp4").read_bytes() == before


@pytest.mark.parametrize("flags", [["--time", "2.5"], ["--times", "x"], ["--decoder", "none"]])
def test_wrong_usage_is_exit_code_2(seen, tmp_path, capfd, flags):
    source = write_numbered(tmp_path / "in.mp4", 3)
    with pytest.raises(SystemExit) as stopped:
        call("interpolate", source, *flags)
    assert stopped.value.code == 2


def test_a_missing_component_is_named_before_the_model_is_loaded(seen, monkeypatch, tmp_path):
    source = write_numbered(tmp_path / "in.mp4", 3)
    for name, needed in [("interpolate", "flow"), ("restore", "video_decoder")]:
        left = [component for component in micro_model.params() if component != needed]
        monkeypatch.setattr(COMMANDS[name], "list_components", lambda directory, left=left: left)
        with pytest.raises(SystemExit):
            call(name, source)
    assert "model" not in seen


def test_an_error_while_frames_are_made_leaves_the_older_file(seen, tmp_path, capfd):
    """The size of the frames changes in the middle of the video."""
    parts = [write_numbered(tmp_path / f"{h}.ts", 30, h=h, g="6") for h in (48, 64)]
    source, out = tmp_path / "in.ts", tmp_path / "out.mp4"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    out.write_bytes(b"older")
    with pytest.raises(SystemExit) as stopped:
        call("restore", source, "--out", out)
    assert stopped.value.code == 1
    assert "in.ts is not a video that can be read: the size of its frames changes" in (
        capfd.readouterr().err
    )
    assert out.read_bytes() == b"older"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"48.ts", "64.ts", "in.ts", "out.mp4"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_option_once(capfd, name):
    with pytest.raises(SystemExit) as stopped:
        call(name, "--help")
    assert stopped.value.code == 0
    text = capfd.readouterr().out
    options = InterpolateOptions if name == "interpolate" else RestoreOptions
    for field in fields(options):
        flag = field.name.replace("_", "-")
        assert len(re.findall(rf"^  --{flag}[ ,]", text, re.MULTILINE)) == 1, field.name
    assert "None" not in text and "VIDEO" in text
