"""Video files by PyAV: upright frames with their times, short-GOP mp4, exact windows.

Shape letters: F frames, H height, W width; a trailing 3 are RGB channels, uint8.
"""

import io
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from videogen_jax.data.clips.files.decoding import (
    SAME_TIME,
    Check,
    Losses,
    Media,
    Unreadable,
    decoded_from,
    open_video,
)
from videogen_jax.data.clips.files.probe import Probe, probe
from videogen_jax.data.clips.records import ClipRecord, DamagedRecord
from videogen_jax.media.h264 import REPRODUCIBLE, write_h264
from videogen_jax.media.orientation import IDENTITY, orient

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# Frames without a colour matrix are taken as BT.709 from this height on, as BT.601 below.
_HD_LINES = 720
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED, for which PyAV has no name


def frames(
    media: Media,
    facts: Probe,
    losses: Losses,
    start: float = -math.inf,
    end: float = math.inf,
    check: Check | None = None,
) -> Iterator[tuple[float, np.ndarray]]:
    """Decodes the frames that are shown from `start` to `end`, upright, each with its time.

    Orientation and pixel aspect of the file are applied. A frame that cannot be decoded is left
    out and counted.

    Args:
        facts: by `probe` of the same file.
        losses: set to the frames that are left out.
        start, end: times in the file's own seconds.
        check: called with width, height and pixel aspect of every frame; it raises Unreadable if
            it does not accept them.

    Yields:
        (seconds from the file's zero, uint8 [H, W, 3]), in display order.

    Raises:
        Unreadable: see `probe`.
    """
    for position in facts.positions(start):
        with open_video(media) as video:
            timed = decoded_from(video, facts, losses, start, position)
            if timed is None:
                continue  # a seek may land after the time that it was given
            aspect = video[1].sample_aspect_ratio
            for seconds, frame in timed:
                if seconds >= end - SAME_TIME:
                    return
                if seconds < start - SAME_TIME:
                    continue
                if check is not None:  # the size may change, or differ from the header's
                    check(frame.width, frame.height, aspect)
                if frame.is_corrupt:
                    losses.frames += 1
                else:
                    yield seconds, _upright(frame, aspect)
            return


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
    losses = Losses()
    try:
        found = _window(video, losses, start, count, stride, seek=start > 0)
        if found is None:
            found = _window(video, losses, start, count, stride, seek=False) or []
    except Unreadable as error:
        raise DamagedRecord(f"the video is damaged: {error.detail}") from error
    if len(found) < count:
        cause = losses.first_error or "it is missing"
        raise DamagedRecord(f"frame {start + len(found) * stride} cannot be decoded: {cause}")
    return np.stack(found)


def _window(
    video: bytes, losses: Losses, start: int, count: int, stride: int, seek: bool
) -> list[np.ndarray] | None:
    """Decodes a window up to the first frame that is missing; None if the seek lands after it."""
    found = []
    with open_video(video) as opened:
        container, stream, time_base = opened
        # The clips by `encode` need no facts.
        is_plain = "mp4" in container.format.name and not stream.codec_context.has_b_frames
        facts = None if is_plain else probe(video)
        rate = stream.average_rate if facts is None else facts.rate
        if rate is None:
            raise Unreadable("damaged", "the file has no frame rate")
        zero = (stream.start_time or 0) * float(time_base) if facts is None else facts.start
        begin, position = zero + float(start / rate), None
        if seek:
            position = int(begin / time_base) if facts is None else facts.positions(begin)[0]
        timed = decoded_from(opened, facts, losses, begin, position)
        if timed is None:
            return None
        for seconds, frame in timed:
            index = round((seconds - zero) * rate)
            if index == start + len(found) * stride and not frame.is_corrupt:
                found.append(_rgb(frame))
            if index >= start + (count - 1) * stride:
                break
    return found


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


def _rgb(frame: "VideoFrame") -> np.ndarray:
    from av.video.reformatter import Colorspace

    guess = Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601
    matrix = guess if frame.colorspace == _UNSPECIFIED else None  # None: the frame's own
    # By default each frame starts a thread per core, which costs more than the conversion.
    return frame.to_ndarray(format="rgb24", src_colorspace=matrix, threads=1)


def _upright(frame: "VideoFrame", pixel_aspect: Fraction | None) -> np.ndarray:
    frame_HW3 = _rgb(frame)
    if pixel_aspect and pixel_aspect != 1:
        import cv2

        height, width = frame_HW3.shape[:2]
        frame_HW3 = cv2.resize(frame_HW3, (max(1, round(width * pixel_aspect)), height))
    return orient(frame_HW3, _display_matrix(frame))


def _display_matrix(frame: "VideoFrame") -> list[float]:
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 lists nothing if a frame has side data of a kind that it does not know, such as
        # EXIF. It still has the angle, counterclockwise in degrees, but not the mirroring.
        angle = math.radians(frame.rotation)
        cosine, sine = math.cos(angle), math.sin(angle)
        return [cosine, -sine, 0, sine, cosine, 0, 0, 0, 1]
    return IDENTITY if data is None else np.frombuffer(bytes(data), np.int32).tolist()
