"""The times of all frames of a video file, found without decoding more than the first one."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from videogen_jax.data.clips.files.decoding import (
    SAME_TIME,
    Check,
    Losses,
    Media,
    Unreadable,
    decoded_from,
    is_picture,
    open_video,
)

_LONGEST_REORDERING = 16  # frames that a decoder keeps back, in all codecs
_FALLBACK_RATE = 25  # frames per second of a file without any times, as in FFmpeg


class KeyFrame(NamedTuple):
    """Where a key frame is: time in seconds, position to seek to, and what identifies its packet.

    The position and `pts` are in the stream's time base, `size` is in bytes.
    """

    time: float
    position: int
    pts: int
    size: int


class _Packet(NamedTuple):
    pts: int | None
    dts: int | None
    size: int
    is_key: bool
    is_shown: bool


class _Header(NamedTuple):
    declared: int
    rate: Fraction | None
    time_base: Fraction
    reorders: bool


@dataclass(frozen=True)
class Probe:
    """Facts about a file's video.

    Frames that an edit list hides are left out, and those at the beginning that cannot be decoded
    because the file was cut inside a group of pictures.

    Attributes:
        times: times of all frames in display order, in seconds from the first.
        rate: nominal frames per second, or None if the file has none.
        declared: number of frames that the container's index or header has, 0 if it has neither.
        start: the file's time of the first frame, in seconds.
        has_keys: whether the container marks key frames.
        keys: all key frames; empty if the times are in output order.
        in_output_order: None, or the times in seconds that replace the file's own: those of the
            frames that are decoded from the first key frame on, in the order of output.
    """

    times: np.ndarray
    rate: Fraction | None
    declared: int
    start: float
    has_keys: bool
    keys: tuple[KeyFrame, ...]
    in_output_order: list[float] | None

    def positions(self, start: float) -> list[int | None]:
        """Returns where to seek for the frame shown at `start`, the best position first.

        The last is None: the beginning of the file.
        """
        before = [key.position for key in self.keys if key.time <= start + SAME_TIME]
        backs = (1 << power for power in range(len(before).bit_length()))
        return [*(before[-back] for back in backs if back < len(before)), None]


def probe(media: Media, check: Check | None = None) -> Probe:
    """Reads the times of all frames that are shown.

    Args:
        check: called with the header's width, height and pixel aspect before anything is decoded;
            it raises Unreadable if it does not accept them.

    Raises:
        Unreadable: "undecodable" (not a media file, or nothing to show) or "no_video_stream".
    """
    packets, facts = _read(media, check)
    first_key = next((i for i, packet in enumerate(packets) if packet.is_key), 0)
    decodable = packets[first_key:]
    decodable = decodable[:1] + decodable[_second_with_time(decodable) :]
    shown = [packet for packet in decodable if packet.is_shown]
    if not shown:
        raise Unreadable("undecodable", "no frame that is shown")
    unit, keys, in_output_order = float(facts.time_base), [], None
    if _have_display_times(shown, facts.reorders):
        ticks = np.sort(np.array([packet.pts for packet in shown], np.float64))
        keys = [
            KeyFrame(pts * unit, pts if dts is None else dts, pts, size)
            for pts, dts, size, is_key, _ in packets
            if is_key and pts is not None
        ]
    else:
        step = 1 / (facts.rate or _FALLBACK_RATE) / facts.time_base
        ticks = _rising(decodable, float(step))
        in_output_order = (ticks * unit).tolist()
    found = Probe(
        times=(ticks - ticks[0]) * unit,
        rate=facts.rate,
        declared=max(0, facts.declared - len(packets) + len(shown)),
        start=float(ticks[0]) * unit,
        has_keys=any(packet.is_key for packet in packets),
        keys=tuple(keys),
        in_output_order=in_output_order,
    )
    return _without_lead_in(media, found)


def _read(media: Media, check: Check | None) -> tuple[list[_Packet], _Header]:
    """Reads all packets of the video, and what the container says about it."""
    from av.error import FFmpegError

    with open_video(media) as (container, stream, time_base):
        if check is not None:
            check(stream.width, stream.height, stream.sample_aspect_ratio)
        declared, indexed = stream.frames, len(stream.index_entries)
        try:
            packets = [
                _Packet(packet.pts, packet.dts, packet.size, packet.is_keyframe, is_picture(packet))
                for packet in container.demux(stream)
                if packet.size
            ]
        except FFmpegError as error:
            raise Unreadable("undecodable", str(error)) from error
        if declared and "mp4" in container.format.name:
            declared = indexed  # without what is cut away by the edit list
        elif container.format.name == "avi":
            declared = _without_empty(declared, [p.dts for p in packets if p.dts is not None])
        rate = stream.average_rate or stream.guessed_rate
        reorders = bool(stream.codec_context.has_b_frames)
        return packets, _Header(declared, rate, time_base, reorders)


def _without_empty(declared: int, ticks: list[int]) -> int:
    """Returns the number of an AVI file's packets without the empty ones, which fill its gaps.

    Args:
        declared: number of all packets, which are also the ticks of the times.
        ticks: times of the packets that are not empty.
    """
    if len(ticks) < 2:
        return declared
    lasting = ticks[-1] + float(np.median(np.diff(ticks)))
    return int(len(ticks) * declared / lasting)


def _without_lead_in(media: Media, facts: Probe) -> Probe:
    """Leaves out the frames before the first key frame that refer to a part that is cut away.

    Only decoding shows whether they do.
    """
    lead_in = facts.keys[0].time - facts.start if facts.keys else 0.0
    if lead_in <= 0:
        return facts
    with open_video(media) as video:
        timed = decoded_from(video, facts, Losses(), -np.inf, None)
        first = None if timed is None else next(timed, None)
    if first is None:
        return facts
    times = facts.times[facts.times >= min(lead_in, first[0] - facts.start) - SAME_TIME]
    return replace(
        facts,
        times=times - times[0],
        declared=max(0, facts.declared - len(facts.times) + len(times)),
        start=facts.start + float(times[0]),
    )


def _second_with_time(packets: list[_Packet]) -> int:
    """Returns the index of the second packet, without leading pictures that have no time.

    A file that was cut by copying packets begins with a key frame and pictures that refer to
    frames before it. Their times may have been lost; they cannot be decoded.
    """
    index = next((i for i, packet in enumerate(packets) if i and packet.pts is not None), 1)
    is_rest_timed = all(packet.pts is not None for packet in packets[index:])
    return index if is_rest_timed and index <= _LONGEST_REORDERING else 1


def _have_display_times(shown: list[_Packet], reorders: bool) -> bool:
    """Says whether packets' times, in the order of the file, can be those of display.

    Containers such as AVI have none. FFmpeg then makes them from the times of decoding, so that
    they rise although the decoder changes the order of the frames. Times that are equal or fall
    back to an earlier part of the file cannot be those of display either.
    """
    stamps = np.array([packet.pts for packet in shown if packet.pts is not None])
    if len(stamps) < len(shown):
        return False
    if reorders and len(stamps) > 1 and (np.diff(stamps) > 0).all():
        return False
    order = np.argsort(stamps, kind="stable")
    moved = np.abs(order - np.arange(len(order))).max()
    return bool((np.diff(stamps[order]) > 0).all() and moved <= _LONGEST_REORDERING)


def _rising(packets: list[_Packet], step: float) -> np.ndarray:
    """Returns times, in ticks, of the packets that are shown: each lasts until the next decoding.

    Args:
        step: ticks from a packet to the next if their times do not say.
    """
    indices = np.arange(len(packets))
    known = [(index, p.dts) for index, p in enumerate(packets) if p.dts is not None]
    if not known:
        return indices[[packet.is_shown for packet in packets]] * step
    places, values = zip(*known, strict=True)
    ticks = np.interp(indices, places, values)
    ticks += step * (indices - np.clip(indices, places[0], places[-1]))
    steps = np.diff(ticks)
    if (steps > 0).any():
        step = float(np.median(steps[steps > 0]))
    lasting = np.append(np.where(steps > 0, steps, step), step)
    lasting = lasting[[packet.is_shown for packet in packets]]
    return ticks[0] + np.cumsum(lasting) - lasting
