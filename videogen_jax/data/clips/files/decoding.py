"""Decoding by PyAV: the video stream of a file, and its frames from a given time on."""

import io
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

from videogen_jax.data.clips.files.formats import container_options
from videogen_jax.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from videogen_jax.data.clips.files.probe import Probe

Media = str | Path | bytes  # a file or its contents
Check = Callable[[int, int, Fraction | None], None]  # of width, height and pixel aspect

SAME_TIME = 1e-4  # seconds


class Unreadable(UserError):
    """A file from which no video can be read; `reason` is one word for the report."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass
class Losses:
    """The number of frames that could not be decoded while `frames` runs, and the first error."""

    frames: int = 0
    first_error: str = field(default="")


@contextmanager
def open_video(media: Media) -> Iterator[tuple["InputContainer", "VideoStream", Fraction]]:
    """Opens a container; yields it, its video stream and its time base in seconds.

    Cover pictures of music files do not count as video.

    Raises:
        Unreadable: "missing_file", "undecodable" (not a media file) or "no_video_stream".
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


def is_picture(packet: "Packet") -> bool:
    """Says whether a packet has a frame that is shown.

    Frames that an mp4 edit list hides are decoded, as others refer to them, but do not come out.
    """
    return packet.size > 0 and not packet.is_discard


def decoded_from(
    video: tuple["InputContainer", "VideoStream", Fraction],
    facts: "Probe | None",
    losses: Losses,
    start: float,
    position: int | None,
) -> Iterator[tuple[float, "VideoFrame"]] | None:
    """Decodes from a key frame on, so that the frame that is shown at `start` is among the frames.

    A seek may land after the time that it was given, the times after it may be wrong by a frame,
    and the frames after it may need others before it. So the first packet and the first frame
    are checked.

    Args:
        video: what `open_video` yields, not used before.
        facts: by `probe` of the same file. None for an mp4 file without reordered frames.
        losses: set to the packets at or after `start` that cannot be decoded.
        start: time in the file's own seconds; -inf for all frames.
        position: where to seek, in the stream's time base; None for the beginning of the file.

    Returns:
        (seconds, frame) in the order of output, or None if the seek has failed: try a position
        further back.
    """
    container, stream, time_base = video
    losses.frames, losses.first_error = 0, ""
    packets = container.demux(stream)
    if position is not None:
        packets = _packets_after_seek(video, facts, position)
        if packets is None:
            return None
    elif facts is None or facts.has_keys:
        packets = _from_key_frame(packets)
    times = None if facts is None else facts.in_output_order
    timed = _decoded(packets, float(time_base), losses, start, times)
    first = next(timed, None)
    if position is not None and (first is None or first[0] > start + SAME_TIME):
        return None
    return iter(()) if first is None else chain((first,), timed)


def _packets_after_seek(
    video: tuple["InputContainer", "VideoStream", Fraction], facts: "Probe | None", position: int
) -> Iterator["Packet"] | None:
    """Returns the packets from a key frame on, or None if it has not the time that it should."""
    from av.error import FFmpegError

    container, stream, _ = video
    try:
        container.seek(position, stream=stream)
        packets = _from_key_frame(container.demux(stream))
        key = next(packets, None)
    except FFmpegError:  # a container that cannot seek
        return None
    if key is None or not key.size:
        return None
    # An MPEG program stream says the times of few packets. After a seek they are counted from
    # the wrong one.
    if facts is not None and (key.pts, key.size) not in {(k.pts, k.size) for k in facts.keys}:
        return None
    return chain((key,), packets)


def _from_key_frame(packets: Iterator["Packet"]) -> Iterator["Packet"]:
    """Leaves out the packets before the first key frame, from which some decoders make grey."""
    return dropwhile(lambda packet: packet.size > 0 and not packet.is_keyframe, packets)


def _decoded(
    packets: Iterator["Packet"],
    unit: float,
    losses: Losses,
    start: float,
    times: list[float] | None,
) -> Iterator[tuple[float, "VideoFrame"]]:
    """Yields all frames with their times, in the order of output; counts packets that fail."""
    coming, pending = iter(times or ()), deque[float]()
    for packet, decoded, error in _each_decoded(packets):
        seconds = None if packet is None or packet.pts is None else packet.pts * unit
        if times is not None and packet is not None and is_picture(packet):
            seconds = next(coming, None)
            if seconds is not None and error is None:
                pending.append(seconds)
        if error is not None and (seconds is None or seconds >= start - SAME_TIME):
            losses.frames += 1
            losses.first_error = losses.first_error or str(error)
        for frame in decoded:
            if times is not None and pending:
                yield pending.popleft(), frame
            elif times is None and frame.pts is not None:
                yield frame.pts * unit, frame


def _each_decoded(
    packets: Iterator["Packet"],
) -> Iterator[tuple["Packet | None", list["VideoFrame"], Exception | None]]:
    """Yields each packet with its frames or its error; no packet if it cannot be read."""
    from av.error import FFmpegError

    while True:
        packet = None
        try:
            packet = next(packets, None)
            if packet is None:
                return
            # All at once: a `yield` in `try` would catch the consumer's errors.
            decoded, failure = packet.decode(), None
        except FFmpegError as error:
            decoded, failure = [], error  # the next packet may be fine
        yield packet, decoded, failure
