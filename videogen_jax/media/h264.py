"""Writing RGB frames as H.264, with its colour tags and reproducible bytes.

Shape suffixes: H height, W width, 3 colour channels (RGB).
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

REPRODUCIBLE = {"threads": "1", "mbtree": "0"}
"""Options of libx264 with which the same frames always give the same bytes.

The result depends on the number of threads. On small frames, the macroblock tree (mbtree) gives one
of several results at random even with one thread: 12 of 60 runs of a noisy clip of 64x64 pixels
differed, and 89 of 5,400 of one of 64x48. Without mbtree, none did.
"""


def write_h264(
    container: Any, frames_HW3: Iterable[np.ndarray], rate: Fraction, options: Mapping[str, str]
) -> int:
    """Adds an H.264 stream in BT.709, 4:2:0, to an open PyAV container and writes all frames.

    Args:
        container: the result of `av.open(..., "w")`.
        frames_HW3: uint8 [H, W, 3], all of one size with even sides.
        rate: frames per second.
        options: options of libx264.

    Returns:
        The number of frames.
    """
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    stream = container.add_stream("libx264", rate=rate, options=dict(options))
    stream.pix_fmt = "yuv420p"
    # Without these tags players guess the matrix from the size, and colours shift.
    context = stream.codec_context
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.color_range = ColorRange.MPEG
    count = 0
    for frame_HW3 in frames_HW3:
        if count == 0:
            stream.height, stream.width = frame_HW3.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HW3), format="rgb24")
        # By default each frame starts a thread per core.
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        container.mux(stream.encode(frame))
        count += 1
    container.mux(stream.encode())
    return count
