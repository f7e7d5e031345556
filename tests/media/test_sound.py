"""The sound of a video, copied or encoded beside other pictures."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from videogen_jax.data.clips.files.video_file import VideoFile
from videogen_jax.media.writers import write_video

RATE = 44100
FPS = 25
TONE = 441.0  # Hz


def write_with_sound(
    path: Path, codec: str, seconds: int = 1, first_frame: float = 0.0, tracks: int = 1
) -> Path:
    """Writes grey frames and a tone; `first_frame` is the time of the first of the frames."""
    with av.open(path, "w") as file:
        video = file.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sounds = [file.add_stream(codec, rate=RATE, layout="mono") for _ in range(tracks)]
        for index in range(seconds * FPS):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 99, np.uint8), format="rgb24")
            frame.pts, frame.time_base = (
                round(1000 * (index / FPS + first_frame)),
                Fraction(1, 1000),
            )
            file.mux(video.encode(frame))
        file.mux(video.encode())
        wave = np.sin(2 * np.pi * TONE * np.arange(seconds * RATE) / RATE)
        for number, sound in enumerate(sounds):
            frame = av.AudioFrame.from_ndarray(
                (wave * 20000 / (1 + number)).astype(np.int16)[None], format="s16", layout="mono"
            )
            frame.rate, frame.pts = RATE, 0
            resampler = av.AudioResampler(sound.format, "mono", RATE, frame_size=sound.frame_size)
            for part in [*resampler.resample(frame), *resampler.resample(None), None]:
                file.mux(sound.encode(part))
    return path


def write_beside(source: Path, out: Path, frames: int, fps: float = 2.0 * FPS) -> Path:
    """Writes black frames beside the sound of a file, as the result of a stream is written."""
    file = VideoFile(source)
    with file.sound() as sound:
        black = (np.zeros((16, 16, 3), np.uint8) for _ in range(frames))
        return write_video(out, black, fps, sound=sound)


def packets(path: Path) -> list[tuple[int, float, bytes]]:
    """Stream (from 0 for the first sound), time in seconds, and bytes of the sound's packets."""
    with av.open(path) as file:
        numbers = {stream.index: i for i, stream in enumerate(file.streams.audio)}
        return sorted(
            (numbers[packet.stream.index], float(packet.pts * packet.time_base), bytes(packet))
            for packet in file.demux(*file.streams.audio)
            if packet.size
        )


@pytest.mark.parametrize(
    ("name", "codec", "first_frame"),
    [
        ("in.mp4", "aac", 0.0),
        ("in.mkv", "aac", 0.5),
        ("in.mkv", "flac", 0.0),
        ("in.mkv", "libmp3lame", 0.0),
    ],
)
def test_packets_are_copied_unchanged_at_the_same_time_of_the_pictures(
    tmp_path, name, codec, first_frame
):
    source = write_with_sound(tmp_path / name, codec, first_frame=first_frame)
    copied = packets(write_beside(source, tmp_path / "out.mp4", 50))
    before = packets(source)
    assert [data for *_, data in copied] == [data for *_, data in before]
    shifts = [after[1] - earlier[1] for after, earlier in zip(copied, before, strict=True)]
    # Half a millisecond: Matroska's times are whole ones.
    np.testing.assert_allclose(shifts, -first_frame, atol=1.1e-3)


def test_every_track_is_copied(tmp_path):
    source = write_with_sound(tmp_path / "in.mp4", "aac", tracks=2)
    before, after = packets(source), packets(write_beside(source, tmp_path / "out.mp4", 50))
    assert {track for track, *_ in after} == {0, 1}
    assert [(track, data) for track, _, data in after] == [(t, data) for t, _, data in before]


def test_sound_that_mp4_does_not_take_is_encoded_as_aac(tmp_path):
    source = write_with_sound(tmp_path / "in.mov", "pcm_mulaw")
    with av.open(write_beside(source, tmp_path / "out.mp4", 50)) as file:
        (stream,) = file.streams.audio
        assert (stream.codec_context.name, stream.rate) == ("aac", RATE)
        wave = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])
    assert 0.999 < len(wave) / RATE < 1.05  # with its end, which the encoder keeps until then
    middle = wave[RATE // 4 : 3 * RATE // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * RATE / len(middle) == pytest.approx(TONE, abs=3)


def test_sound_lies_beside_its_pictures_in_the_file(tmp_path):
    """A player that loads the file needs no part far away.

    FFmpeg itself would sort what is within 10 seconds.
    """
    source = write_with_sound(tmp_path / "in.mp4", "aac", seconds=24)
    newest = {"video": 0.0, "audio": 0.0}
    with av.open(write_beside(source, tmp_path / "out.mp4", 240, fps=10.0)) as file:
        found = [
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in file.demux()
            if packet.size
        ]
    for _, kind, time in sorted(found):
        newest[kind] = time
        assert abs(newest["video"] - newest["audio"]) < 1.5
    assert min(newest.values()) > 23.5


def test_without_sound_there_is_none(tmp_path):
    source = write_with_sound(tmp_path / "in.mp4", "aac", tracks=0)
    with av.open(write_beside(source, tmp_path / "out.mp4", 50)) as file:
        assert [stream.type for stream in file.streams] == ["video"]
