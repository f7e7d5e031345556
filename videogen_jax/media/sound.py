"""The sound of a video file, written beside the pictures of another.

Shape letters: H height, W width; a trailing 3 are RGB channels, uint8.
"""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from videogen_jax.errors import UserError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

_CODEC = "aac"  # of sound that the new file's format does not take


class Sound:
    """All sound streams of an open file; read as a stream, a packet at a time.

    Args:
        source: the open file, from which nothing has been read.
        start: the file's time, in seconds, at which the new pictures begin.
        name: the file's name, for error messages.
    """

    def __init__(self, source: "InputContainer", start: float, name: str):
        self._source, self._start, self._name = source, start, name

    def beside(
        self, target: "OutputContainer", frames_HW3: Iterable[np.ndarray], rate: Fraction
    ) -> Iterator[np.ndarray]:
        """Yields the frames, and writes the sound of each frame's time after it.

        Packets are copied unchanged if the format of `target` takes their codec; other sound is
        encoded as AAC. The streams are added to `target` before the first frame, the rest of the
        sound is written after the last.

        Args:
            target: the new file, without audio streams and with nothing written yet.
            frames_HW3: frames that the caller writes to `target`.
            rate: frames per second.

        Raises:
            UserError: the sound cannot be read or written; names the file.
        """
        written = self._written(target)
        next_time = next(written, math.inf)
        for index, frame_HW3 in enumerate(frames_HW3, start=1):
            yield frame_HW3
            while next_time < index / rate:
                next_time = next(written, math.inf)
        for _ in written:
            pass

    def _written(self, target: "OutputContainer") -> Iterator[float]:
        """Adds the streams and writes a packet at a time; yields the time of each before it."""
        from av.error import FFmpegError

        streams = self._source.streams.audio
        try:
            writers = {stream.index: self._writer(target, stream) for stream in streams}
            for packet in self._source.demux(*streams):
                if packet.pts is not None:
                    yield float(packet.pts * packet.time_base) - self._start
                target.mux(writers[packet.stream.index](packet))
        except FFmpegError as error:
            raise UserError(f"{self._name}: cannot copy its sound: {error}") from error

    def _writer(self, target: "OutputContainer", stream: "AudioStream") -> Any:
        """Adds a stream to `target`; returns the function from a packet to those to write."""
        if stream.codec_context is None:
            raise UserError(f"{self._name}: cannot copy its sound, whose codec is unknown")
        copies = stream.codec_context.name in target.supported_codecs
        return (_Copy if copies else _Encode)(target, stream, self._start)


class _Copy:
    """Copies packets, with times from the new beginning."""

    def __init__(self, target: "OutputContainer", stream: "AudioStream", start: float):
        self._stream = target.add_stream_from_template(stream)
        self._shift = _ticks(start, stream.time_base)

    def __call__(self, packet: "Packet") -> list["Packet"]:
        if not packet.size:  # the end of the stream
            return []
        packet.pts = None if packet.pts is None else packet.pts - self._shift
        packet.dts = None if packet.dts is None else packet.dts - self._shift
        packet.stream = self._stream
        return [packet]


class _Encode:
    """Decodes packets and encodes the sound as AAC."""

    def __init__(self, target: "OutputContainer", stream: "AudioStream", start: float):
        context = stream.codec_context
        self._stream: Any = target.add_stream(
            _CODEC, rate=context.sample_rate, layout=context.layout.name
        )
        self._start = start

    def __call__(self, packet: "Packet") -> list["Packet"]:
        encoded = []
        for frame in packet.decode():
            if frame.pts is not None:
                frame.pts -= _ticks(self._start, frame.time_base)
            encoded += self._stream.encode(frame)  # also converts it to the encoder's format
        if not packet.size:  # the end of the stream
            encoded += self._stream.encode(None)
        return encoded


def _ticks(seconds: float, time_base: Fraction | None) -> int:
    return 0 if time_base is None else round(seconds / time_base)
