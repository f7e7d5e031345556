"""Compression of clips and back, as degradations: JPEG of each frame, or H.264.

Shape letters: F frames, H height, W width; a trailing 3 are RGB channels.
"""

import io
from fractions import Fraction

import numpy as np
from PIL import Image

from videogen_jax.errors import UserError
from videogen_jax.media.h264 import REPRODUCIBLE


def jpeg_round_trip(video_FHW3: np.ndarray, quality: int) -> np.ndarray:
    """Compresses every frame separately; uint8 in and out."""

    def round_trip(frame_HW3: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(frame_HW3).save(file, format="JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return np.stack([round_trip(frame) for frame in video_FHW3])


def h264_round_trip(video_FHW3: np.ndarray, crf: int) -> np.ndarray:
    """Compresses the clip as a video, one key frame first; uint8 in and out.

    Raises:
        UserError: odd height or width (4:2:0 chroma has half of each).
        ValueError: the codec lost a frame.
    """
    import av

    _, height, width, _ = video_FHW3.shape
    if height % 2 or width % 2:
        raise UserError(f"H.264 needs an even height and width, got {height} x {width}")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": "veryfast", "g": "50", **REPRODUCIBLE}
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame_HW3 in video_FHW3:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HW3, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as reader:
        frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in reader.decode(video=0)]
    if len(frames) != len(video_FHW3):
        raise ValueError(f"H.264 gave back {len(frames)} of {len(video_FHW3)} frames")
    return np.stack(frames)
