"""Video files by PyAV: upright frames with their times, short-GOP mp4, exact windows.

Shape letters: F frames, H height, W width; a trailing 3 are RGB channels, uint8.
"""

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from videogen_jax.data.clips.formats import container_options
from videogen_jax.data.clips.records import ClipRecord, DamagedRecord
from videogen_jax.errors import UserError
from videogen_jax.media.h264 import REPRODUCIBLE, write_h264

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Media = str | Path | bytes  # a file or its contents

# Frames without a colour matrix are taken as BT.709 from this height on, as BT.601 below.
_HD_LINES = 720
_SAME_TIME = 1e-4  # seconds
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED, for which PyAV has no name


class Unreadable(UserError):
    """A file from which no video can be read; `reason` is one word for the report."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Probe:
    """Facts about a file's video, found without decoding.

    Attributes:
        times: times of all frames in display order, in seconds from the first.
        rate: nominal frames per second, or None if the file has none.
        declared: number of frames in the container's header, 0 if it has none.
        start: the file's time of the first frame, in seconds.
    """

    times: np.ndarray
    rate: Fraction | None
    declared: int
    start: float


@dataclass
class Losses:
    """The number of frames that could not be decoded while `frames` runs, and the first error."""

    frames: int = 0
    first_error: str = field(default="")


def probe(media: Media) -> Probe:
    """Reads the times of all frames without decoding them.

    Raises:
        Unreadable: "undecodable" (not a media file) or "no_video_stream".
    """
    from av.error import FFmpegError

    with _open(media) as (container, stream, time_base):
        try:
            stamps = [p.pts for p in container.demux(stream) if p.size and p.pts is not None]
        except FFmpegError as error:
            raise Unreadable("undecodable", str(error)) from error
        if not stamps:
            raise Unreadable("undecodable", "no frame with a time")
        seconds = np.unique(np.asarray(stamps, np.float64)) * float(time_base)
        return Probe(
            times=seconds - seconds[0],
            rate=stream.average_rate or stream.guessed_rate,
            declared=stream.frames,
            start=float(seconds[0]),
        )


def frames(
    media: Media,
    losses: Losses,
    start: float = 0.0,
    end: float = math.inf,
    check: Callable[[int, int, Fraction | None], None] | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """Decodes the frames that are shown from `start` to `end`, upright, each with its time.

    Rotation and pixel aspect of the file are applied. A frame that cannot be decoded is left out
    and counted.

    Args:
        losses: counter, which is updated.
        start, end: times in the file's own seconds.
        check: called with width, height and pixel aspect before decoding and for every frame; it
            raises Unreadable if it does not accept them.

    Yields:
        (seconds from the file's zero, uint8 [H, W, 3]).

    Raises:
        Unreadable: see `probe`.
    """
    with _open(media) as (container, stream, time_base):
        if check is not None:
            check(stream.width, stream.height, stream.sample_aspect_ratio)
        if start > 0:
            container.seek(int(start / time_base), stream=stream)
        for pts, frame in _decoded(container, stream, losses):
            if check is not None:  # the size may change, or differ from the header's
                check(frame.width, frame.height, stream.sample_aspect_ratio)
            if frame.is_corrupt:
                losses.frames += 1
                continue
            seconds = float(pts * time_base)
            if seconds >= end - _SAME_TIME:
                return
            if seconds >= start - _SAME_TIME:
                yield seconds, _upright(frame, stream.sample_aspect_ratio)


def encode(
    frames_HW3: Iterator[np.ndarray], rate: Fraction, crf: int, gop: int
) -> tuple[bytes, int]:
    """Encodes H.264 in mp4 for random access: constant rate, no B-frames, short GOP.

    Args:
        frames_HW3: uint8 [H, W, 3] of one even size; at least one.
        rate: frames per second.
        crf: constant rate factor, 0 (lossless) to 51.
        gop: frames from a key frame to the next.

    Returns:
        the bytes of the file, and the number of frames.
    """
    import av

    # REPRODUCIBLE: a shard made again is the same. One thread, as clips are encoded in parallel.
    options = {"crf": str(crf), "g": str(gop), "bf": "0", **REPRODUCIBLE}
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        count = write_h264(container, frames_HW3, rate, options)
    return file.getvalue(), count


def decode_window(video: bytes, start: int, count: int, stride: int = 1) -> np.ndarray:
    """Decodes exactly the frames start, start + stride, ... of a record's video.

    Args:
        video: the bytes of a file by `encode`, or of another video with a constant frame rate.
        start: index of the first frame.
        count: number of frames, at least 1.
        stride: step between them, at least 1.

    Returns:
        uint8 [F, H, W, 3].

    Raises:
        ValueError: count or stride is below 1, or start is negative.
        DamagedRecord: the video cannot be decoded, or ends before the last requested frame.
    """
    if start < 0 or count < 1 or stride < 1:
        raise ValueError(
            f"need start >= 0, count >= 1 and stride >= 1, got {start}, {count} and {stride}"
        )
    losses, found, last = Losses(), [], start + (count - 1) * stride
    try:
        with _open(video) as (container, stream, time_base):
            rate = stream.average_rate
            if rate is None:
                raise Unreadable("damaged", "the file has no frame rate")
            if start > 0:
                container.seek(int(start / rate / time_base), stream=stream)
            for pts, frame in _decoded(container, stream, losses):
                index = round((pts - (stream.start_time or 0)) * time_base * rate)
                if index == start + len(found) * stride and not frame.is_corrupt:
                    found.append(_rgb(frame))
                if index >= last:
                    break
    except Unreadable as error:
        raise DamagedRecord(f"the video is damaged: {error.detail}") from error
    if len(found) < count:
        cause = losses.first_error or "it is missing"
        raise DamagedRecord(f"frame {start + len(found) * stride} cannot be decoded: {cause}")
    return np.stack(found)


def decode_clip(record: ClipRecord) -> np.ndarray:
    """Decodes all frames of a record, uint8 [F, H, W, 3].

    Raises:
        DamagedRecord: names the record's id.
    """
    try:
        video_FHW3 = decode_window(record.video, 0, record.num_frames)
    except DamagedRecord as error:
        raise DamagedRecord(f"record {record.id!r}: {error}") from error
    if video_FHW3.shape[1:3] != (record.h, record.w):
        raise DamagedRecord(
            f"record {record.id!r}: frames are {video_FHW3.shape[1:3]}, "
            f"the record says {(record.h, record.w)}"
        )
    return video_FHW3


@contextmanager
def _open(media: Media) -> Iterator[tuple["InputContainer", "VideoStream", Fraction]]:
    """Opens a container; yields it, its video stream and its time base in seconds.

    Cover pictures of music files do not count as video.
    """
    import av
    from av.error import FFmpegError
    from av.stream import Disposition

    file = io.BytesIO(media) if isinstance(media, bytes) else str(media)
    try:
        # Metadata that is not UTF-8 is not an error.
        container = av.open(file, mode="r", metadata_errors="replace", options=container_options())
    except FFmpegError as error:
        if isinstance(error, FileNotFoundError):
            raise Unreadable("missing_file", f"no file {media}") from error
        raise Unreadable("undecodable", error.strerror or str(error)) from error
    with container:
        videos = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not videos:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no stream"
            raise Unreadable("no_video_stream", f"the file has only: {kinds}")
        if videos[0].time_base is None:
            raise Unreadable("undecodable", "the frames have no times")
        if videos[0].codec_context is None:
            raise Unreadable("undecodable", "the file's codec is unknown")
        videos[0].codec_context.thread_count = 1  # clips are decoded in parallel
        yield container, videos[0], videos[0].time_base


def _decoded(
    container: "InputContainer", stream: "VideoStream", losses: Losses
) -> Iterator[tuple[int, "VideoFrame"]]:
    """Yields all frames with their times, in display order; counts packets that fail."""
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            # A packet's frames are collected first: a `yield` in `try` would catch the consumer's
            # errors.
            decoded = [(frame.pts, frame) for frame in packet.decode() if frame.pts is not None]
        except FFmpegError as error:
            losses.frames += 1
            losses.first_error = losses.first_error or str(error)
            continue  # with the next packet, if there is one
        yield from decoded


def _rgb(frame: "VideoFrame") -> np.ndarray:
    from av.video.reformatter import Colorspace

    guess = Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601
    matrix = guess if frame.colorspace == _UNSPECIFIED else None  # None: the frame's own
    return frame.to_ndarray(format="rgb24", src_colorspace=matrix)


def _upright(frame: "VideoFrame", pixel_aspect: Fraction | None) -> np.ndarray:
    frame_HW3 = _rgb(frame)
    if pixel_aspect and pixel_aspect != 1:
        import cv2

        height, width = frame_HW3.shape[:2]
        frame_HW3 = cv2.resize(frame_HW3, (max(1, round(width * pixel_aspect)), height))
    return np.rot90(frame_HW3, round(frame.rotation / 90) % 4)
