import base64
import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from videogen_jax.media.video import Video

# Mean absolute error of smooth clips in the lossy formats, in levels of 255.
LOSSY = 4.0


def moving_ball(num_frames=8, height=32, width=48) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[:] = np.stack([x * 2 + 40, y * 2 + 60, x + y + 20], axis=-1)
    for index, frame in enumerate(frames):
        frame[(y - height // 2) ** 2 + (x - 10 - 3 * index) ** 2 < 64] = (220, 30, 40)
    return frames


def read_video(path: Path) -> tuple[np.ndarray, float]:
    with av.open(path) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames), float(rate)


def read_animation(path: Path) -> tuple[np.ndarray, int]:
    """Returns the frames and the total duration in ms."""
    frames, duration = [], 0
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        for frame in ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGB")))
            duration += frame.info["duration"]
    return np.stack(frames), duration


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_mp4_plays_everywhere_at_the_right_speed(tmp_path: Path):
    video = Video(moving_ball(), fps=8.5)
    assert video.save(tmp_path / "new" / "out.MP4") == tmp_path / "new" / "out.MP4"
    with av.open(tmp_path / "new" / "out.MP4") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert stream.frames == 8
        assert container.duration == pytest.approx(8 / 8.5 * 1e6, rel=1e-3)  # microseconds
    frames, fps = read_video(tmp_path / "new" / "out.MP4")
    assert fps == 8.5
    assert frames.shape == video.frames.shape
    for written, frame in zip(frames, video.frames, strict=True):
        assert error(written, frame) < LOSSY


def test_mp4_index_comes_first(tmp_path):
    content = Video(moving_ball(), 8.0).save(tmp_path / "out.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 240, 10)])
def test_mp4_keeps_colours(tmp_path: Path, colour):
    frames = np.broadcast_to(np.uint8(colour), (2, 16, 16, 3)).copy()
    written, _ = read_video(Video(frames, 8.0).save(tmp_path / "out.mp4"))
    assert np.abs(written.astype(int) - frames).max() <= 3
    with av.open(tmp_path / "out.mp4") as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


def test_mp4_pads_odd_sides(tmp_path):
    frames = moving_ball(3, 31, 45)
    written, _ = read_video(Video(frames, 8.0).save(tmp_path / "out.mp4"))
    assert written.shape == (3, 32, 46, 3)
    assert error(written[:, :31, :45], frames) < LOSSY
    assert error(written[:, 31, :45], frames[:, 30]) < 2 * LOSSY


def test_mp4_of_one_frame(tmp_path):
    written, _ = read_video(Video(moving_ball(1), 8.0).save(tmp_path / "out.mp4"))
    assert len(written) == 1


def test_gif_loops_with_true_timing(tmp_path):
    video = Video(moving_ball(), fps=7.0)
    frames, duration = read_animation(video.save(tmp_path / "out.gif"))
    assert duration == 1140  # 8 / 7 s in multiples of 10 ms
    assert frames.shape == video.frames.shape
    for written, frame in zip(frames, video.frames, strict=True):
        assert error(written, frame) < LOSSY


def test_gif_of_few_colours_is_exact_and_still_areas_do_not_flicker(tmp_path):
    frames = moving_ball()
    frames[(frames != (220, 30, 40)).any(-1)] = (20, 30, 120)
    written, _ = read_animation(Video(frames, 8.0).save(tmp_path / "out.gif"))
    np.testing.assert_array_equal(written, frames)
    written, _ = read_animation(Video(moving_ball(), 8.0).save(tmp_path / "out.gif"))
    np.testing.assert_array_equal(written[:, 0], written[:1, 0].repeat(8, axis=0))


def test_webp(tmp_path):
    video = Video(moving_ball(), fps=7.0)
    frames, duration = read_animation(video.save(tmp_path / "out.webp"))
    assert duration == 1143
    assert 0 < error(frames, video.frames) < LOSSY
    frames, _ = read_animation(video.save(tmp_path / "out.webp", lossless=True))
    np.testing.assert_array_equal(frames, video.frames)


def test_png_folder_is_exact_and_replaces_only_frames(tmp_path):
    folder = tmp_path / "frames"
    for num_frames in (8, 3):
        video = Video(moving_ball(num_frames), 8.0)
        video.save(folder)
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == [f"frame_{i:04d}.png" for i in range(num_frames)]
        read = np.stack([np.asarray(Image.open(file)) for file in files])
        np.testing.assert_array_equal(read, video.frames)
    (folder / "notes.txt").touch()
    with pytest.raises(ValueError, match="cannot write .*frames: it has other files.*notes.txt"):
        Video(moving_ball(), 8.0).save(folder)
    assert len(list(folder.iterdir())) == 4


def test_save_replaces_and_leaves_nothing_beside(tmp_path):
    for num_frames in (8, 3):
        Video(moving_ball(num_frames), 8.0).save(tmp_path / "out.webp")
        assert len(read_animation(tmp_path / "out.webp")[0]) == num_frames
    assert [path.name for path in tmp_path.iterdir()] == ["out.webp"]


@pytest.mark.parametrize(
    ("name", "fps", "options", "message"),
    [
        ("out.avi", 8.0, {}, r"unknown suffix '.avi'; known are .mp4, .gif, .webp, and none"),
        ("out.mp4", 8.0, {"lossless": True}, ".mp4 has no lossless form"),
        ("out.gif", 64.0, {}, ".gif plays at most 50 frames per second, this video has 64"),
        ("out.webp", 100.0, {}, ".webp plays at most 90 frames per second"),
        ("file/out.mp4", 8.0, {}, "cannot write .*file/out.mp4: "),
        ("folder.mp4", 8.0, {}, "cannot write .*folder.mp4: "),
        ("file", 8.0, {}, "cannot write .*file: "),
    ],
)
def test_save_refuses_with_one_message(tmp_path, name, fps, options, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match=message):
        Video(moving_ball(2), fps).save(tmp_path / name, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"frames": moving_ball().astype(np.float32)},
            r"frames: .*uint8.*float32 \[8, 32, 48, 3\]",
        ),
        ({"frames": moving_ball()[0]}, r"frames: .*\[f h w 3\], got uint8 \[32, 48, 3\]"),
        ({"frames": moving_ball()[..., :1]}, "frames: "),
        ({"frames": moving_ball()[:0]}, "frames: "),
        ({"frames": moving_ball().tolist()}, "frames: .*list"),
        ({"reference": moving_ball()}, r"reference: .*\[h w 3\]"),
        ({"fps": 0.0}, "fps is 0.0, expected a number from 0.01 to 1000"),
        ({"fps": -8.0}, "fps is -8.0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": float("inf")}, "fps is inf"),
    ],
)
def test_bad_videos_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Video(**{"frames": moving_ball(), "fps": 8.0} | change)


