"""A clip as HTML for notebooks: it plays in place, without a file beside the notebook."""

import base64
import html
import tempfile
from pathlib import Path

import numpy as np

from videogen_jax.media.writers import write_video

_WIDTH = 256  # small videos are enlarged to it


def video_html(frames_FHWC: np.ndarray, fps: float, caption: str) -> str:
    """Returns a `<figure>` with the clip as an .mp4 within, which plays in a loop.

    Args:
        frames_FHWC: uint8.
        fps: frames per second.
        caption: shown below, such as the prompt.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "video.mp4", frames_FHWC, fps)
        data = base64.b64encode(path.read_bytes()).decode()
    width = max(_WIDTH, frames_FHWC.shape[2])
    return (
        f'<figure style="display:inline-block;margin:4px;width:{width}px">'
        f'<video src="data:video/mp4;base64,{data}" width="{width}" '
        'style="image-rendering:pixelated" controls autoplay loop muted playsinline></video>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
