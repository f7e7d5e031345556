"""Small video files of many containers and codecs, whole and cut, with the frames that they show.

All have 25 frames per second, numbered in their pixels (see `numbered_clips`).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from PIL import Image

from tests.support.numbered_clips import numbered_frame, write_numbered

COUNT = 30
TICKS = 512  # of a frame in the mp4 files here
DELAY = 1024  # ticks of the first frame of an mp4 file with B-frames

MPEG2 = {"codec": "mpeg2video", "b": "2000000"}
HEVC = {"codec": "libx265", "x265-params": "log-level=none:keyint=12:bframes=3:scenecut=0"}
B_FRAMES = {"g": "6", "bf": "3", "sc_threshold": "0"}


@dataclass(frozen=True)
class VideoFile:
    """How to write a file, and the numbers of the frames that it shows."""

    write: Callable[[Path], object]
    shown: list[int] = field(default_factory=lambda: list(range(COUNT)))


def encoded(count: int = COUNT, **options) -> VideoFile:
    return VideoFile(lambda path: write_numbered(path, count, **options), list(range(count)))


def edited(shown: list[int], *edits: tuple[int, int], **options) -> VideoFile:
    """An mp4 or QuickTime file with another edit list."""

    def write(path: Path) -> None:
        write_numbered(path, COUNT, **options)
        path.write_bytes(set_edits(path.read_bytes(), *edits))

    return VideoFile(write, shown)


def joined(*starts_ms: int, **options) -> VideoFile:
    """Two recordings in one file, so that the times begin again; at the same time by default."""

    def write(path: Path) -> None:
        data = b""
        for start in starts_ms or (None, None):
            times = None if start is None else [start + 40 * index for index in range(COUNT)]
            data += write_numbered(path, COUNT, times_ms=times, **options).read_bytes()
        path.write_bytes(data)

    return VideoFile(write, [*range(COUNT), *range(COUNT)])


def cut_stream(first: int, **options) -> VideoFile:
    """A transport stream that begins inside a group of pictures, as recordings do."""

    def write(path: Path) -> None:
        write_numbered(path, COUNT, **options)
        data, packet = path.read_bytes(), 188
        middle = len(data) // packet // 4 * packet
        path.write_bytes(data[: 3 * packet] + data[middle:])

    return VideoFile(write, list(range(first, COUNT)))


def copied(
    first: int, skipped: int, suffix: str, keep_negative: bool = False, **options
) -> VideoFile:
    """The packets of a file from a later one on, as `ffmpeg -ss ... -c copy` writes them.

    Args:
        skipped: number of packets that are left out.
        suffix: format of the source.
        keep_negative: write negative times, which Matroska cannot have: they are lost.
    """

    def write(path: Path) -> None:
        whole = write_numbered(path.with_name(path.name + suffix), COUNT, **options)
        target_options = {"avoid_negative_ts": "disabled"} if keep_negative else {}
        with (
            av.open(whole) as source,
            av.open(path, "w", options=target_options) as target,
        ):
            stream = target.add_stream_from_template(source.streams.video[0])
            packets = [packet for packet in source.demux(video=0) if packet.size][skipped:]
            zero = packets[0].pts
            for packet in packets:
                packet.pts, packet.dts = packet.pts - zero, packet.dts - zero
                packet.stream = stream
                target.mux(packet)

    return VideoFile(write, list(range(first, COUNT)))


def written_by_steps(**options) -> VideoFile:
    """A file with a gap in its times."""
    times = [40 * index + 400 * (index >= 15) for index in range(COUNT)]
    shown = [*range(15), *[14] * 5, *[15] * 5, *range(15, COUNT)]
    return VideoFile(lambda path: write_numbered(path, COUNT, times_ms=times, **options), shown)


WHOLE = {
    "gops.ts": encoded(g="6", bf="2"),
    "one_gop.ts": encoded(g="300", bf="2"),
    "open_gop.ts": encoded(g="6", bf="2", **{"x264-params": "open-gop=1"}),
    "intra_refresh.ts": encoded(g="10", bf="0", **{"x264-params": "intra-refresh=1"}),
    "mpeg2_one_gop.ts": encoded(**MPEG2, g="300", bf="2"),
    "mpeg4.ts": encoded(codec="mpeg4", g="6", bf="2"),
    "hevc.ts": encoded(**HEVC),
    "camera.m2ts": encoded(format="mpegts", container={"mpegts_m2ts_mode": "1"}, **B_FRAMES),
    "mpeg1.mpg": encoded(codec="mpeg1video", b="2000000", g="6", bf="2"),
    "mpeg2.mpg": encoded(60, **MPEG2, g="12", bf="2"),
    "mpeg2_one_gop.mpg": encoded(**MPEG2, g="300", bf="2"),
    "h264.mpg": encoded(format="vob", **B_FRAMES),
    "disc.vob": encoded(**MPEG2, g="6", bf="2"),
    "one_gop.avi": encoded(g="30", bf="3"),
    "gops.avi": encoded(**B_FRAMES),
    "no_b_frames.avi": encoded(g="6", bf="0"),
    "mpeg4.avi": encoded(codec="mpeg4", g="12", bf="2"),
    "b_frames.asf": encoded(**B_FRAMES),
    "b_frames.h264": encoded(**B_FRAMES),
    "b_frames.flv": encoded(**B_FRAMES),
    "b_frames.nut": encoded(**B_FRAMES),
    "b_frames.mkv": encoded(**B_FRAMES),
    "b_frames.mov": encoded(**B_FRAMES),
    "vp9.webm": encoded(codec="libvpx-vp9"),
    "hevc.mp4": encoded(**HEVC),
    "no_edits.mp4": encoded(container={"use_editlist": "0"}, **B_FRAMES),
    "late.mp4": edited(list(range(COUNT)), (300, -1), (1200, 0), g="6", bf="0"),
    "fragments.mp4": encoded(container={"movflags": "frag_keyframe+empty_moov"}, **B_FRAMES),
}
LATER, HEAD = list(range(10, COUNT)), list(range(20))
CUT = {
    "one_hidden.mp4": edited(list(range(1, COUNT)), (1160, DELAY + TICKS), **B_FRAMES),
    "start.mp4": edited(LATER, (800, DELAY + 10 * TICKS), **B_FRAMES),
    "start_one_gop.mp4": edited(LATER, (800, DELAY + 10 * TICKS), g="300", bf="3"),
    "start.mov": edited(LATER, (800, DELAY + 10 * TICKS), **B_FRAMES),
    "start_hevc.mp4": edited(LATER, (800, DELAY + 10 * TICKS), **HEVC),
    "start_no_b_frames.mp4": edited(LATER, (800, 10 * TICKS), g="6", bf="0"),
    "end.mp4": edited(HEAD, (800, DELAY), **B_FRAMES),
    "both.mp4": edited(HEAD[10:], (400, DELAY + 10 * TICKS), g="300", bf="3"),
    "delayed.mp4": edited(HEAD[5:], (300, -1), (600, DELAY + 5 * TICKS), **B_FRAMES),
    "swapped.mp4": edited(
        [*range(10, 20), *range(10)], (400, DELAY + 10 * TICKS), (400, DELAY), **B_FRAMES
    ),
    "joined.ts": joined(g="12", bf="2"),
    "joined_later.ts": joined(0, 213, g="12", bf="2"),
    "joined.mpg": joined(**MPEG2, g="12", bf="2"),
    "recorded.ts": cut_stream(12, g="12", bf="2", sc_threshold="0"),
    "recorded_mpeg4.ts": cut_stream(12, codec="mpeg4", g="12", bf="2"),
    "copied_mpeg2.ts": copied(12, 10, ".mkv", **MPEG2, g="12", bf="2"),
    "copied_mpeg4.mkv": copied(12, 10, ".avi", codec="mpeg4", g="12", bf="2"),
    "copied_hevc.mkv": copied(12, 10, ".mp4", keep_negative=True, **HEVC),
    "copied.mkv": copied(12, 12, ".mp4", **B_FRAMES),
    "recorded.avi": copied(12, 8, ".ts", **B_FRAMES),
    "gap.avi": written_by_steps(g="12", bf="0"),
}


def set_edits(data: bytes, *edits: tuple[int, int]) -> bytes:
    """Replaces the edit list of an mp4 file, as phones do when they trim without a new encoding.

    The file's index must be at its end, where boxes may change their sizes.

    Args:
        edits: (duration in ms, first time in ticks; -1 for a pause).
    """
    entries = b"".join(struct.pack(">Iihh", *edit, 1, 0) for edit in edits)
    content = struct.pack(">I", len(entries) + 16) + b"elst"
    content += struct.pack(">II", 0, len(edits)) + entries
    edts = struct.pack(">I", len(content) + 8) + b"edts" + content
    begin = data.index(b"edts") - 4
    old = struct.unpack_from(">I", data, begin)[0]
    changed = bytearray(data[:begin] + edts + data[begin + old :])
    for name in (b"moov", b"trak"):
        place = changed.index(name) - 4
        size = struct.unpack_from(">I", changed, place)[0]
        struct.pack_into(">I", changed, place, size + len(edts) - old)
    return bytes(changed)


def write_pictures(path: Path, orientation: int) -> Path:
    """Writes a file of JPEG pictures with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with av.open(path, "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width = numbered_frame(0).shape[:2]
        stream.pix_fmt = "yuvj420p"
        for index in range(COUNT):
            picture = BytesIO()
            Image.fromarray(numbered_frame(index)).save(picture, "JPEG", exif=exif, quality=95)
            packet = av.Packet(picture.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            file.mux(packet)
    return path
