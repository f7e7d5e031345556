"""Video files whose pixels encode the number of each frame, in blocks that survive H.264."""

import io
import json
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from videogen_jax.data.clips.clip_checksums import write_checksums
from videogen_jax.data.clips.records import (
    INFO_FILE,
    ClipRecord,
    pack_record,
    shard_name,
    write_shard,
    write_sizes,
)
from videogen_jax.data.clips.video import encode

BITS = np.arange(8).reshape(2, 4)  # in two rows of four blocks over the frame
H, W = 48, 64


def numbered_frame(number: int, h: int = H, w: int = W) -> np.ndarray:
    """Returns a frame, uint8 [h, w, 3], with a white or black block for each bit of the number."""
    blocks = np.where((number >> BITS) & 1, 235, 20).astype(np.uint8)
    rows = np.minimum(np.arange(h) * 2 // h, 1)
    columns = np.minimum(np.arange(w) * 4 // w, 3)
    return np.repeat(blocks[rows][:, columns][..., None], 3, axis=-1)


def read_number(frame: np.ndarray) -> int:
    """Reads the number in a frame of any size; -1 if a block is neither white nor black."""
    h, w = frame.shape[:2]
    middles = [
        frame[(2 * row + 1) * h // 4, (2 * column + 1) * w // 8].mean()
        for row in range(2)
        for column in range(4)
    ]
    if any(60 < middle < 195 for middle in middles):
        return -1
    return sum((middle > 128) << bit for bit, middle in enumerate(middles))


def read_numbers(video: np.ndarray) -> list[int]:
    """Reads the number of every frame of uint8 [f, h, w, 3]."""
    return [read_number(frame) for frame in video]


def write_frames(
    path: Path | io.BytesIO,
    frames: Sequence[np.ndarray],
    *,
    rate: Fraction | int = 25,
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    container: dict[str, str] | None = None,
    format: str | None = None,
    **options: str,
) -> None:
    """Encodes frames at a constant rate or at given times."""
    with av.open(path, "w", format=format, options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options={"crf": "12"} | options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if codec == "mpeg4":
            stream.codec_context.bit_rate = 2_000_000
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if times_ms is not None:
                picture.pts, picture.time_base = times_ms[index], Fraction(1, 1000)
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


def write_numbered(path: Path, count: int = 40, h: int = H, w: int = W, **options) -> Path:
    """Writes a video with frames 0 to count - 1."""
    write_frames(path, [numbered_frame(number, h, w) for number in range(count)], **options)
    return path


def write_sound(path: Path) -> Path:
    """Writes an mp4 file with a second of silence."""
    with av.open(path, "w") as file:
        stream = file.add_stream("aac", rate=44100, layout="mono")
        for start in range(0, 44100, 1024):
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            sound.rate, sound.pts = 44100, start
            file.mux(stream.encode(sound))
        file.mux(stream.encode())
    return path


def set_matrix(data: bytes, a: float, b: float, c: float, d: float) -> bytes:
    """Sets the display matrix of an mp4 file, as phones do.

    The matrix (QuickTime: x' = a x + c y + tx, y' = b x + d y + ty) is at a fixed place in the
    track's header box. The offsets stay zero.
    """
    begin = data.index(b"tkhd") + 44
    matrix = struct.pack(">9i", *(round(x * 65536) for x in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    return data[:begin] + matrix + data[begin + 36 :]


def turn_clockwise(data: bytes) -> bytes:
    """Sets the display matrix of an mp4 file to a quarter turn clockwise."""
    return set_matrix(data, 0, 1, -1, 0)


def numbered_record(
    name: str, count: int = 40, fps: int = 24, h: int = 32, w: int = 32
) -> ClipRecord:
    """Returns a record with two captions and frames 0 to count - 1."""
    frames = (numbered_frame(number, h, w) for number in range(count))
    video, _ = encode(frames, Fraction(fps), 12, 12)
    return ClipRecord(name, video, (f"{name}, one", f"{name}, two"), float(fps), count, h, w, name)


def write_dataset(folder: Path, *shards: Sequence[ClipRecord]) -> Path:
    """Writes a dataset of these records, without ingest."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, records in enumerate(shards):
        write_shard(folder / shard_name(index, len(shards)), list(map(pack_record, records)))
    packed = [pack_record(record) for records in shards for record in records]
    write_checksums(folder, map(zlib.crc32, packed))
    write_sizes(folder, [(r.num_frames, r.fps, r.h, r.w) for records in shards for r in records])
    info = {"shard_clips": [len(records) for records in shards]}
    (folder / INFO_FILE).write_text(json.dumps(info))
    return folder