def test_contact_sheet_is_written_as_png(tmp_path):
    video = Video(moving_ball(3), 8.0, "a ball", reference=moving_ball(1, 64, 96)[0])
    sheet = video.contact_sheet(tmp_path / "new" / "sheet.png", columns=2, caption=video.prompt)
    with Image.open(tmp_path / "new" / "sheet.png") as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(sheet))
    assert sheet.size > Video(video.frames, 8.0).contact_sheet(columns=2).size
    with pytest.raises(ValueError, match="sheet.jpg: a contact sheet is a .png file"):
        video.contact_sheet(tmp_path / "sheet.jpg")


def test_repr_is_short():
    video = Video(moving_ball(), 8.0, "a ball", seed=3)
    assert repr(video) == "Video('a ball', 8 frames of 48x32 at 8 fps, 1.0 s, seed 3)"
    assert video.duration == 1.0


def test_a_notebook_plays_the_video_and_shows_its_prompt_as_text():
    video = Video(np.full((3, 9, 8, 3), 200, np.uint8), fps=8.0, prompt="<b>a ring</b>")
    page = video._repr_html_()
    assert "<figcaption>&lt;b&gt;a ring&lt;/b&gt;</figcaption>" in page
    data = base64.b64decode(page.split("data:video/mp4;base64,")[1].split('"')[0])
    with av.open(io.BytesIO(data)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 3 and abs(int(frames[0][0, 0, 0]) - 200) < 4
